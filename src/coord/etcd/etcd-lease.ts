import type { Clock, Timer } from '../../base/clock.js';
import type { Logger } from '../../base/log.js';
import type { Lease } from '../coordinator.js';

/** A lease is renewed this often in its time to live. */
const RENEWALS_PER_TTL = 4;
/** The holder stops this fraction of the ttl before others act: the clocks of two machines count it. */
const VALIDITY_MARGIN = 0.1;
/** After a renewal that failed. */
const RETRY_MS = 100;

export interface EtcdLeaseOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Hexadecimal. */
  readonly id: string;
  readonly ttlMs: number;
  /** When the request was sent that granted it. */
  readonly sentMs: number;
  /** True: renewed. False: etcd does not know the lease. Rejects when there was no answer. */
  readonly renew: () => Promise<boolean>;
  /** Whether the lease's keys are still there, not older than the call. */
  readonly exists: () => Promise<boolean>;
  /** Ends it in etcd. */
  readonly end: () => Promise<void>;
  readonly onLost: (lease: EtcdLease) => void;
}

/**
 * The holder's side. Others end the lease when they have not heard of the holder for its ttl (lease-reaper.ts); it
 * counts from before its last renewal was sent, so it stops first (I-3).
 *
 * A validity that has passed is not the end: while etcd is away nobody can act on this lease's end either, and the
 * holder goes on when a renewal succeeds after all. Then it is looked whether the lease's keys are really still
 * there: some versions of etcd answer well to the renewal of a lease that they are just ending.
 */
export class EtcdLease implements Lease {
  readonly lost: Promise<void>;
  private resolveLost: () => void = () => {};
  private validMs: number;
  private timer: Timer | undefined;
  private isLost = false;

  constructor(private readonly options: EtcdLeaseOptions) {
    this.lost = new Promise((resolve) => {
      this.resolveLost = resolve;
    });
    this.validMs = this.validityFrom(options.sentMs);
    this.schedule(options.ttlMs / RENEWALS_PER_TTL);
  }

  get id(): string {
    return this.options.id;
  }

  validUntilMs(): number {
    return this.validMs;
  }

  async revoke(): Promise<void> {
    this.lose();
    await this.options.end();
  }

  /** Known to be gone. */
  lose(): void {
    if (this.isLost) return;
    this.isLost = true;
    this.validMs = 0;
    this.timer?.cancel();
    this.options.onLost(this);
    this.resolveLost();
  }

  /** Lets go of it and tells nobody: it ends at its time. */
  abandon(): void {
    this.isLost = true;
    this.validMs = 0;
    this.timer?.cancel();
  }

  private schedule(delayMs: number): void {
    this.timer = this.options.clock.after(Math.max(0, delayMs), () => void this.renewal());
  }

  private async renewal(): Promise<void> {
    const { clock, log, ttlMs, id } = this.options;
    const sentMs = clock.nowMs();
    try {
      const isAlive = await this.tryRenewal(sentMs);
      if (this.isLost) return;
      if (isAlive) return this.schedule(sentMs + ttlMs / RENEWALS_PER_TTL - clock.nowMs());
      log.warn({ lease: id }, 'etcd ended a lease');
      this.lose();
    } catch (error) {
      if (this.isLost) return;
      log.warn({ lease: id, error: String(error) }, 'could not renew a lease; trying again');
      this.schedule(RETRY_MS);
    }
  }

  private async tryRenewal(sentMs: number): Promise<boolean> {
    const { clock, renew, exists } = this.options;
    if (!(await renew())) return false;
    if (clock.nowMs() >= this.validMs && !(await exists())) return false;
    if (!this.isLost) this.validMs = Math.max(this.validMs, this.validityFrom(sentMs));
    return true;
  }

  private validityFrom(sentMs: number): number {
    return sentMs + this.options.ttlMs * (1 - VALIDITY_MARGIN);
  }
}
