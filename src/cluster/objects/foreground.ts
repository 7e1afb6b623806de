import type { Clock } from '../../base/clock.js';

/** Buckets of the histogram: four to each doubling, from 50 microseconds to about an hour. */
const BUCKETS = 104;
const PER_DOUBLING = 4;
const FIRST_MS = 0.05;
/** The time that so many of all operations took at most is what is looked at: the mean hides who suffers. */
const QUANTILE = 0.9;

export interface ForegroundSample {
  readonly operations: number;
  /** Nine of ten took no longer; 0 without operations. */
  readonly latencyMs: number;
}

/**
 * How long clients' operations take at this node, as their gateway or as the primary of their objects. Looked at only
 * while somebody watches (a recovery runs): otherwise an operation pays for one comparison, else for two looks at the
 * clock. Only what ended counts: what waits for copies or for another epoch says nothing about the load.
 */
export class Foreground {
  private watchers = 0;
  private readonly counts = new Uint32Array(BUCKETS);
  operations = 0;

  constructor(private readonly clock: Pick<Clock, 'nowMs'>) {}

  watch(): void {
    if (this.watchers++ === 0) this.take();
  }

  unwatch(): void {
    this.watchers--;
  }

  /** An operation begins: what to hand to `end`. 0: nobody wants to know. */
  begin(): number {
    return this.watchers === 0 ? 0 : this.clock.nowMs();
  }

  end(beginMs: number): void {
    if (beginMs === 0 || this.watchers === 0) return;
    this.operations++;
    this.counts[bucketOf(this.clock.nowMs() - beginMs)]!++;
  }

  /** What was seen since the last call. */
  take(): ForegroundSample {
    const { operations, counts } = this;
    const sample = { operations, latencyMs: this.quantileMs() };
    counts.fill(0);
    this.operations = 0;
    return sample;
  }

  private quantileMs(): number {
    let left = this.operations * (1 - QUANTILE);
    if (this.operations === 0) return 0;
    for (let bucket = BUCKETS - 1; bucket > 0; bucket--) {
      left -= this.counts[bucket]!;
      if (left < 0) return FIRST_MS * 2 ** (bucket / PER_DOUBLING);
    }
    return FIRST_MS;
  }
}

/** Bucket n ends where FIRST_MS has been doubled n / PER_DOUBLING times. */
function bucketOf(tookMs: number): number {
  if (!(tookMs > FIRST_MS)) return 0;
  return Math.min(BUCKETS - 1, Math.ceil(PER_DOUBLING * Math.log2(tookMs / FIRST_MS)));
}
