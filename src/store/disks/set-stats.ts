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
  for (const { figures } of members) {
    if (figures === undefined) continue;
    const { stats, device } = figures;
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
