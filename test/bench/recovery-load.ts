/** A client at work while something else happens: random blocks of a volume, every second one written. */
import type { NbdClient } from '../helpers/nbd-client.js';
import { partOf } from './statistics.js';

const BLOCK = 4096;

/** What the client saw in some time. */
export interface Seen {
  readonly operationsPerSecond: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Works from its making until `stop`. */
export class RecoveryLoad {
  private latenciesMs: number[] = [];
  private sinceMs = performance.now();
  private stopped = false;
  private failure: unknown;
  private readonly workers: Promise<void>[];

  /** `depth` requests at a time. */
  constructor(
    client: NbdClient,
    private readonly volumeBytes: number,
    depth: number,
  ) {
    this.workers = Array.from({ length: depth }, (_, index) =>
      this.work(client, index).catch((error: unknown) => {
        this.failure ??= error;
      }),
    );
  }

  /** From the last call on. Throws what a request failed with. */
  take(): Seen {
    if (this.failure !== undefined) throw this.failure;
    const nowMs = performance.now();
    const seen = seenIn(this.latenciesMs, nowMs - this.sinceMs);
    this.latenciesMs = [];
    this.sinceMs = nowMs;
    return seen;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.workers);
  }

  private async work(client: NbdClient, seed: number): Promise<void> {
    const data = Buffer.alloc(BLOCK, seed + 1);
    for (let n = seed + 1; !this.stopped; n++) {
      const at = Math.floor(Math.random() * (this.volumeBytes / BLOCK)) * BLOCK;
      const startMs = performance.now();
      if (n % 2 === 0) await client.write(at, data);
      else await client.read(at, BLOCK);
      this.latenciesMs.push(performance.now() - startMs);
    }
  }
}

/** Rate and latencies of what ended within `elapsedMs`. */
export function seenIn(latenciesMs: readonly number[], elapsedMs: number): Seen {
  const sorted = [...latenciesMs].sort((a, b) => a - b);
  return {
    operationsPerSecond: (sorted.length * 1000) / elapsedMs,
    p50Ms: partOf(sorted, 0.5),
    p90Ms: partOf(sorted, 0.9),
    p99Ms: partOf(sorted, 0.99),
    maxMs: sorted.at(-1) ?? Number.NaN,
  };
}
