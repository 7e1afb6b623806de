/**
 * Payloads of the handshake: pure encoding and decoding. Every decoder checks that inner lengths add up to the
 * payload's length before it slices; a payload that does not is a BadOption, answered ERR_INVALID.
 *
 * INFO, GO          u32 name length, name, u16 count, count x u16 info type
 * *_META_CONTEXT    u32 name length, name, u32 count, count x (u32 length, query)
 * INFO_EXPORT       u16 type, u64 size, u16 transmission flags
 * INFO_NAME         u16 type, name
 * INFO_BLOCK_SIZE   u16 type, u32 minimum, u32 preferred, u32 maximum payload
 * REP_SERVER        u32 name length, name
 * REP_META_CONTEXT  u32 context id, name
 */
import {
  EXPORT_NAME_BYTES_MAX,
  EXPORT_NAME_PADDING_BYTES,
  GREETING_BYTES,
  HandshakeFlag,
  IHAVEOPT,
  InfoType,
  NBDMAGIC,
  OPTION_REPLY_HEADER_BYTES,
  OPTION_REPLY_MAGIC,
  STRING_BYTES_MAX,
} from './protocol.js';

/** A payload the specification does not allow; the text goes to the client. */
export class BadOption extends Error {
  override readonly name = 'BadOption';
}

export interface GoRequest {
  readonly name: string;
  readonly infoTypes: number[];
}

export interface MetaContextRequest {
  readonly name: string;
  readonly queries: string[];
}

export function encodeGreeting(): Buffer {
  const out = Buffer.allocUnsafe(GREETING_BYTES);
  writeMagic(out, 0, NBDMAGIC);
  writeMagic(out, 8, IHAVEOPT);
  out.writeUInt16BE(HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES, 16);
  return out;
}

export function encodeOptionReply(option: number, reply: number, payload: Uint8Array | string = ''): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload) : payload;
  const out = Buffer.allocUnsafe(OPTION_REPLY_HEADER_BYTES + body.length);
  writeMagic(out, 0, OPTION_REPLY_MAGIC);
  out.writeUInt32BE(option, 8);
  out.writeUInt32BE(reply, 12);
  out.writeUInt32BE(body.length, 16);
  out.set(body, OPTION_REPLY_HEADER_BYTES);
  return out;
}

/** The answer to EXPORT_NAME, which alone has no option reply header. */
export function encodeExportNameReply(sizeBytes: number, flags: number, noZeroes: boolean): Buffer {
  const out = Buffer.alloc(10 + (noZeroes ? 0 : EXPORT_NAME_PADDING_BYTES));
  out.writeBigUInt64BE(BigInt(sizeBytes), 0);
  out.writeUInt16BE(flags, 8);
  return out;
}

export function encodeInfoExport(sizeBytes: number, flags: number): Buffer {
  const out = Buffer.allocUnsafe(12);
  out.writeUInt16BE(InfoType.EXPORT, 0);
  out.writeBigUInt64BE(BigInt(sizeBytes), 2);
  out.writeUInt16BE(flags, 10);
  return out;
}

export function encodeInfoName(name: string): Buffer {
  return Buffer.concat([Buffer.from([0, InfoType.NAME]), Buffer.from(name)]);
}

export function encodeInfoBlockSize(minimum: number, preferred: number, maximumPayload: number): Buffer {
  const out = Buffer.allocUnsafe(14);
  out.writeUInt16BE(InfoType.BLOCK_SIZE, 0);
  out.writeUInt32BE(minimum, 2);
  out.writeUInt32BE(preferred, 6);
  out.writeUInt32BE(maximumPayload, 10);
  return out;
}

/** A u32 and a text: REP_SERVER with the text's length, REP_META_CONTEXT with the context's id. */
export function encodeNumberAndText(number: number, text: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(4 + text.length);
  out.writeUInt32BE(number, 0);
  out.set(text, 4);
  return out;
}

export function decodeGo(payload: Buffer): GoRequest {
  const cursor = new Cursor(payload);
  const name = decodeExportName(cursor.bytes(cursor.u32()));
  const infoTypes: number[] = [];
  for (let left = cursor.u16(); left > 0; left--) infoTypes.push(cursor.u16());
  cursor.end();
  return { name, infoTypes };
}

export function decodeMetaContext(payload: Buffer): MetaContextRequest {
  const cursor = new Cursor(payload);
  const name = decodeExportName(cursor.bytes(cursor.u32()));
  const queries: string[] = [];
  for (let left = cursor.u32(); left > 0; left--)
    queries.push(decodeText(cursor.bytes(cursor.u32()), 'query'));
  cursor.end();
  return { name, queries };
}

/** An export's name from the wire: UTF-8 without NUL, of our length. */
export function decodeExportName(bytes: Buffer): string {
  if (bytes.length > EXPORT_NAME_BYTES_MAX) {
    throw new BadOption(`export name longer than ${EXPORT_NAME_BYTES_MAX} bytes`);
  }
  const name = decodeText(bytes, 'export name');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(name)) throw new BadOption('export name contains control characters');
  return name;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decodeText(bytes: Buffer, what: string): string {
  if (bytes.length > STRING_BYTES_MAX) throw new BadOption(`${what} longer than ${STRING_BYTES_MAX} bytes`);
  try {
    return utf8.decode(bytes);
  } catch {
    // The decoder's own message says nothing more.
    throw new BadOption(`${what} is not valid UTF-8`);
  }
}

function writeMagic(out: Buffer, offset: number, magic: readonly [number, number]): void {
  out.writeUInt32BE(magic[0], offset);
  out.writeUInt32BE(magic[1], offset + 4);
}

class Cursor {
  private at = 0;

  constructor(private readonly payload: Buffer) {}

  u16(): number {
    return this.bytes(2).readUInt16BE(0);
  }

  u32(): number {
    return this.bytes(4).readUInt32BE(0);
  }

  bytes(length: number): Buffer {
    if (length > this.payload.length - this.at) throw new BadOption('option payload too short');
    this.at += length;
    return this.payload.subarray(this.at - length, this.at);
  }

  end(): void {
    if (this.at !== this.payload.length) throw new BadOption('option payload too long');
  }
}
