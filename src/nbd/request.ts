import {
  Command,
  CommandFlag,
  EXTENDED_REQUEST_BYTES,
  EXTENDED_REQUEST_MAGIC,
  NbdError,
  REQUEST_BYTES,
  REQUEST_MAGIC,
} from './protocol.js';

/** One request as it came from the wire, before it is believed. */
export interface NbdRequest {
  flags: number;
  command: number;
  /** The cookie is opaque; two halves spare a bigint per request. */
  cookieHigh: number;
  cookieLow: number;
  /** Above 2^53 the exact value is lost, which only an invalid request can notice. */
  offset: number;
  /** Offset as two halves: an extended reply must repeat it exactly. */
  offsetHigh: number;
  offsetLow: number;
  length: number;
  /** Bytes that follow the header on the wire. */
  payloadBytes: number;
  /** Monotonic time of arrival. */
  startMs: number;
}

/** Decodes a header that lies whole at `at`; undefined when the magic is wrong (the stream is broken). */
export function decodeRequest(bytes: Buffer, at: number, extended: boolean): NbdRequest | undefined {
  if (bytes.readUInt32BE(at) !== (extended ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC)) return undefined;
  const flags = bytes.readUInt16BE(at + 4);
  const command = bytes.readUInt16BE(at + 6);
  const offsetHigh = bytes.readUInt32BE(at + 16);
  const offsetLow = bytes.readUInt32BE(at + 20);
  const length = extended
    ? bytes.readUInt32BE(at + 24) * 4294967296 + bytes.readUInt32BE(at + 28)
    : bytes.readUInt32BE(at + 24);
  // A WRITE always has one: QEMU leaves the flag out, against the specification, and QEMU's own server takes it too.
  const hasPayload = command === Command.WRITE || (extended && (flags & CommandFlag.PAYLOAD_LEN) !== 0);
  return {
    flags,
    command,
    cookieHigh: bytes.readUInt32BE(at + 8),
    cookieLow: bytes.readUInt32BE(at + 12),
    offset: offsetHigh * 4294967296 + offsetLow,
    offsetHigh,
    offsetLow,
    length,
    payloadBytes: hasPayload ? length : 0,
    startMs: 0,
  };
}

export function requestHeaderBytes(extended: boolean): number {
  return extended ? EXTENDED_REQUEST_BYTES : REQUEST_BYTES;
}

/** What a connection was promised in its handshake; requests are held against it. */
export interface Terms {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Structured or extended replies: DF means something. */
  readonly structured: boolean;
  readonly extended: boolean;
  readonly allocationContext: boolean;
  readonly payloadBytesMax: number;
}

export interface Refusal {
  readonly error: number;
  readonly message: string;
}

/** Which flags each command may carry beside FUA, which is allowed everywhere. */
const flagsOfCommand: Readonly<Record<number, number>> = {
  [Command.READ]: CommandFlag.DF,
  [Command.WRITE]: CommandFlag.PAYLOAD_LEN,
  [Command.DISC]: 0,
  [Command.FLUSH]: 0,
  [Command.TRIM]: 0,
  [Command.CACHE]: 0,
  [Command.WRITE_ZEROES]: CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO,
  [Command.BLOCK_STATUS]: CommandFlag.REQ_ONE | CommandFlag.PAYLOAD_LEN,
};

/**
 * The one gate of the transmission phase: command, flags, range and features. Returns why the request is refused,
 * or undefined; whatever passes may be handed to the device as it is. Order matters: framing faults first, so
 * that a refused request never reaches a check that trusts it.
 */
export function refusalOf(request: NbdRequest, terms: Terms): Refusal | undefined {
  const { command, flags, length } = request;
  const known = flagsOfCommand[command];
  if (known === undefined) return invalid(`unknown command ${command}`);
  const allowed = known | CommandFlag.FUA;
  if ((flags & ~allowed) !== 0) return invalid(`flags ${flags} not allowed with this command`);
  if ((flags & CommandFlag.PAYLOAD_LEN) !== 0 && !terms.extended) return invalid('extended headers are off');
  if ((flags & CommandFlag.DF) !== 0 && !terms.structured) return invalid('structured replies are off');
  if (request.payloadBytes > terms.payloadBytesMax) return invalid('payload longer than the maximum');
  switch (command) {
    case Command.FLUSH:
      return length === 0 && request.offset === 0 ? undefined : invalid('FLUSH takes no range');
    case Command.READ:
      if (length > terms.payloadBytesMax) return invalid('read longer than the maximum');
      return rangeRefusal(request, terms, NbdError.EINVAL);
    case Command.WRITE:
      return writeRefusal(request, terms, NbdError.ENOSPC);
    case Command.WRITE_ZEROES:
      return writeRefusal(request, terms, NbdError.ENOSPC);
    case Command.TRIM:
      return writeRefusal(request, terms, NbdError.EINVAL);
    case Command.BLOCK_STATUS:
      if (!terms.allocationContext) return invalid('no metadata context negotiated');
      // With a payload the length of the range comes inside it and is checked there.
      if (request.payloadBytes > 0) return undefined;
      if (length === 0) return invalid('BLOCK_STATUS of nothing');
      return rangeRefusal(request, terms, NbdError.EINVAL);
    default:
      return rangeRefusal(request, terms, NbdError.EINVAL);
  }
}

function writeRefusal(request: NbdRequest, terms: Terms, beyondEnd: number): Refusal | undefined {
  if (terms.readOnly) return { error: NbdError.EPERM, message: 'the export is read-only' };
  return rangeRefusal(request, terms, beyondEnd);
}

export function rangeRefusal(
  range: { readonly offset: number; readonly length: number },
  terms: Terms,
  error: number,
): Refusal | undefined {
  if (range.offset + range.length <= terms.sizeBytes) return undefined;
  return { error, message: 'range beyond the end of the export' };
}

function invalid(message: string): Refusal {
  return { error: NbdError.EINVAL, message };
}
