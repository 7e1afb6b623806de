/**
 * Files whose only use is their room: when the disk has not a single free block (others use it too), one is removed, so
 * that superblock, suspects and notes can be written. They come back when there is room again. One is for a store that
 * runs; the other is kept until a store has to be opened.
 */
import { type Disk, DiskError } from './disk.js';
import type { StoreLimits } from './limits.js';

export const BALLAST_PATHS = { opening: 'ballast', running: 'ballast-running' } as const;
export const BALLAST_BYTES = 256 << 10;

/** False when there is none to drop. */
export function dropBallast(disk: Disk, which: keyof typeof BALLAST_PATHS): boolean {
  const path = BALLAST_PATHS[which];
  if (!disk.exists(path)) return false;
  disk.unlink(path);
  return true;
}

/** Does what must not fail for want of room: a second time, with the room of a ballast, if need be. */
export function withBallast<T>(disk: Disk, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const full = error instanceof DiskError && error.code === 'no-space';
    if (!full || !dropBallast(disk, 'running')) throw error;
    return work();
  }
}

/** Makes the ballast that is missing, when room is plentiful. Durable: a power cut would leave a name without room. */
export async function keepBallast(disk: Disk, limits: StoreLimits): Promise<void> {
  for (const path of Object.values(BALLAST_PATHS)) {
    if (disk.space().freeBytes < BALLAST_BYTES + (limits.reserveBytes ?? 64 << 20)) return;
    const file = disk.open(path, { create: true });
    try {
      if (file.allocatedBytes() >= BALLAST_BYTES) continue;
      file.allocate(0, BALLAST_BYTES);
      await file.sync();
    } finally {
      file.close();
    }
  }
  await disk.syncDir('.');
}
