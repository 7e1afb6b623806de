import { constants } from 'node:os';

const { errno } = constants;

export type Errno = keyof typeof errno | 'ENODATA';

/** A refusal that the kernel hands to the program as it is. */
export class FuseError extends Error {
  override readonly name = 'FuseError';

  constructor(
    readonly code: Errno,
    message: string = code,
  ) {
    super(message);
  }

  /** Positive number of the system. */
  get errno(): number {
    return errno[this.code as keyof typeof errno];
  }
}

/** The number for any error: what is not a refusal of ours has failed. */
export function errnoOf(error: unknown): number {
  return error instanceof FuseError ? error.errno : errno.EIO;
}
