/**
 * The 48-byte header of the sheepdog protocol, as far as the control interface needs it: enough to carry CONTROL
 * frames and to answer everything else politely. Integers are little-endian.
 *
 * | offset | width | request     | answer              |
 * |--------|-------|-------------|---------------------|
 * | 0      | u8    | proto_ver   | 0                   |
 * | 1      | u8    | opcode      | the same opcode     |
 * | 2      | u16   | flags       | 0, or MORE          |
 * | 4      | u32   | epoch       | the server's epoch  |
 * | 8      | u32   | id          | the same id         |
 * | 12     | u32   | data_length | payload that follows |
 * | 16     | u32   | (by opcode) | result              |
 * | 20     | 28    | (by opcode) | zero                |
 */
export const HEADER_BYTES = 48;

/** Payload of exactly data_length bytes follows the request header. Without it, none does. */
export const WRITE_FLAG = 0x01;

/** proto_ver of client operations (below 0x80) and of CONTROL; 0 means "not stated". */
export const CLIENT_PROTO_VERSION = 2;
/** proto_ver of sheep operations (0x80 and above): must match exactly. */
export const SHEEP_PROTO_VERSION = 0x0a;

export const resultCodes = {
  success: 0x00,
  invalidParameters: 0x05,
  versionMismatch: 0x14,
  notSupported: 0x8b,
} as const;

export interface RequestHeader {
  readonly protoVersion: number;
  readonly opcode: number;
  readonly flags: number;
  readonly epoch: number;
  readonly id: number;
  /** With WRITE: bytes that follow. Without: the most the client takes as an answer. */
  readonly dataLength: number;
}

export interface ResponseHeader {
  readonly opcode: number;
  readonly flags: number;
  readonly epoch: number;
  readonly id: number;
  readonly dataLength: number;
  readonly result: number;
}

export function encodeRequestHeader(header: RequestHeader): Buffer {
  const out = Buffer.alloc(HEADER_BYTES);
  out.writeUInt8(header.protoVersion, 0);
  out.writeUInt8(header.opcode, 1);
  out.writeUInt16LE(header.flags, 2);
  out.writeUInt32LE(header.epoch, 4);
  out.writeUInt32LE(header.id, 8);
  out.writeUInt32LE(header.dataLength, 12);
  return out;
}

/** `data` holds at least HEADER_BYTES. */
export function decodeRequestHeader(data: Buffer): RequestHeader {
  return {
    protoVersion: data.readUInt8(0),
    opcode: data.readUInt8(1),
    flags: data.readUInt16LE(2),
    epoch: data.readUInt32LE(4),
    id: data.readUInt32LE(8),
    dataLength: data.readUInt32LE(12),
  };
}

export function encodeResponseHeader(header: ResponseHeader): Buffer {
  const out = Buffer.alloc(HEADER_BYTES);
  out.writeUInt8(header.opcode, 1);
  out.writeUInt16LE(header.flags, 2);
  out.writeUInt32LE(header.epoch, 4);
  out.writeUInt32LE(header.id, 8);
  out.writeUInt32LE(header.dataLength, 12);
  out.writeUInt32LE(header.result, 16);
  return out;
}

/** `data` holds at least HEADER_BYTES. */
export function decodeResponseHeader(data: Buffer): ResponseHeader {
  return {
    opcode: data.readUInt8(1),
    flags: data.readUInt16LE(2),
    epoch: data.readUInt32LE(4),
    id: data.readUInt32LE(8),
    dataLength: data.readUInt32LE(12),
    result: data.readUInt32LE(16),
  };
}

/** Operations of the original that a server of version 1.0 knows; any other opcode is an invalid parameter. */
const knownOpcodes: ReadonlySet<number> = new Set([
  0x01, 0x02, 0x03, 0x04, 0x05, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x82, 0x84, 0x85, 0x86, 0x87,
  0x89, 0x8a, 0x90, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6,
  0xa8, 0xa9, 0xab, 0xac, 0xaf, 0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb8, 0xb9, 0xba, 0xbb, 0xbc, 0xbd, 0xbe,
  0xbf, 0xc0, 0xc1, 0xc2, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd,
]);

/**
 * The answer to a request of the original's protocol that is not served here, in the original's order of checks:
 * version, then opcode.
 */
export function resultOfUnserved(header: RequestHeader): number {
  const versionOk =
    header.opcode < 0x80
      ? header.protoVersion <= CLIENT_PROTO_VERSION
      : header.protoVersion === SHEEP_PROTO_VERSION;
  if (!versionOk) return resultCodes.versionMismatch;
  return knownOpcodes.has(header.opcode) ? resultCodes.notSupported : resultCodes.invalidParameters;
}
