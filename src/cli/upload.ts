import { ByteQueue } from '../base/byte-queue.js';
import type { Context } from './context.js';

/** Bytes of one call, cut at multiples of it: no call touches two objects. */
const CALL_BYTES = 1024 * 1024;
/** Calls on their way at once: enough to keep the sheep busy, and a bound on memory. */
const CALLS_IN_FLIGHT_MAX = 8;
const BLOCK_BYTES = 4096;
/** Shorter holes are sent along: a call costs more than they do. */
const HOLE_BYTES_MIN = 65536;
/** The sheep gives up an upload of which it hears nothing for a minute; a slow pipe must not look like that. */
const KEEP_ALIVE_MS = 10_000;
const zeros = Buffer.alloc(BLOCK_BYTES);

/**
 * Fills a version that appears when it is complete (`image.begin`, `restore.begin`), with pipelined calls. What is
 * written must not be changed before `settled` resolves.
 */
export class Upload {
  private readonly waiting: Promise<unknown>[] = [];
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly context: Context,
    readonly id: string,
  ) {
    this.timer = setInterval(() => {
      // A failure shows in the next call that carries something.
      this.send(0, Buffer.alloc(0)).catch(() => {});
    }, KEEP_ALIVE_MS);
    this.timer.unref();
  }

  /** Sends bytes as they are, zeros too. Waits while too many calls are under way. */
  async write(offset: number, bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const length = Math.min(bytes.length - at, CALL_BYTES - ((offset + at) % CALL_BYTES));
      if (this.waiting.length >= CALLS_IN_FLIGHT_MAX) await this.waiting.shift();
      const call = this.send(offset + at, bytes.subarray(at, at + length));
      // The first failure is reported where it is awaited; the others must not count as unhandled.
      call.catch(() => {});
      this.waiting.push(call);
      at += length;
    }
  }

  /** Sends what is not zero: everything else is a hole already. */
  async writeSparse(offset: number, bytes: Buffer): Promise<void> {
    for (const [start, end] of dataRuns(bytes)) await this.write(offset + start, bytes.subarray(start, end));
  }

  /** Everything written has been acknowledged. */
  async settled(): Promise<void> {
    while (this.waiting.length > 0) await this.waiting.shift();
  }

  /** The upload was completed. */
  end(): void {
    clearInterval(this.timer);
  }

  /** Gives up what was written. Best effort: the sheep does it by itself after a while. */
  async abort(): Promise<void> {
    this.end();
    await Promise.allSettled(this.waiting);
    await this.context.call('stage.abort', { id: this.id }).catch(() => {});
  }

  private send(offset: number, blob: Buffer): Promise<unknown> {
    return this.context.call('stage.write', { id: this.id, offset }, { blob });
  }
}

/** Cuts a stream into pieces that end at multiples of one call's size; the last one may be shorter. */
export async function* callPieces(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const queue = new ByteQueue();
  for await (const chunk of input) {
    queue.push(chunk);
    while (queue.length >= CALL_BYTES) yield queue.take(CALL_BYTES)!;
  }
  if (queue.length > 0) yield queue.take(queue.length)!;
}

/** Ranges [start, end) that hold everything that is not zero, with few long holes between them. */
export function dataRuns(bytes: Buffer): [number, number][] {
  const runs: [number, number][] = [];
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const end = Math.min(at + BLOCK_BYTES, bytes.length);
    if (bytes.compare(zeros, 0, end - at, at, end) === 0) continue;
    const last = runs.at(-1);
    if (last !== undefined && at - last[1] < HOLE_BYTES_MIN) last[1] = end;
    else runs.push([at, end]);
  }
  return runs;
}
