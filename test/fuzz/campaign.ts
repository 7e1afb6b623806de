/**
 * The fuzzing itself: several connections at once send streams to one sheep of a cluster of three, while a mirror
 * volume is written beside it, a probe asks whether the sheep still serves, memory is watched, and what the streams
 * have made is deleted again from time to time.
 */
import { sleep, systemClock } from '../../src/base/clock.js';
import { AppError } from '../../src/base/errors.js';
import type { VdiInfo } from '../../src/control/api.js';
import { INODE_HEADER_BYTES, inodeHeader } from '../../src/wire/inode.js';
import { inodeOid } from '../../src/wire/oid.js';
import { operationOf } from '../../src/wire/sheepdog.js';
import { seeded } from '../helpers/mirror-oracle.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { RealCluster, type RealSheep } from '../helpers/real-cluster.js';
import { freshConnections, ok, SheepdogCalls } from '../helpers/sheepdog-calls.js';
import { residentBytes } from '../helpers/sheepdog-door.js';
import { BLOCK_BYTES, StampedVolume } from '../helpers/stamped-volume.js';
import { type Corpus, recordCorpus } from './corpus.js';
import { Coverage } from './coverage.js';
import { drive, Violation } from './drive.js';
import { makeStream, type Stream, type Untouchable } from './stream.js';

const MIB = 1024 * 1024;
const MIRROR = 'mirror-of-the-fuzzer';
const MIRROR_BLOCKS = 2048;
const MIRROR_THINK_MS = 5;
const PROBE_INTERVAL_MS = 1000;
const PROBE_DEADLINE_MS = 15_000;
const SWEEP_INTERVAL_MS = 15_000;
const SWEEP_TRIES = 5;
const SWEEP_RETRY_MS = 300;
const FRAMES_PRINTED_MAX = 40;
/** Above what a sheep had when it began; its door alone may hold 256 MiB of requests. */
const GROWTH_BYTES_MAX = 700 * MIB;

export interface CampaignOptions {
  readonly seconds: number;
  readonly seed: number;
  /** The first stream, and how many; for replaying. */
  readonly first?: number;
  readonly count?: number;
  readonly connections?: number;
  readonly print: (line: string) => void;
}

export interface CampaignResult {
  readonly failure: string | undefined;
  readonly coverage: Coverage;
}

export async function runCampaign(options: CampaignOptions): Promise<CampaignResult> {
  const cluster = await RealCluster.start();
  try {
    return await new Campaign(cluster, options).run();
  } finally {
    await cluster.stop();
  }
}

class Campaign {
  private readonly coverage = new Coverage();
  private readonly target: RealSheep;
  private readonly pids: readonly number[];
  private readonly beforeBytes: number[];
  private readonly peakBytes: number[];
  private readonly flying = new Set<Stream>();
  private readonly kinds = new Map<string, number>();
  private readonly notes = new Map<string, number>();
  private failure: string | undefined;
  private next: number;
  private streams = 0;
  private skipped = 0;
  private swept = 0;
  private probes = 0;
  private longestProbeMs = 0;
  private mirrorWrites = 0;
  private corpus!: Corpus;
  private untouchable!: Untouchable;
  private endMs = 0;

  constructor(
    private readonly cluster: RealCluster,
    private readonly options: CampaignOptions,
  ) {
    this.target = cluster.sheep[0]!;
    this.pids = cluster.sheep.map(({ pid }) => pid);
    this.beforeBytes = cluster.sheep.map(residentBytes);
    this.peakBytes = [...this.beforeBytes];
    this.next = options.first ?? 0;
  }

  async run(): Promise<CampaignResult> {
    const { print, seconds, seed } = this.options;
    print(`seed ${seed}, ${seconds} s`);
    const mirror = await this.startMirror();
    this.corpus = await recordCorpus(this.address);
    for (const line of this.corpus.broken) print(`a recorded session broke off: ${line}`);
    print(
      `${this.corpus.frames.length} frames recorded, volumes ${this.corpus.vids.map((v) => v.toString(16))}`,
    );
    this.endMs = performance.now() + seconds * 1000;
    const connections = Array.from({ length: this.options.connections ?? 6 }, () => this.sendStreams());
    const fuzzing = Promise.all(connections).then(() => {
      this.endMs = 0;
    });
    await Promise.all([fuzzing, this.probe(), this.sweepOften(), this.keepWriting(mirror)]);
    if (this.failure === undefined) await this.lastLook(mirror);
    mirror.client.close();
    this.report();
    return { failure: this.failure, coverage: this.coverage };
  }

  private get address() {
    return { host: '127.0.0.1', port: this.target.port };
  }

  private get over(): boolean {
    return this.failure !== undefined || performance.now() >= this.endMs;
  }

  private fail(reason: string): void {
    if (this.failure !== undefined) return;
    this.failure = reason;
    const { print, seed } = this.options;
    print(`VIOLATION: ${reason}`);
    const numbers = [...this.flying].map(({ number }) => number).sort((a, b) => a - b);
    print(`in flight: streams ${numbers.join(' ')}`);
    if (numbers.length > 0) {
      const count = numbers.at(-1)! - numbers[0]! + 1;
      print(`replay: npm run fuzz -- --seed ${seed} --first ${numbers[0]} --count ${count} --connections 1`);
    }
    print(this.cluster.tails());
  }

  // --- the streams

  private async sendStreams(): Promise<void> {
    const { first = 0, count = Number.POSITIVE_INFINITY, seed } = this.options;
    while (!this.over && this.next < first + count) {
      const stream = makeStream(seed, this.next++, this.corpus, this.untouchable);
      if (stream === undefined) {
        this.skipped++;
        continue;
      }
      this.flying.add(stream);
      try {
        await drive(this.address, stream, this.coverage);
      } catch (error) {
        this.failStream(stream, error);
      }
      this.flying.delete(stream);
      this.streams++;
      const kind = `${stream.kind} ${stream.manner}`;
      this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1);
    }
  }

  private failStream(stream: Stream, error: unknown): void {
    const text = error instanceof Violation ? error.message : (error as Error).stack;
    const frames = stream.frames
      .slice(0, FRAMES_PRINTED_MAX)
      .map(({ header, payload }) => `  ${header.toString('hex')} ${payload.toString('hex', 0, 32)}`);
    this.fail(`stream ${stream.number} (${stream.kind}, ${stream.manner}): ${text}\n${frames.join('\n')}`);
  }

  // --- beside them

  private async startMirror(): Promise<{ client: NbdClient; volume: StampedVolume }> {
    const sizeBytes = MIRROR_BLOCKS * BLOCK_BYTES;
    const { vid } = await this.cluster.call('vdi.create', { name: MIRROR, sizeBytes });
    this.untouchable = { name: Buffer.from(MIRROR), vid };
    const client = await NbdClient.open(this.target.nbd, MIRROR);
    return { client, volume: new StampedVolume(MIRROR_BLOCKS) };
  }

  private async keepWriting({ client, volume }: { client: NbdClient; volume: StampedVolume }): Promise<void> {
    const below = seeded(this.options.seed);
    try {
      while (!this.over) {
        await volume.writeSomewhere(client, below);
        this.mirrorWrites++;
        await sleep(systemClock, MIRROR_THINK_MS);
      }
      await volume.check(client, 'the sheep that was fuzzed');
    } catch (error) {
      this.fail(`the mirror volume: ${(error as Error).message}`);
    }
  }

  private async probe(): Promise<void> {
    const calls = new SheepdogCalls(freshConnections(this.address));
    while (!this.over) {
      await sleep(systemClock, PROBE_INTERVAL_MS);
      const startMs = performance.now();
      try {
        ok(await calls.clusterDefault());
        const { payload } = ok(await calls.readObj(inodeOid(this.untouchable.vid), 0, INODE_HEADER_BYTES));
        if (inodeHeader.decode(payload).name !== MIRROR)
          throw new Error('the inode of the mirror has another name');
      } catch (error) {
        this.fail(`the probe: ${(error as Error).message}`);
      }
      const tookMs = performance.now() - startMs;
      if (tookMs > PROBE_DEADLINE_MS) this.fail(`a probe took ${Math.round(tookMs)} ms`);
      this.longestProbeMs = Math.max(this.longestProbeMs, tookMs);
      this.probes++;
      this.checkProcesses();
    }
  }

  private checkProcesses(): void {
    for (const [i, one] of this.cluster.sheep.entries()) {
      if (!one.running || one.pid !== this.pids[i]) {
        this.fail(`sheep ${i} has ended`);
        return;
      }
      const bytes = residentBytes(one);
      this.peakBytes[i] = Math.max(this.peakBytes[i]!, bytes);
      if (bytes - this.beforeBytes[i]! > GROWTH_BYTES_MAX) {
        this.fail(`sheep ${i} has grown to ${Math.round(bytes / MIB)} MiB`);
      }
    }
  }

  /** Deletes whatever streams have made, so that an hour needs no more room than a minute. */
  private async sweepOften(): Promise<void> {
    let atMs = performance.now() + SWEEP_INTERVAL_MS;
    while (!this.over) {
      await sleep(systemClock, 200);
      if (performance.now() < atMs) continue;
      await this.sweep();
      atMs = performance.now() + SWEEP_INTERVAL_MS;
    }
  }

  private async sweep(): Promise<void> {
    const rows = await this.list();
    for (const row of rows) if (this.failure === undefined && row.name !== MIRROR) await this.remove(row);
  }

  /** Streams may be at the same volume: only the very same one, still there after some tries, cannot be deleted. */
  private async remove({ name, snapId, snapshot, vid, createdMs }: VdiInfo): Promise<void> {
    let last = '';
    for (let attempt = 0; attempt < SWEEP_TRIES; attempt++) {
      try {
        await this.cluster.sheep[1]!.call('vdi.delete', snapshot ? { name, snapId } : { name });
        this.swept++;
        return;
      } catch (error) {
        last = (error as Error).message;
        if (!AppError.isCode(error, 'no-vdi', 'no-tag', 'again', 'vdi-locked'))
          this.note(`deleting: ${last}`);
      }
      await sleep(systemClock, SWEEP_RETRY_MS);
      const same = (row: VdiInfo) =>
        row.vid === vid && row.createdMs === createdMs && row.snapshot === snapshot;
      if (!(await this.list()).some(same)) return;
    }
    this.fail(`volume ${name}, vid ${vid.toString(16)}, cannot be deleted: ${last}`);
  }

  private async list(): Promise<VdiInfo[]> {
    let last = '';
    for (let attempt = 0; attempt < SWEEP_TRIES; attempt++) {
      try {
        return await this.cluster.sheep[1]!.call('vdi.list', {});
      } catch (error) {
        last = (error as Error).message;
        this.note(`listing: ${last}`);
      }
      await sleep(systemClock, SWEEP_RETRY_MS);
    }
    this.fail(`volumes cannot be listed: ${last}`);
    return [];
  }

  /** Not wrong by itself, but for somebody to look at. */
  private note(text: string): void {
    this.notes.set(text, (this.notes.get(text) ?? 0) + 1);
  }

  private async lastLook({ volume }: { volume: StampedVolume }): Promise<void> {
    try {
      await this.sweep();
      this.checkProcesses();
      await this.cluster.waitHealthy();
      for (const [i, one] of this.cluster.sheep.entries()) {
        const client = await NbdClient.open(one.nbd, MIRROR);
        await volume.check(client, `sheep ${i}`);
        client.close();
      }
    } catch (error) {
      this.fail(`at the end: ${(error as Error).message}`);
    }
  }

  private report(): void {
    const { print } = this.options;
    const mib = (bytes: number) => Math.round(bytes / MIB);
    print(this.coverage.table((opcode) => operationOf(opcode) !== undefined));
    const kinds = [...this.kinds].sort().map(([kind, n]) => `${kind} ${n}`);
    print(`streams: ${kinds.join(', ')}; ${this.skipped} left out`);
    print(
      `${this.streams} streams, ${this.coverage.framesSent} frames, ${this.coverage.answers} answers; ` +
        `${this.mirrorWrites} writes to the mirror, ${this.swept} volumes deleted, ` +
        `${this.probes} probes, the longest ${Math.round(this.longestProbeMs)} ms`,
    );
    for (const [text, n] of this.notes) print(`${n} times while sweeping: ${text}`);
    const memory = this.peakBytes.map((bytes, i) => `${mib(this.beforeBytes[i]!)} -> ${mib(bytes)}`);
    print(`memory of the sheep in MiB, at the start and at most: ${memory.join(', ')}`);
  }
}
