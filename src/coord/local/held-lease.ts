import type { Clock, Timer } from '../../base/clock.js';
import type { Logger } from '../../base/log.js';
import { type Disk, DiskError, type DiskFile } from '../../store/disk.js';
import type { Lease } from '../coordinator.js';
import { encodeLeaseStamp, leasePath } from './lease-file.js';
import { removeIfThere, translated } from './log-file.js';

/** A lease is renewed this often in its time to live. */
const RENEWALS_PER_TTL = 4;
/** The holder stops this fraction of the ttl before others may act. One clock serves all: it covers rounding only. */
const VALIDITY_MARGIN = 0.1;

export interface HeldLeaseOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
  readonly folder: string;
  readonly id: string;
  readonly ttlMs: number;
  readonly holder: string;
  /** Ends the lease in the log. */
  readonly expire: (reason: string) => Promise<void>;
  readonly onLost: (lease: HeldLease) => void;
}

/**
 * The holder's side. Others end the lease when, at a time they took *before* they read the stamp, more than the ttl
 * had passed since the stamp's time. So a renewal counts only if its write was complete while the lease was still
 * valid by the stamp before: then nobody can have judged by the old one. A holder that was frozen at any step of
 * this finds its validity over, and never renews again (I-3).
 */
export class HeldLease implements Lease {
  readonly lost: Promise<void>;
  private resolveLost: () => void = () => {};
  private readonly file: DiskFile;
  private readonly path: string;
  private validMs: number;
  private timer: Timer | undefined;
  private endTimer: Timer | undefined;
  private ended = false;

  /** Writes the first stamp: a lease that the log knows always has one. Throws AppError. */
  constructor(private readonly options: HeldLeaseOptions) {
    const { disk, clock, folder, id } = options;
    this.lost = new Promise((resolve) => {
      this.resolveLost = resolve;
    });
    this.path = leasePath(folder, id);
    const startMs = clock.nowMs();
    this.file = translated(() => disk.open(this.path, { create: true, exclusive: true }));
    try {
      translated(() => this.writeStamp(startMs));
    } catch (error) {
      this.abandon();
      throw error;
    }
    this.validMs = this.validityFrom(startMs);
  }

  get id(): string {
    return this.options.id;
  }

  validUntilMs(): number {
    return this.validMs;
  }

  /** Called once the log has granted it. */
  start(): void {
    if (this.ended) return;
    this.scheduleRenewal();
    this.scheduleEnd();
  }

  async revoke(): Promise<void> {
    this.lose();
    await this.options.expire('revoked');
  }

  /** Known to be gone. */
  lose(): void {
    if (this.ended) return;
    this.abandon();
    this.options.onLost(this);
    this.resolveLost();
  }

  /** Lets go of file and timers, and tells nobody. */
  abandon(): void {
    this.ended = true;
    this.validMs = 0;
    this.timer?.cancel();
    this.endTimer?.cancel();
    this.file.close();
    removeIfThere(this.options.disk, this.path);
  }

  private renew(): void {
    const trouble = this.tryRenewal();
    if (trouble) this.giveUp(trouble);
  }

  /** Why the lease must be given up, if it must. */
  private tryRenewal(): string | undefined {
    const { clock, disk, log, id } = this.options;
    const startMs = clock.nowMs();
    if (startMs >= this.validMs) return 'its renewal came too late';
    try {
      // Without the name others cannot read what is written, and would rightly end the lease.
      if (!disk.exists(this.path)) return 'its file was removed';
      this.writeStamp(startMs);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      log.warn({ lease: id, error: error.message }, 'could not renew a lease; trying again');
      return undefined;
    }
    if (clock.nowMs() >= this.validMs) return 'its renewal took too long';
    this.validMs = this.validityFrom(startMs);
    return undefined;
  }

  private giveUp(reason: string): void {
    if (this.ended) return;
    const { log, id, expire } = this.options;
    log.warn({ lease: id, reason }, 'lost a lease');
    this.lose();
    // When the log cannot be written now, others end the lease when its time is over.
    expire(`given up: ${reason}`).catch(() => {});
  }

  private writeStamp(renewedMs: number): void {
    const { ttlMs, holder } = this.options;
    this.file.write([encodeLeaseStamp({ renewedMs, ttlMs, holder })], 0);
  }

  private validityFrom(startMs: number): number {
    return startMs + this.options.ttlMs * (1 - VALIDITY_MARGIN);
  }

  private scheduleRenewal(): void {
    this.timer = this.options.clock.after(this.options.ttlMs / RENEWALS_PER_TTL, () => {
      this.renew();
      if (!this.ended) this.scheduleRenewal();
    });
  }

  /** The end moves with each renewal; the timer looks again when it comes too early. */
  private scheduleEnd(): void {
    const { clock } = this.options;
    this.endTimer = clock.after(Math.max(1, this.validMs - clock.nowMs()), () => {
      if (clock.nowMs() >= this.validMs) this.giveUp('its time is over');
      else this.scheduleEnd();
    });
  }
}
