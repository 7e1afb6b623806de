import type { Clock, Timer } from '../../base/clock.js';
import type { KnownLease } from './follower.js';

/** When ending a lease failed, it is tried again after this. */
const RETRY_MS = 1000;

/**
 * Ends the leases of silent holders. That a holder is not heard of (its `alive` key is gone) proves little: etcd before
 * 3.4.31 and 3.5.13 ends leases too early when a leader wakes that was frozen (issue 15247). But a holder that was
 * heard of last before this process saw the key gone has stopped acting a ttl later. So that long is waited, by this
 * process's own clock, and then the lease is ended on condition that it was not revived since.
 */
export class LeaseReaper {
  private readonly silent = new Map<string, { modRevision: number; timer: Timer }>();
  private stopped = false;

  constructor(
    private readonly clock: Clock,
    /** Ends the lease unless it is alive or has another revision than this. */
    private readonly end: (id: string, modRevision: number) => Promise<void>,
  ) {}

  update(leases: ReadonlyMap<string, KnownLease>, alive: ReadonlySet<string>): void {
    if (this.stopped) return;
    for (const [id, { modRevision, timer }] of this.silent) {
      // Revived and silent again: it may have been valid a moment ago.
      if (leases.get(id)?.modRevision === modRevision && !alive.has(id)) continue;
      timer.cancel();
      this.silent.delete(id);
    }
    for (const [id, { ttlMs, modRevision }] of leases) {
      if (!alive.has(id) && !this.silent.has(id)) this.schedule(id, modRevision, ttlMs);
    }
  }

  stop(): void {
    this.stopped = true;
    for (const { timer } of this.silent.values()) timer.cancel();
    this.silent.clear();
  }

  private schedule(id: string, modRevision: number, delayMs: number): void {
    const timer = this.clock.after(delayMs, () => {
      const again = (): void => {
        if (this.silent.get(id)?.modRevision === modRevision) this.schedule(id, modRevision, RETRY_MS);
      };
      // Somebody else may have ended it, which the next update tells; else once more.
      this.end(id, modRevision).then(again, again);
    });
    this.silent.set(id, { modRevision, timer });
  }
}
