import { commonHeader, HEADER_BYTES, plainResponse } from '../wire/headers.js';

/**
 * The header that carries CONTROL frames is the ordinary one of the sheepdog protocol (wire/headers.ts); this file
 * says what CONTROL puts into it.
 */
export { HEADER_BYTES };

/** proto_ver of CONTROL requests, though their opcode lies in the range of sheep operations. */
export const CONTROL_PROTO_VERSION = 2;

export interface RequestHeader {
  readonly version: number;
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
  /** Bytes that follow. */
  readonly dataLength: number;
  readonly result: number;
}

export function encodeRequestHeader(header: RequestHeader): Buffer {
  const out = Buffer.alloc(HEADER_BYTES);
  commonHeader.encodeInto(header, out);
  return out;
}

/** `data` holds at least HEADER_BYTES. */
export function decodeRequestHeader(data: Buffer): RequestHeader {
  return commonHeader.decode(data);
}

export function encodeResponseHeader(header: ResponseHeader): Buffer {
  return plainResponse.encode(header);
}

/** `data` holds at least HEADER_BYTES. */
export function decodeResponseHeader(data: Buffer): ResponseHeader {
  const { opcode, flags, epoch, id, dataLength, result } = plainResponse.decode(data);
  return { opcode, flags, epoch, id, dataLength, result };
}
