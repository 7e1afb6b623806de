import { AppError } from '../../base/errors.js';
import type { ObjectStore } from '../../store/object-store.js';
import { defaultReserveBytes } from '../../store/space.js';

const GIB = 2 ** 30;
/** Beside the store's own reserve so much stays free for clients when recovery has stopped for lack of room. */
const RESERVE_BYTES_MAX = GIB;
const RESERVE_PART = 0.05;

/** Free bytes that recovery leaves alone on a disk of this size (I-8). */
export function recoveryReserveBytes(totalBytes: number): number {
  return defaultReserveBytes(totalBytes) + Math.min(RESERVE_BYTES_MAX, Math.floor(totalBytes * RESERVE_PART));
}

/** Bytes that recovery may still put on this store. */
export function roomBytes(store: Pick<ObjectStore, 'stats'>): number {
  const { freeBytes, totalBytes } = store.stats();
  return Math.max(0, freeBytes - recoveryReserveBytes(totalBytes));
}

/** Throws AppError 'no-space' when so many bytes do not fit: before anything is copied, not when the disk is full. */
export function reserve(store: Pick<ObjectStore, 'stats'>, neededBytes: number): void {
  const room = roomBytes(store);
  if (neededBytes <= room) return;
  const mib = (bytes: number) => Math.ceil(bytes / 2 ** 20);
  throw new AppError(
    'no-space',
    `about ${mib(neededBytes)} MiB are to be taken over and there is room for ${mib(room)}`,
  );
}
