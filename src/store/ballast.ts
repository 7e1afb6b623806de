/**
 * A file whose only use is its room: when a store has to be opened on a disk without a single free block, it is
 * removed, so that superblock, suspects and notes can be written. It comes back when there is room again.
 */
import type { Disk } from './disk.js';
import type { StoreLimits } from './limits.js';

export const BALLAST_PATH = 'ballast';
export const BALLAST_BYTES = 256 << 10;

/** False when there is none to drop. */
export function dropBallast(disk: Disk): boolean {
  if (!disk.exists(BALLAST_PATH)) return false;
  disk.unlink(BALLAST_PATH);
  return true;
}

/** Makes the ballast when it is missing and room is plentiful. */
export function keepBallast(disk: Disk, limits: StoreLimits): void {
  if (disk.exists(BALLAST_PATH)) return;
  if (disk.space().freeBytes < BALLAST_BYTES + (limits.reserveBytes ?? 64 << 20)) return;
  const file = disk.open(BALLAST_PATH, { create: true });
  file.allocate(0, BALLAST_BYTES);
  file.close();
}
