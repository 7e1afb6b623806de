/** The oracle of a volume: a plain file to which every acknowledged change is also applied. */
import { closeSync, copyFileSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { Signal } from '../../src/base/signal.js';
import type { NbdClient } from './nbd-client.js';

const KIB = 1024;
const COMPARE_BYTES = 1024 * KIB;

/** A small seeded generator (mulberry32): a failure names its seed. */
export function seeded(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** How long one request took, by performance.now. */
export interface Timing {
  readonly what: string;
  readonly startMs: number;
  readonly endMs: number;
}

export interface OracleCounts {
  reads: number;
  writes: number;
  zeroes: number;
  trims: number;
  flushes: number;
  bytes: number;
}

/**
 * Random requests of 512 bytes to 1 MiB, aligned and not, several at a time, never two on the same bytes. Reads are
 * compared with the mirror at once. Any failed request ends the run with its error.
 */
export class MirrorOracle {
  readonly timings: Timing[] = [];
  readonly counts: OracleCounts = { reads: 0, writes: 0, zeroes: 0, trims: 0, flushes: 0, bytes: 0 };
  failure: Error | undefined;
  private readonly fd: number;
  private readonly busy = new Set<{ offset: number; end: number }>();
  private paused: Signal<void> | undefined;
  private active = 0;
  private stopped = false;
  private workers: Promise<void>[] = [];
  private stamp = 1;

  constructor(
    readonly path: string,
    readonly sizeBytes: number,
    private readonly client: NbdClient,
    private readonly below: (below: number) => number,
    /** Pause of each worker between two requests, so that a run of minutes stays bearable for the machine. */
    private readonly thinkMs = 0,
  ) {
    this.fd = openSync(path, 'w+');
    ftruncateSync(this.fd, sizeBytes);
  }

  start(workers: number): void {
    this.workers = Array.from({ length: workers }, () => this.work());
  }

  /** Ends all work and throws what failed, if anything did. */
  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.workers);
    if (this.failure !== undefined) throw this.failure;
  }

  close(): void {
    closeSync(this.fd);
  }

  /** Runs `body` while nothing is in flight and everything is flushed. */
  async quiet<T>(body: () => Promise<T>): Promise<T> {
    const gate = new Signal<void>();
    this.paused = gate;
    try {
      while (this.active > 0) await new Promise((resolve) => setTimeout(resolve, 2));
      if (this.failure !== undefined) throw this.failure;
      await this.timed('flush', () => this.client.flush());
      return await body();
    } finally {
      this.paused = undefined;
      gate.fire();
    }
  }

  /** A copy of the mirror as it is now; for use inside `quiet`. */
  copyTo(path: string): void {
    copyFileSync(this.path, path);
  }

  private async work(): Promise<void> {
    while (!this.stopped && this.failure === undefined) {
      await this.paused?.promise;
      if (this.stopped || this.failure !== undefined) return;
      this.active++;
      try {
        await this.step();
      } catch (error) {
        this.failure ??= error instanceof Error ? error : new Error(String(error));
      } finally {
        this.active--;
      }
      // A turn of the loop at least: a request that is refused at once must not keep timers from running.
      await new Promise((resolve) => setTimeout(resolve, this.thinkMs));
    }
  }

  private async step(): Promise<void> {
    const range = this.pick();
    this.busy.add(range);
    const { offset, end } = range;
    const length = end - offset;
    try {
      const dice = this.below(100);
      if (dice < 50) await this.write(offset, length);
      else if (dice < 85) await this.read(offset, length);
      else if (dice < 90) await this.zero(offset, length);
      else if (dice < 95) await this.trim(offset, length);
      else await this.flush();
    } finally {
      this.busy.delete(range);
    }
  }

  private pick(): { offset: number; end: number } {
    for (;;) {
      const aligned = this.below(2) === 0;
      const magnitude = 512 << this.below(12);
      let length = Math.min(512 + this.below(magnitude), 1024 * KIB);
      let offset = this.below(this.sizeBytes - length);
      if (aligned) {
        length = Math.ceil(length / 4096) * 4096;
        offset = Math.min(offset - (offset % 4096), this.sizeBytes - length);
      }
      const range = { offset, end: offset + length };
      if (![...this.busy].some((other) => other.offset < range.end && range.offset < other.end)) return range;
    }
  }

  private async write(offset: number, length: number): Promise<void> {
    const data = this.pattern(length);
    await this.timed(`write ${length}`, () => this.client.write(offset, data));
    writeSync(this.fd, data, 0, length, offset);
    this.counts.writes++;
    this.counts.bytes += length;
  }

  private async read(offset: number, length: number): Promise<void> {
    const found = await this.timed(`read ${length}`, () => this.client.read(offset, length));
    const wanted = this.mirrored(offset, length);
    if (!found.equals(wanted)) throw differs(`a read of ${length} at ${offset}`, found, wanted, offset);
    this.counts.reads++;
    this.counts.bytes += length;
  }

  private async zero(offset: number, length: number): Promise<void> {
    await this.timed(`zero ${length}`, () => this.client.zero(offset, length));
    writeSync(this.fd, Buffer.alloc(length), 0, length, offset);
    this.counts.zeroes++;
  }

  /** After a discard each byte is what it was or zero (QEMU cuts the range to whole blocks), and stays so. */
  private async trim(offset: number, length: number): Promise<void> {
    await this.timed(`trim ${length}`, () => this.client.trim(offset, length));
    const found = await this.timed(`read ${length}`, () => this.client.read(offset, length));
    const before = this.mirrored(offset, length);
    for (let i = 0; i < length; i++) {
      if (found[i] !== 0 && found[i] !== before[i]) {
        throw differs(`a discard of ${length} at ${offset}`, found, before, offset);
      }
    }
    writeSync(this.fd, found, 0, length, offset);
    this.counts.trims++;
  }

  private async flush(): Promise<void> {
    await this.timed('flush', () => this.client.flush());
    this.counts.flushes++;
  }

  private async timed<T>(what: string, run: () => Promise<T>): Promise<T> {
    const startMs = performance.now();
    try {
      return await run();
    } finally {
      this.timings.push({ what, startMs, endMs: performance.now() });
    }
  }

  private mirrored(offset: number, length: number): Buffer {
    const out = Buffer.alloc(length);
    readSync(this.fd, out, 0, length, offset);
    return out;
  }

  /** Every write has bytes of its own: the number of the write in each 4 bytes, mixed with the place. */
  private pattern(length: number): Buffer {
    const words = new Uint32Array(Math.ceil(length / 4));
    const stamp = this.stamp++;
    for (let i = 0; i < words.length; i++)
      words[i] = Math.imul(i + 1, 0x9e3779b1) ^ Math.imul(stamp, 0x85ebca6b);
    return Buffer.from(words.buffer, 0, length);
  }
}

/** Compares two files, also in length; throws with the first place where they differ. */
export function mustBeEqual(foundPath: string, wantedPath: string, what: string): void {
  const [found, wanted] = [openSync(foundPath, 'r'), openSync(wantedPath, 'r')];
  try {
    const [foundBytes, wantedBytes] = [fstatSync(found).size, fstatSync(wanted).size];
    if (foundBytes !== wantedBytes) throw new Error(`${what}: ${foundBytes} bytes instead of ${wantedBytes}`);
    const [a, b] = [Buffer.alloc(COMPARE_BYTES), Buffer.alloc(COMPARE_BYTES)];
    for (let offset = 0; offset < wantedBytes; offset += COMPARE_BYTES) {
      const length = readSync(found, a, 0, COMPARE_BYTES, offset);
      readSync(wanted, b, 0, COMPARE_BYTES, offset);
      if (a.compare(b, 0, length, 0, length) !== 0) {
        throw differs(what, a.subarray(0, length), b.subarray(0, length), offset);
      }
    }
  } finally {
    closeSync(found);
    closeSync(wanted);
  }
}

function differs(what: string, found: Buffer, wanted: Buffer, offset: number): Error {
  let first = 0;
  while (found[first] === wanted[first]) first++;
  let last = found.length - 1;
  while (found[last] === wanted[last]) last--;
  const show = (data: Buffer) => data.subarray(first, first + 8).toString('hex');
  const where = `differs from ${offset + first} to ${offset + last}`;
  return new Error(`${what} ${where}: found ${show(found)}, wanted ${show(wanted)}`);
}

/** Longest request that was in flight at some moment from `fromMs` to `toMs`, and began after `afterMs`. */
export function longestBetween(
  timings: readonly Timing[],
  afterMs: number,
  fromMs: number,
  toMs: number,
): number {
  let longest = 0;
  for (const { startMs, endMs } of timings) {
    if (startMs >= afterMs && endMs >= fromMs && startMs <= toMs)
      longest = Math.max(longest, endMs - startMs);
  }
  return longest;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? Number.NaN : sorted[Math.floor((sorted.length - 1) / 2)]!;
}
