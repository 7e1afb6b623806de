import { fstatSync } from 'node:fs';
import type { Command } from 'commander';
import { ByteQueue } from '../../base/byte-queue.js';
import type { VdiInfo } from '../../control/api.js';
import { sizeArgument, vdiRef } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { write as writeOut } from '../output.js';
import { openProgress, type Progress } from '../progress.js';
import { readVersion } from '../version-reader.js';
import { openVdi } from './vdi-change.js';

/** Bytes of one call, cut at multiples of it: no call touches two objects. */
const CALL_BYTES = 1024 * 1024;
/** Calls on their way at once: enough to keep the sheep busy, and a bound on memory. */
const CALLS_IN_FLIGHT_MAX = 8;

/** Commands that move data: read to standard output, write from standard input. */
export function vdiDataCommands(parent: Command, runner: Runner): void {
  addLeaf<{ snapshot?: string }>(parent, runner, {
    usage: 'read <name> [offset] [length]',
    summary: 'copy a volume, or a part of it, to standard output',
    details: 'OFFSET and LENGTH take size suffixes. What lies past the end of the volume is left out.',
    examples: ['dog vdi read first > first.img', 'dog vdi read first -s golden 0 512 | xxd | head -1'],
    options: [['-s, --snapshot <snapshot>', 'read this snapshot, by tag or id']],
    run: read,
  });
  addLeaf<{ writeback?: boolean }>(parent, runner, {
    usage: 'write <name> [offset] [length]',
    summary: 'copy standard input into a volume',
    details: `Writes exactly the bytes that come, at most LENGTH; nothing is padded. The data is on stable storage when
the command ends with 0. Input that does not fit is refused: before anything is written when its size is
known (a file, or LENGTH given), else when the end of the volume is reached.`,
    examples: ['dog vdi write first < first.img', "printf 'hello' | dog vdi write first 4096"],
    options: [['-w, --writeback', 'do not wait for stable storage at the end']],
    run: write,
  });
}

async function read(
  context: Context,
  [name, offsetText, lengthText]: string[],
  options: { snapshot?: string },
): Promise<void> {
  const offset = offsetText === undefined ? 0 : sizeArgument(offsetText);
  const length = lengthText === undefined ? Number.MAX_SAFE_INTEGER : sizeArgument(lengthText);
  const ref = vdiRef(name!, options.snapshot);
  const vdi = await openVdi(context, ref);
  // An image is read back exactly; its volume is rounded up to whole sectors.
  const end = Math.min(vdi.image?.contentBytes ?? vdi.sizeBytes, offset + length);
  const progress = await openProgress(context, `reading ${name}`);
  try {
    let done = 0;
    for await (const part of readVersion(context, ref, offset, end)) {
      await writeOut(context.io.stdout, part);
      done += part.length;
      progress.update({ done, total: end - offset, unit: 'bytes' });
    }
  } finally {
    progress.stop();
  }
}

function callEnd(offset: number): number {
  return offset - (offset % CALL_BYTES) + CALL_BYTES;
}

async function write(
  context: Context,
  [name, offsetText, lengthText]: string[],
  options: { writeback?: boolean },
): Promise<void> {
  const offset = offsetText === undefined ? 0 : sizeArgument(offsetText);
  const length = lengthText === undefined ? undefined : sizeArgument(lengthText);
  const vdi = await openVdi(context, { name: name! });
  const knownBytes = length ?? fileBytes(context);
  refuseTooLong(vdi, offset, knownBytes);
  const progress = await openProgress(context, `writing ${name}`);
  // A pipe does not say how much will come: the bar is then drawn against the end of the volume.
  const writer = new Writer(context, vdi, offset, knownBytes ?? vdi.sizeBytes - offset, progress);
  try {
    await writer.writeAll(length);
    if (options.writeback !== true) await context.call('vdi.flush', { name: name! });
  } catch (error) {
    if (error instanceof Exit) throw error;
    throw refusal(`Failed to write VDI ${name}`, error);
  } finally {
    writer.progress.stop();
  }
  if (context.json) await context.printJson({ name, offset, writtenBytes: writer.writtenBytes });
}

function refuseTooLong(vdi: VdiInfo, offset: number, length: number | undefined): void {
  const room = vdi.sizeBytes - offset;
  if (room >= (length ?? 0)) return;
  const what = length === undefined || room < 0 ? `offset ${offset}` : `${length} bytes at offset ${offset}`;
  throw new Exit(
    exitCodes.failure,
    `Failed to write VDI ${vdi.name}: ${what} goes past its end (${vdi.sizeBytes} bytes); nothing was written`,
    { hint: `Make it larger with 'dog vdi resize ${vdi.name} SIZE', or write less with a LENGTH.` },
  );
}

/** What is left in standard input when it is a file; undefined for pipes. */
function fileBytes(context: Context): number | undefined {
  const { stdin } = context.io;
  if (!('fd' in stdin) || typeof stdin.fd !== 'number') return undefined;
  const stat = fstatSync(stdin.fd);
  return stat.isFile() ? stat.size : undefined;
}

/** Sends standard input as pipelined calls. */
class Writer {
  /** Bytes the sheep acknowledged, from the start on. */
  writtenBytes = 0;
  private readonly queue = new ByteQueue();
  private readonly waiting: { call: Promise<unknown>; bytes: number }[] = [];
  private next: number;

  constructor(
    private readonly context: Context,
    private readonly vdi: VdiInfo,
    offset: number,
    private readonly expectedBytes: number,
    readonly progress: Progress,
  ) {
    this.next = offset;
  }

  async writeAll(length: number | undefined): Promise<void> {
    let left = length ?? Number.MAX_SAFE_INTEGER;
    if (left > 0) {
      for await (const chunk of this.context.io.stdin as AsyncIterable<Buffer>) {
        const wanted = chunk.length <= left ? chunk : chunk.subarray(0, left);
        left -= wanted.length;
        this.queue.push(wanted);
        await this.sendWhole();
        if (left === 0) break;
      }
    }
    await this.sendRest();
    while (this.waiting.length > 0) await this.settleOldest();
  }

  private async sendWhole(): Promise<void> {
    for (;;) {
      const bytes = callEnd(this.next) - this.next;
      if (this.queue.length < bytes) return;
      await this.send(bytes);
    }
  }

  private async sendRest(): Promise<void> {
    if (this.queue.length > 0) await this.send(this.queue.length);
  }

  private async send(bytes: number): Promise<void> {
    const room = this.vdi.sizeBytes - this.next;
    if (bytes > room) return this.refuseRest(room);
    if (this.waiting.length >= CALLS_IN_FLIGHT_MAX) await this.settleOldest();
    const blob = this.queue.take(bytes)!;
    const call = this.context.call('vdi.write', { name: this.vdi.name, offset: this.next }, { blob });
    call.catch(() => {});
    this.waiting.push({ call, bytes });
    this.next += bytes;
  }

  private async settleOldest(): Promise<void> {
    const { call, bytes } = this.waiting.shift()!;
    await call;
    this.writtenBytes += bytes;
    this.progress.update({ done: this.writtenBytes, total: this.expectedBytes, unit: 'bytes' });
  }

  /** A pipe turned out too long: what fits is written and stable, and the command fails and says so. */
  private async refuseRest(room: number): Promise<never> {
    if (room > 0) await this.send(room);
    while (this.waiting.length > 0) await this.settleOldest();
    await this.context.call('vdi.flush', { name: this.vdi.name });
    const { name, sizeBytes } = this.vdi;
    throw new Exit(
      exitCodes.failure,
      `Failed to write VDI ${name}: the input goes past its end (${sizeBytes} bytes). ` +
        `The first ${this.writtenBytes} bytes were written, the rest was not.`,
      { hint: `Make it larger with 'dog vdi resize ${name} SIZE', or write less with a LENGTH.` },
    );
  }
}
