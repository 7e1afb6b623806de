/** What the administrator's operations have in common: how much may be answered, and with what. */
import { Flag, Result } from '../../wire/sheepdog.js';
import type { Answer, Operation, Request } from '../operation.js';

/** Operations by opcode, as the files of this folder give them. */
export type OperationTable = readonly (readonly [opcode: number, operation: Operation])[];

/**
 * The largest answer whose size a client can choose with a 48-byte request (I-10). The largest one of a fixed size is
 * CLUSTER_INFO, 480 KiB.
 */
export const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

export function answerOf(result: number): Answer {
  return { result };
}

export const success: Answer = { result: Result.SUCCESS };
export const invalid: Answer = { result: Result.INVALID_PARMS };

export function hasPayload(request: Request): boolean {
  return (request.flags & Flag.WRITE) !== 0;
}

/**
 * Bytes that this client takes as the payload of an answer. With a payload of its own it takes none, because clients do
 * not read it, except with PIGGYBACK (reference, 1.4).
 */
export function roomOf(request: Request): number {
  if (!hasPayload(request)) return request.dataLength;
  return (request.flags & Flag.PIGGYBACK) !== 0 ? request.dataLength : 0;
}

/** A record of a fixed size: cut to what the client takes. Older clients know shorter forms of the same records. */
export function recordAnswer(request: Request, record: Uint8Array, result: number = Result.SUCCESS): Answer {
  return { result, payload: record.subarray(0, roomOf(request)) };
}

/** An i32 alone. */
export function integerAnswer(request: Request, value: number): Answer {
  const payload = Buffer.alloc(4);
  payload.writeInt32LE(value);
  return recordAnswer(request, payload);
}
