/**
 * One error class. A code says what kind of refusal it is; doors translate codes to their own numbers with the
 * one table below. Three kinds of trouble exist: a refusal (an AppError, answered, the connection lives), a
 * broken peer (the connection is dropped), a broken belief (assert: the process stops).
 */
export interface ErrorKind {
  /** Result code of the sheepdog protocol, section 3 of the protocol reference. */
  readonly wire: number;
  /** NBD error value (a Linux errno number as the NBD protocol defines them). */
  readonly nbd: number;
  /** Exit code of `dog`. */
  readonly exit: number;
}

const EPERM = 1;
const EIO = 5;
const ENOMEM = 12;
const EINVAL = 22;
const ENOSPC = 28;
const ENOTSUP = 95;
const ESHUTDOWN = 108;

export const errorKinds = {
  unknown: { wire: 0x01, nbd: EIO, exit: 1 },
  'no-object': { wire: 0x02, nbd: EIO, exit: 5 },
  io: { wire: 0x03, nbd: EIO, exit: 1 },
  'vdi-exists': { wire: 0x04, nbd: EINVAL, exit: 1 },
  invalid: { wire: 0x05, nbd: EINVAL, exit: 1 },
  system: { wire: 0x06, nbd: EIO, exit: 2 },
  'vdi-locked': { wire: 0x07, nbd: EPERM, exit: 1 },
  'no-vdi': { wire: 0x08, nbd: EINVAL, exit: 1 },
  'no-tag': { wire: 0x0e, nbd: EINVAL, exit: 1 },
  shutdown: { wire: 0x11, nbd: ESHUTDOWN, exit: 2 },
  'no-memory': { wire: 0x12, nbd: ENOMEM, exit: 2 },
  'full-vdi': { wire: 0x13, nbd: ENOSPC, exit: 4 },
  version: { wire: 0x14, nbd: EINVAL, exit: 2 },
  'no-space': { wire: 0x15, nbd: ENOSPC, exit: 4 },
  'wait-for-format': { wire: 0x16, nbd: EIO, exit: 1 },
  'wait-for-join': { wire: 0x17, nbd: EIO, exit: 1 },
  halt: { wire: 0x19, nbd: EIO, exit: 1 },
  'read-only': { wire: 0x1a, nbd: EPERM, exit: 1 },
  'old-epoch': { wire: 0x81, nbd: EIO, exit: 2 },
  'new-epoch': { wire: 0x82, nbd: EIO, exit: 2 },
  network: { wire: 0x86, nbd: EIO, exit: 2 },
  'not-supported': { wire: 0x8b, nbd: ENOTSUP, exit: 1 },
  again: { wire: 0x8f, nbd: EIO, exit: 2 },
  'cluster-error': { wire: 0x91, nbd: EIO, exit: 2 },
  /** Stored bytes do not match their checksum: repaired from another replica, never served. */
  checksum: { wire: 0x03, nbd: EIO, exit: 1 },
  /** The attribute or key exists already. */
  exists: { wire: 0x04, nbd: EINVAL, exit: 3 },
  missing: { wire: 0x02, nbd: EINVAL, exit: 5 },
  usage: { wire: 0x05, nbd: EINVAL, exit: 64 },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorKinds;

export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  /** Turns anything that was caught into an AppError; the original stays as the cause. */
  static from(error: unknown, fallback: ErrorCode = 'unknown'): AppError {
    if (error instanceof AppError) return error;
    const message = error instanceof Error ? error.message : String(error);
    return new AppError(fallback, message, { cause: error });
  }

  static isCode(error: unknown, ...codes: ErrorCode[]): error is AppError {
    return error instanceof AppError && codes.includes(error.code);
  }
}

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorKinds, text);
}
