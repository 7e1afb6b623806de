import { DiskError } from '../disk.js';
import type { StoreStats } from '../object-store.js';
import type { Member } from './member.js';

/** Figures of several disks as of one. Disks that share a file system share its room: it counts once. */
export function sumStats(members: readonly Member[]): StoreStats {
  const sum = {
    totalBytes: 0,
    freeBytes: 0,
    usedBytes: 0,
    journalSyncs: 0,
    journalBatches: 0,
    checksumErrors: 0,
  };
  const devices = new Set<number>();
  for (const { disk, store } of members) {
    const found = read(() => ({ stats: store.stats(), device: disk.space().device }));
    if (found === undefined) continue;
    const { stats, device } = found;
    if (device === undefined || !devices.has(device)) {
      sum.totalBytes += stats.totalBytes;
      sum.freeBytes += stats.freeBytes;
    }
    if (device !== undefined) devices.add(device);
    sum.usedBytes += stats.usedBytes;
    sum.journalSyncs += stats.journalSyncs;
    sum.journalBatches += stats.journalBatches;
    sum.checksumErrors += stats.checksumErrors;
  }
  return sum;
}

/** Undefined when the disk is just going away: figures are no reason to fail. */
function read<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (error instanceof DiskError) return undefined;
    throw error;
  }
}
