import type { Timer } from '../../src/base/clock.js';
import type { Lease } from '../../src/coord/coordinator.js';
import type { MemoryCoordinator } from './memory-coordinator.js';

/** Margin of a lease's validity before its end as others see it, as a fraction of the ttl. */
const VALIDITY_MARGIN = 0.1;

/** The holder's side of a lease of the memory coordinator: renewals and their answers are messages. */
export class MemoryLease implements Lease {
  id = '';
  readonly lost: Promise<void>;
  private resolveLost: () => void = () => {};
  private validMs: number;
  private isLost = false;
  private renewTimer: Timer | undefined;
  private endTimer: Timer | undefined;

  constructor(
    private readonly client: MemoryCoordinator,
    private readonly ttlMs: number,
    sentMs: number,
  ) {
    this.validMs = this.validityFrom(sentMs);
    this.lost = new Promise((resolve) => {
      this.resolveLost = resolve;
    });
  }

  validUntilMs(): number {
    return this.validMs;
  }

  start(): void {
    if (this.isLost) return;
    this.scheduleEnd();
    this.scheduleRenewal();
  }

  async revoke(): Promise<void> {
    this.lose();
    await this.client.call(() => this.client.cluster.expire(this.id));
  }

  lose(): void {
    if (this.isLost) return;
    this.isLost = true;
    this.validMs = 0;
    this.stop();
    this.client.disown(this);
    this.resolveLost();
  }

  stop(): void {
    this.renewTimer?.cancel();
    this.endTimer?.cancel();
  }

  private validityFrom(sentMs: number): number {
    return sentMs + this.ttlMs * (1 - VALIDITY_MARGIN);
  }

  private scheduleRenewal(): void {
    this.renewTimer = this.client.after(this.ttlMs / 4, () => {
      this.renew();
      this.scheduleRenewal();
    });
  }

  private renew(): void {
    const sentMs = this.client.clock.nowMs();
    this.client.later(() => {
      const renewed = this.client.cluster.renew(this.id);
      this.client.later(() => {
        if (!renewed) this.lose();
        // An answer that comes after the end changes nothing: the holder has stopped already.
        if (this.isLost || this.client.clock.nowMs() >= this.validMs) return;
        this.validMs = Math.max(this.validMs, this.validityFrom(sentMs));
        this.scheduleEnd();
      });
    });
  }

  private scheduleEnd(): void {
    this.endTimer?.cancel();
    this.endTimer = this.client.after(Math.max(0, this.validMs - this.client.clock.nowMs()), () => {
      this.lose();
      this.client.later(() => this.client.cluster.expire(this.id));
    });
  }
}
