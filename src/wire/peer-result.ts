/**
 * Results of peer messages: the numbers of error codes in PeerMessage.result. They are part of the peer protocol:
 * a number is never given to another code, and a new code takes the next free one.
 */
import { AppError, type ErrorCode } from '../base/errors.js';

export const PEER_SUCCESS = 0;

const numberOfCode = {
  unknown: 1,
  'no-object': 2,
  io: 3,
  'vdi-exists': 4,
  invalid: 5,
  system: 6,
  'vdi-locked': 7,
  'no-vdi': 8,
  'no-tag': 9,
  shutdown: 10,
  'no-memory': 11,
  'full-vdi': 12,
  version: 13,
  'no-space': 14,
  'wait-for-format': 15,
  'wait-for-join': 16,
  halt: 17,
  'read-only': 18,
  'old-epoch': 19,
  'new-epoch': 20,
  network: 21,
  'not-supported': 22,
  again: 23,
  'cluster-error': 24,
  checksum: 25,
  exists: 26,
  missing: 27,
  usage: 28,
} as const satisfies Record<ErrorCode, number>;

const codeOfNumber = new Map<number, ErrorCode>(
  (Object.entries(numberOfCode) as [ErrorCode, number][]).map(([code, number]) => [number, code]),
);

export function resultOfCode(code: ErrorCode): number {
  return numberOfCode[code];
}

/** The result that tells a peer of this error; anything that is not an AppError is 'unknown'. */
export function resultOf(error: unknown): number {
  return resultOfCode(error instanceof AppError ? error.code : 'unknown');
}

/** Code of a result other than success; a number of a newer version reads as 'unknown'. */
export function codeOfResult(result: number): ErrorCode {
  return codeOfNumber.get(result) ?? 'unknown';
}

/** The error a peer answered with. `text` is what it said about it (if the answer carried words). */
export function errorOf(result: number, text?: string): AppError {
  const code = codeOfResult(result);
  return new AppError(code, text || `peer answered ${code} (${result})`);
}
