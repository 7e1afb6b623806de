/** Requests of the sheepdog protocol on one connection, as QEMU makes them, with a copy of what must be there. */
import * as assert from 'uvu/assert';
import { dataOid } from '../../src/wire/oid.js';
import { Flag } from '../../src/wire/sheepdog.js';
import { seeded, type Timing } from '../helpers/mirror-oracle.js';
import { ok, SheepdogCalls } from '../helpers/sheepdog-calls.js';
import { type Address, SheepdogClient } from '../helpers/sheepdog-client.js';

const WORKERS = 4;
const BLOCK_BYTES = 4096;
const FLUSH_EVERY = 16;
const ANSWER_DEADLINE_MS = 60_000;

export class RelayLoad {
  readonly timings: Timing[] = [];
  failure: Error | undefined;
  private readonly mirror: Buffer;
  private stopped = false;
  private workers: Promise<void>[] = [];
  private stamp = 1;

  private constructor(
    private readonly client: SheepdogClient,
    private readonly calls: SheepdogCalls,
    private readonly vid: number,
    private readonly objectBytes: number,
    private readonly objectCount: number,
    private readonly below: (below: number) => number,
  ) {
    this.mirror = Buffer.alloc(objectBytes * objectCount);
  }

  /** Opens the volume: the connection for I/O first, then the lock on another one, as QEMU does. */
  static async open(
    address: Address,
    volume: { name: string; objectBytes: number; objectCount: number },
    seed: number,
  ): Promise<RelayLoad> {
    const options = { answerDeadlineMs: ANSWER_DEADLINE_MS };
    const client = await SheepdogClient.connect(address, options);
    const other = await SheepdogClient.connect(address, options);
    const { vid } = ok(
      await new SheepdogCalls((request) => other.request(request)).lock({ name: volume.name }),
    );
    other.close();
    const calls = new SheepdogCalls((request) => client.request(request));
    const { objectBytes, objectCount } = volume;
    const load = new RelayLoad(client, calls, vid, objectBytes, objectCount, seeded(seed));
    for (let index = 0; index < objectCount; index++) await load.write(index, 0, true);
    return load;
  }

  start(): void {
    this.workers = Array.from({ length: WORKERS }, (_, worker) => this.work(worker));
  }

  /** Ends all work and throws what failed, if anything did. */
  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.workers);
    this.client.close();
    if (this.failure !== undefined) throw this.failure;
  }

  /** Reads everything anew through another address. */
  async compare(address: Address): Promise<void> {
    const client = await SheepdogClient.connect(address);
    const calls = new SheepdogCalls((request) => client.request(request));
    try {
      for (let index = 0; index < this.objectCount; index++) {
        const found = await calls.readData(this.vid, index, 0, this.objectBytes);
        const wanted = this.mirror.subarray(index * this.objectBytes, (index + 1) * this.objectBytes);
        assert.ok(found.equals(wanted), `object ${index} differs from the mirror`);
      }
    } finally {
      client.close();
    }
  }

  /** Each has blocks of its own, so that no two requests overlap. */
  private async work(worker: number): Promise<void> {
    const blocks = this.objectBytes / BLOCK_BYTES / WORKERS;
    try {
      for (let i = 1; !this.stopped && this.failure === undefined; i++) {
        const offset = (worker + this.below(blocks) * WORKERS) * BLOCK_BYTES;
        const index = this.below(this.objectCount);
        const startMs = performance.now();
        if (i % FLUSH_EVERY === 0) ok(await this.calls.flush(this.vid));
        else if (this.below(3) === 0) await this.read(index, offset);
        else await this.write(index, offset, false);
        this.timings.push({ what: 'request', startMs, endMs: performance.now() });
      }
    } catch (error) {
      this.failure ??= error as Error;
    }
  }

  private async write(index: number, offset: number, create: boolean): Promise<void> {
    const data = Buffer.alloc(BLOCK_BYTES);
    for (let at = 0; at < BLOCK_BYTES; at += 4) data.writeUInt32LE((this.stamp * 2654435761 + at) >>> 0, at);
    this.stamp++;
    const oid = dataOid(this.vid, index);
    // Write-back, as QEMU with a cache: durable when it flushes.
    const options = { flags: Flag.CACHE };
    ok(
      create
        ? await this.calls.createObj(oid, offset, data, options)
        : await this.calls.writeObj(oid, offset, data, options),
    );
    data.copy(this.mirror, index * this.objectBytes + offset);
  }

  private async read(index: number, offset: number): Promise<void> {
    const { payload } = ok(await this.calls.readObj(dataOid(this.vid, index), offset, BLOCK_BYTES));
    const at = index * this.objectBytes + offset;
    assert.ok(
      payload.equals(this.mirror.subarray(at, at + BLOCK_BYTES)),
      `object ${index} at ${offset} is wrong`,
    );
  }
}
