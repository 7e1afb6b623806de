/**
 * The file of a thin object: its own file, and files of other objects that it inherits blocks from (bases.ts). Which
 * block lies where is told by one number per block: 0 is the own file, n the n-th base. What is written or punched is
 * the object's own from then on; bases are only read. Behind the blocks come the object's tables, always its own.
 */
import { assert } from '../base/assert.js';
import { BLOCK_SIZE } from '../base/bytes.js';
import type { DiskFile } from './disk.js';

/** Four bits tell a block's file. */
export const MAX_BASES = 15;
export const OWN = 0;

export class ThinFile implements DiskFile {
  constructor(
    private readonly own: DiskFile,
    /** Undefined: it is missing; its blocks count as own, and verify there or not at all. */
    private readonly bases: (DiskFile | undefined)[],
    /** Per block; changed by writing. */
    readonly sources: Uint8Array,
  ) {
    assert(bases.length <= MAX_BASES, 'too many bases');
    for (let block = 0; block < sources.length; block++) {
      const source = sources[block]!;
      if (source > bases.length || (source !== OWN && !bases[source - 1])) sources[block] = OWN;
    }
  }

  get path(): string {
    return this.own.path;
  }

  get baseCount(): number {
    return this.bases.length;
  }

  /** Files that it keeps open, at most. */
  get fileCount(): number {
    return 1 + this.bases.length;
  }

  /** The n-th base, from 1 on; undefined when it is missing. */
  base(n: number): DiskFile | undefined {
    return this.bases[n - 1];
  }

  /** Lets go of a base that nothing is inherited from any more. */
  release(n: number): void {
    assert(!this.sources.includes(n), 'blocks of this base are inherited');
    this.bases[n - 1]?.close();
    this.bases[n - 1] = undefined;
  }

  isInherited(block: number): boolean {
    return this.sources[block] !== OWN;
  }

  /** The blocks lie in the own file from now on. */
  claim(firstBlock: number, blockCount: number): void {
    this.sources.fill(OWN, firstBlock, firstBlock + blockCount);
  }

  /** Frees what lies in the own file under an inherited block. */
  discardOwn(block: number): void {
    assert(this.isInherited(block), 'the block is its own');
    this.own.punch(block * BLOCK_SIZE, BLOCK_SIZE);
  }

  /** Like `read`, of the own file whatever the block's source is. */
  readOwn(buffer: Uint8Array, offset: number): number {
    return this.own.read(buffer, offset);
  }

  read(buffer: Uint8Array, offset: number): number {
    let done = 0;
    for (const { file, from, end } of this.runs(offset, buffer.length)) {
      const count = file.read(buffer.subarray(from - offset, end - offset), from);
      done += count;
      if (count < end - from) break;
    }
    return done;
  }

  tryRead(buffer: Uint8Array, offset: number): number {
    let done = 0;
    for (const { file, from, end } of this.runs(offset, buffer.length)) {
      const count = file.tryRead(buffer.subarray(from - offset, end - offset), from);
      if (count < 0) return -1;
      done += count;
      if (count < end - from) break;
    }
    return done;
  }

  async readAsync(buffer: Uint8Array, offset: number): Promise<number> {
    const runs = [...this.runs(offset, buffer.length)];
    const counts = await Promise.all(
      runs.map(({ file, from, end }) => file.readAsync(buffer.subarray(from - offset, end - offset), from)),
    );
    // What follows a short read is not what the caller would take it for.
    const short = counts.findIndex((count, i) => count < runs[i]!.end - runs[i]!.from);
    return counts.slice(0, short < 0 ? undefined : short + 1).reduce((sum, count) => sum + count, 0);
  }

  evict(offset: number, length: number): void {
    for (const { file, from, end } of this.runs(offset, length)) file.evict?.(from, end - from);
  }

  write(buffers: readonly Uint8Array[], offset: number): void {
    this.own.write(buffers, offset);
    // Not before: of a write that failed, the blocks are what they were.
    let length = 0;
    for (const buffer of buffers) length += buffer.length;
    this.claimBytes(offset, length);
  }

  punch(offset: number, length: number): void {
    this.own.punch(offset, length);
    this.claimBytes(offset, length);
  }

  append(): void {
    throw new Error('an object is not appended to');
  }

  truncate(): void {
    throw new Error('an object keeps its size');
  }

  allocate(offset: number, length: number): void {
    this.own.allocate(offset, length);
  }

  size(): number {
    return this.own.size();
  }

  links(): number {
    return this.own.links();
  }

  allocatedBytes(): number {
    return this.own.allocatedBytes();
  }

  /** Of its own file: what it inherits was durable before, or comes back by the journal (inherit.ts). */
  sync(): Promise<void> {
    return this.own.sync();
  }

  close(): void {
    this.own.close();
    for (const base of this.bases) base?.close();
  }

  private claimBytes(offset: number, length: number): void {
    const first = Math.floor(offset / BLOCK_SIZE);
    this.claim(first, Math.ceil((offset + length) / BLOCK_SIZE) - first);
  }

  /** The range, cut where the file changes. */
  private *runs(offset: number, length: number): Generator<{ file: DiskFile; from: number; end: number }> {
    const rangeEnd = offset + length;
    let from = offset;
    while (from < rangeEnd) {
      let block = Math.floor(from / BLOCK_SIZE);
      const source = this.sources[block] ?? OWN;
      do block++;
      while (block * BLOCK_SIZE < rangeEnd && (this.sources[block] ?? OWN) === source);
      const end = Math.min(rangeEnd, block * BLOCK_SIZE);
      yield { file: source === OWN ? this.own : this.bases[source - 1]!, from, end };
      from = end;
    }
  }
}
