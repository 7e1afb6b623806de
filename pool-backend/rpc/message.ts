/**
 * One message of libvirt's RPC: a length that counts itself, a header of six words, a body. The payload of a stream
 * packet is raw; all other bodies are XDR. (Wire layout: section 2.1 of the protocol notes in pool-backend/README.md.)
 */
export const REMOTE_PROGRAM = 0x20008086;
export const KEEPALIVE_PROGRAM = 0x6b656570;
export const PROTOCOL_VERSION = 1;

export const MessageType = {
  call: 0,
  reply: 1,
  event: 2,
  stream: 3,
  callWithFds: 4,
  replyWithFds: 5,
  streamHole: 6,
} as const;

export const MessageStatus = { ok: 0, error: 1, continue: 2 } as const;

export const KeepalivePing = 1;
export const KeepalivePong = 2;

export const LENGTH_BYTES = 4;
export const HEADER_BYTES = 24;
/** The largest message either side accepts, its length word included. */
export const MESSAGE_BYTES_MAX = 32 * 1024 * 1024 + LENGTH_BYTES;
/** Payload of one stream packet that clients of all ages accept. */
export const STREAM_PAYLOAD_BYTES_MAX = 262_120;

export interface MessageHeader {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  readonly type: number;
  readonly serial: number;
  readonly status: number;
}

export interface Message extends MessageHeader {
  readonly body: Buffer;
}

/** `bytes` are the header's six words. */
export function decodeHeader(bytes: Buffer): MessageHeader {
  return {
    program: bytes.readUInt32BE(0),
    version: bytes.readUInt32BE(4),
    procedure: bytes.readInt32BE(8),
    type: bytes.readUInt32BE(12),
    serial: bytes.readUInt32BE(16),
    status: bytes.readUInt32BE(20),
  };
}

/** Length and header; the body is sent after it, uncopied. */
export function encodeHead(header: MessageHeader, bodyBytes: number): Buffer {
  const bytes = Buffer.allocUnsafe(LENGTH_BYTES + HEADER_BYTES);
  bytes.writeUInt32BE(LENGTH_BYTES + HEADER_BYTES + bodyBytes, 0);
  bytes.writeUInt32BE(header.program, 4);
  bytes.writeUInt32BE(header.version, 8);
  bytes.writeInt32BE(header.procedure, 12);
  bytes.writeUInt32BE(header.type, 16);
  bytes.writeUInt32BE(header.serial, 20);
  bytes.writeUInt32BE(header.status, 24);
  return bytes;
}

export function encodeMessage(message: Message): Buffer {
  return Buffer.concat([encodeHead(message, message.body.length), message.body]);
}

/** A message of the storage program. */
export function remoteHeader(
  fields: Pick<MessageHeader, 'procedure' | 'type' | 'serial' | 'status'>,
): MessageHeader {
  return { program: REMOTE_PROGRAM, version: PROTOCOL_VERSION, ...fields };
}
