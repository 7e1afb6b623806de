import { constants } from 'node:os';
import { AppError, type ErrorCode } from '../base/errors.js';
import { type Errno, FuseError } from '../fuse/errors.js';
import { NbdRefusal } from '../nbd-client/client.js';

/** What the cluster refuses, as a file system says it; what is not here is EIO. */
const errnos: Partial<Record<ErrorCode, Errno>> = {
  'no-vdi': 'ENOENT',
  'no-tag': 'ENOENT',
  'vdi-exists': 'EEXIST',
  exists: 'EEXIST',
  invalid: 'EINVAL',
  'vdi-locked': 'EBUSY',
  'no-space': 'ENOSPC',
  'full-vdi': 'ENOSPC',
  'read-only': 'EROFS',
  'not-supported': 'EOPNOTSUPP',
  'no-memory': 'ENOMEM',
  missing: 'ENODATA',
};

const names = new Map<number, Errno>(
  Object.entries(constants.errno).map(([name, value]) => [value, name as Errno]),
);

/** Turns a refusal of the cluster into one for the kernel; anything else stays what it is. */
export function asFuseError(error: unknown): unknown {
  if (error instanceof AppError) {
    const errno = errnos[error.code];
    return errno === undefined ? error : new FuseError(errno, error.message);
  }
  if (error instanceof NbdRefusal) return new FuseError(names.get(error.errno) ?? 'EIO', error.message);
  return error;
}
