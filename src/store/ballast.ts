/**
 * A file whose only use is its room: when the disk has not a single free block (others use it too), it is removed, so
 * that superblock, suspects and notes can be written. It comes back when there is room again.
 */
import { type Disk, DiskError } from './disk.js';
import type { StoreLimits } from './limits.js';

export const BALLAST_PATH = 'ballast';
export const BALLAST_BYTES = 256 << 10;

/** False when there is none to drop. */
export function dropBallast(disk: Disk): boolean {
  if (!disk.exists(BALLAST_PATH)) return false;
  disk.unlink(BALLAST_PATH);
  return true;
}

/** Does what must not fail for want of room: a second time, with the room of the ballast, if need be. */
export function withBallast<T>(disk: Disk, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const full = error instanceof DiskError && error.code === 'no-space';
    if (!full || !dropBallast(disk)) throw error;
    return work();
  }
}

/** Makes the ballast when it is missing and room is plentiful. */
export function keepBallast(disk: Disk, limits: StoreLimits): void {
  if (disk.exists(BALLAST_PATH)) return;
  if (disk.space().freeBytes < BALLAST_BYTES + (limits.reserveBytes ?? 64 << 20)) return;
  const file = disk.open(BALLAST_PATH, { create: true });
  file.allocate(0, BALLAST_BYTES);
  file.close();
}
