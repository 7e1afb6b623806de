import type { Clock } from '../../base/clock.js';
import type { Disk } from '../../store/disk.js';
import type { LeaseRecord } from '../key-value-state.js';
import { leaseFolder, leasePath, readLeaseStamp } from './lease-file.js';
import { removeIfThere } from './log-file.js';
import type { Liveness, Processes } from './processes.js';

/** A lease file of no known lease is left alone this long past its time: it may be one just being granted. */
const ORPHAN_MS = 60_000;

export interface LeaseJudgeOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly folder: string;
  readonly processes: Processes;
  readonly leases: () => LeaseRecord[];
  readonly isOwn: (leaseId: string) => boolean;
  /** Ends a lease in the log. */
  readonly expire: (leaseId: string, reason: string) => Promise<void>;
}

/** Ends the leases of others: at once when their process is certainly dead, else when their time is over. */
export class LeaseJudge {
  /** The latest renewal seen, so that a file is read about once per ttl and not at every look. */
  private readonly renewedMs = new Map<string, number>();
  private readonly ending = new Set<string>();

  constructor(private readonly options: LeaseJudgeOptions) {}

  /** Looks at every lease of others. Processes that hold many are asked for once; not `thorough`: by name only. */
  look(thorough: boolean): void {
    const { processes, isOwn } = this.options;
    const liveness = new Map<string, Liveness>();
    for (const lease of this.options.leases()) {
      if (isOwn(lease.id)) continue;
      let known = liveness.get(lease.holder);
      if (known === undefined) {
        const isListed = !thorough && processes.isListed(lease.holder);
        known = isListed ? 'alive' : processes.liveness(lease.holder);
        liveness.set(lease.holder, known);
      }
      this.judge(lease, known);
    }
  }

  /** Looks at one lease now; true when it needs no further look. */
  suspect(leaseId: string): boolean {
    const lease = this.options.leases().find(({ id }) => id === leaseId);
    if (!lease) return true;
    const liveness = this.options.processes.liveness(lease.holder);
    this.judge(lease, liveness);
    return liveness !== 'alive';
  }

  /** Called when the log says that a lease is gone. */
  gone(leaseId: string): void {
    this.renewedMs.delete(leaseId);
    removeIfThere(this.options.disk, leasePath(this.options.folder, leaseId));
  }

  /** Removes the files of leases that were never granted because their process died first. */
  removeOrphans(): void {
    const { disk, clock, folder, processes } = this.options;
    const known = new Set(this.options.leases().map(({ id }) => id));
    for (const name of disk.list(leaseFolder(folder))) {
      if (known.has(name)) continue;
      const stamp = readLeaseStamp(disk, leasePath(folder, name));
      // Another boot's times mean nothing, but then its holder is dead.
      if (!stamp) continue;
      const isOver = clock.nowMs() > stamp.renewedMs + stamp.ttlMs + ORPHAN_MS;
      if (isOver || processes.liveness(stamp.holder) === 'dead') {
        removeIfThere(disk, leasePath(folder, name));
      }
    }
  }

  private judge(lease: LeaseRecord, liveness: Liveness): void {
    if (this.options.isOwn(lease.id) || this.ending.has(lease.id)) return;
    if (liveness === 'dead') this.end(lease, 'its process is dead');
    else if (this.isOver(lease)) this.end(lease, 'its time is over');
  }

  private isOver(lease: LeaseRecord): boolean {
    // Taken before the stamp is read; HeldLease says why.
    const nowMs = this.options.clock.nowMs();
    const seenMs = this.renewedMs.get(lease.id);
    if (seenMs !== undefined && nowMs <= seenMs + lease.ttlMs) return false;
    const stamp = readLeaseStamp(this.options.disk, leasePath(this.options.folder, lease.id));
    // Without a stamp the time counts from now: whatever the holder managed to write before is older.
    const renewedMs = stamp?.renewedMs ?? seenMs ?? nowMs;
    this.renewedMs.set(lease.id, renewedMs);
    return nowMs > renewedMs + lease.ttlMs;
  }

  private end(lease: LeaseRecord, reason: string): void {
    this.ending.add(lease.id);
    // A refusal (no room) leaves the lease for the next look.
    this.options
      .expire(lease.id, reason)
      .catch(() => {})
      .finally(() => this.ending.delete(lease.id));
  }
}
