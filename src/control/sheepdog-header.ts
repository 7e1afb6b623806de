import { commonHeader, HEADER_BYTES, plainResponse } from '../wire/headers.js';
import {
  CLIENT_VERSION_MAX,
  operationOf,
  Result,
  SHEEP_OPCODE_MIN,
  SHEEP_VERSION,
} from '../wire/sheepdog.js';

/**
 * The header that carries CONTROL frames is the ordinary one of the sheepdog protocol (wire/headers.ts); this file
 * says what CONTROL puts into it, and how requests of the protocol are answered that nobody here serves.
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

/** The answer to a request that is not served here, in the original's order of checks: version, then opcode. */
export function resultOfUnserved(header: RequestHeader): number {
  const versionOk =
    header.opcode < SHEEP_OPCODE_MIN
      ? header.version <= CLIENT_VERSION_MAX
      : header.version === SHEEP_VERSION;
  if (!versionOk) return Result.VER_MISMATCH;
  const operation = operationOf(header.opcode);
  return operation === undefined || operation.class === 'gone' ? Result.INVALID_PARMS : Result.NO_SUPPORT;
}
