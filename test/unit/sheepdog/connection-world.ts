/** The sheepdog port without sockets: streams in memory, its own clock, operations that end when a test says so. */
import { Duplex } from 'node:stream';
import type { Clock, Timer } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import type { Connection } from '../../../src/sheepdog/connection.js';
import type { Answer, Operation } from '../../../src/sheepdog/operation.js';
import { SheepdogServer } from '../../../src/sheepdog/server.js';
import { HEADER_BYTES } from '../../../src/wire/headers.js';
import { Op } from '../../../src/wire/sheepdog.js';
import { encodeRequest, type RawRequest, resultOf } from '../../helpers/sheepdog-client.js';

export const KIB = 1024;
export const MIB = 1024 * KIB;

/** One end of a stream: what is written is taken when the other end reads. */
class End extends Duplex {
  other: End | undefined;
  private taken: (() => void) | undefined;

  override _read(): void {
    const { taken } = this;
    this.taken = undefined;
    taken?.();
  }

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.other!.taken = done;
    this.other!.push(chunk);
  }

  override _final(done: () => void): void {
    this.other!.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    done(error);
    const { other } = this;
    if (other !== undefined && !other.destroyed) setImmediate(() => other.destroy());
  }
}

class ManualClock implements Clock {
  private now = 0;
  private timers: { atMs: number; run: () => void }[] = [];

  nowMs = () => this.now;
  wallMs = () => this.now;
  defer = (run: () => void) => void setImmediate(run);

  after(delayMs: number, run: () => void): Timer {
    const timer = { atMs: this.now + delayMs, run };
    this.timers.push(timer);
    return {
      cancel: () => {
        this.timers = this.timers.filter((one) => one !== timer);
      },
    };
  }

  pass(ms: number): void {
    const endMs = this.now + ms;
    for (;;) {
      const next = this.timers.filter((one) => one.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.timers = this.timers.filter((one) => one !== next);
      this.now = next.atMs;
      next.run();
    }
    this.now = endMs;
  }
}

/** Until streams and promises have nothing to do any more. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 100; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Reads only when it is told to. */
export class TestClient {
  private readonly got: Buffer[] = [];
  gone = false;

  constructor(
    readonly stream: Duplex,
    readonly connection: Connection,
  ) {
    connection.onClose(() => {
      this.gone = true;
    });
    stream.on('error', () => {});
  }

  send(request: RawRequest, id = 0): void {
    this.stream.write(encodeRequest(request, id));
  }

  /** Header and the first `bytes` bytes of a payload of `dataLength`. */
  announce(dataLength: number, bytes: number): void {
    this.stream.write(encodeRequest({ opcode: Op.WRITE_OBJ, flags: 1, dataLength }));
    if (bytes > 0) this.stream.write(Buffer.alloc(bytes));
  }

  read(): void {
    this.stream.on('data', (chunk: Buffer) => this.got.push(chunk));
  }

  /** The answers that have come whole. */
  get answers(): { id: number; result: number; payload: Buffer }[] {
    let rest = Buffer.concat(this.got);
    const answers = [];
    while (rest.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + rest.readUInt32LE(12);
      if (rest.length < end) break;
      const header = rest.subarray(0, HEADER_BYTES);
      const payload = rest.subarray(HEADER_BYTES, end);
      answers.push({ id: rest.readUInt32LE(8), result: resultOf({ header }), payload });
      rest = rest.subarray(end);
    }
    return answers;
  }
}

export class ConnectionWorld {
  readonly clock = new ManualClock();
  readonly server: SheepdogServer;
  /** Ends of DISCARD_OBJ, which waits for the test. */
  readonly atWork: (() => void)[] = [];

  constructor(budgetBytes: number, more: Iterable<[number, Operation]> = []) {
    const waits = (): Promise<Answer> =>
      new Promise((resolve) => this.atWork.push(() => resolve({ result: 0 })));
    const operations = new Map<number, Operation>([
      [Op.READ_OBJ, async ({ dataLength }) => ({ result: 0, payload: Buffer.alloc(dataLength) })],
      [Op.WRITE_OBJ, async () => ({ result: 0 })],
      [Op.DISCARD_OBJ, waits],
      ...more,
    ]);
    this.server = new SheepdogServer({
      log: silentLogger,
      clock: this.clock,
      epoch: () => 7,
      operations: () => operations,
      gate: () => undefined,
      budgetBytes,
    });
  }

  /** `reads`: it takes its answers. */
  connect({ reads }: { reads: boolean } = { reads: true }): TestClient {
    const ours = new End();
    const theirs = new End();
    ours.other = theirs;
    theirs.other = ours;
    const connection = this.server.accept(ours, '');
    connection.start(Buffer.alloc(0));
    const client = new TestClient(theirs, connection);
    if (reads) client.read();
    return client;
  }

  endWork(): void {
    for (const end of this.atWork.splice(0)) end();
  }
}
