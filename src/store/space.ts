/** Free room, asked of the disk seldom: new data is refused while there still is enough for what must go on (I-8). */
import type { Clock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Disk } from './disk.js';

/** Others use the disk too. */
const MAX_AGE_MS = 200;
const MIN_RESERVE_BYTES = 64 << 20;

/** Bytes of a disk of this size that new data leaves free, unless told otherwise. */
export function defaultReserveBytes(totalBytes: number): number {
  return Math.max(MIN_RESERVE_BYTES, Math.floor(totalBytes / 100));
}

export class Space {
  readonly reserveBytes: number;
  private freeBytes = 0;
  private askedMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly disk: Disk,
    private readonly clock: Clock,
    reserveBytes: number | undefined,
  ) {
    this.reserveBytes = reserveBytes ?? defaultReserveBytes(disk.space().totalBytes);
  }

  /** Throws AppError 'no-space' when `bytes` more would eat into the reserve. */
  need(bytes: number): void {
    const nowMs = this.clock.nowMs();
    // Near the limit every request asks the disk; far from it once a second is enough.
    if (nowMs - this.askedMs > MAX_AGE_MS || this.freeBytes - bytes < 4 * this.reserveBytes) {
      this.freeBytes = this.disk.space().freeBytes;
      this.askedMs = nowMs;
    }
    if (this.freeBytes - bytes < this.reserveBytes) {
      throw new AppError(
        'no-space',
        `only ${this.freeBytes} bytes are free and ${this.reserveBytes} stay reserved`,
      );
    }
    this.freeBytes -= bytes;
  }

  /** True when so little is left that room should be reserved before the journal promises it. */
  get scarce(): boolean {
    return this.freeBytes < 4 * this.reserveBytes;
  }
}
