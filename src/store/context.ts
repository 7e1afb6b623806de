/** What the parts of one open store share. */
import type { Clock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { type Disk, DiskError } from './disk.js';
import type { Journal } from './journal.js';
import type { StoreLimits } from './limits.js';
import type { NewBases } from './new-bases.js';
import type { ObjectCache } from './object-cache.js';
import type { Space } from './space.js';
import type { TouchedLog } from './touched-log.js';
import type { Trimmer } from './trimmer.js';

export interface StoreContext {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: StoreLimits;
  readonly cache: ObjectCache;
  readonly journal: Journal;
  readonly touched: TouchedLog;
  readonly newBases: NewBases;
  readonly trimmer: Trimmer;
  /** The file system knows hard links: copies on write can be thin. */
  readonly canLink: boolean;
  readonly space: Space;
  /** A new number, greater than all before, in any life of the store. */
  readonly nextInstance: () => number;
  /** Stops the store for good. */
  readonly fail: (error: unknown) => void;
  readonly failure: () => AppError | undefined;
  /** One disk of several (disks/): the others can take over, so any trouble with it ends the store. */
  readonly isReplaceable: boolean;
  usedBytes: number;
  checksumErrors: number;
}

/** What a change gets that met this error before anything was done. */
export function refusalOf(context: StoreContext, error: unknown): AppError {
  const ofDisk = error instanceof DiskError && error.code !== 'no-space' && error.code !== 'too-many-files';
  if (context.isReplaceable && ofDisk) context.fail(error);
  return context.failure() ?? toStoreError(error);
}

/** A disk's refusal in the words of the store. */
export function toStoreError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof DiskError && error.code === 'no-space') {
    return new AppError('no-space', error.message, { cause: error });
  }
  if (error instanceof DiskError && (error.code === 'read-only' || error.code === 'denied')) {
    return new AppError('read-only', error.message, { cause: error });
  }
  return AppError.from(error, 'io');
}
