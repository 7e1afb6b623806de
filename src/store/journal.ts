/**
 * The journal: two preallocated segment files, written in turn. One is current; the other is being checkpointed,
 * or ready, which means that its header with the next generation is durable. A batch belongs to a segment when its
 * generation is the header's.
 *
 *     segment header, at byte 0 and again at byte 2048 of the first block, little endian
 *      0 u32 magic "SFJS"    4 u16 version    6 u16 zero    8 u64 generation    16 u64 segment bytes
 *     24 u32 CRC of bytes 0..23
 */
import { BLOCK_SIZE, crc32 } from '../base/bytes.js';
import type { Disk, DiskFile } from './disk.js';
import type { BatchBuilder } from './journal-record.js';
import type { StoredObject } from './object-file.js';
import { readU64, writeU64 } from './u64.js';

export const SEGMENT_MAGIC = 0x534a4653;
export const SEGMENT_VERSION = 1;
/** Batches start after the header block. */
export const SEGMENT_START = BLOCK_SIZE;

export function segmentPath(index: number): string {
  return `journal-${index}`;
}

export function encodeSegmentHeader(generation: number, segmentBytes: number): Buffer {
  const block = Buffer.alloc(BLOCK_SIZE);
  block.writeUInt32LE(SEGMENT_MAGIC, 0);
  block.writeUInt16LE(SEGMENT_VERSION, 4);
  writeU64(block, generation, 8);
  writeU64(block, segmentBytes, 16);
  block.writeUInt32LE(crc32(block.subarray(0, 24)), 24);
  block.copy(block, BLOCK_SIZE / 2, 0, 28);
  return block;
}

/** Generation in the header block; undefined when neither copy is intact. */
export function decodeSegmentHeader(block: Buffer): number | undefined {
  for (const at of [0, BLOCK_SIZE / 2]) {
    if (block.length < at + 28) continue;
    if (block.readUInt32LE(at) !== SEGMENT_MAGIC || block.readUInt16LE(at + 4) !== SEGMENT_VERSION) continue;
    if (block.readUInt32LE(at + 24) === crc32(block.subarray(at, at + 24))) return readU64(block, at + 8);
  }
  return undefined;
}

export class Segment {
  position = SEGMENT_START;
  /** Last batch written here; -1: none. */
  lastSequence = -1;
  unsynced = false;
  state: 'current' | 'checkpointing' | 'ready' = 'ready';
  /** Objects whose tail has to be written before this segment is free. */
  readonly dirty = new Set<StoredObject>();
  readonly folders = new Set<string>();
  readonly epochs = new Set<number>();
  /** Operations journaled here that wait for their sync before they are applied. */
  pending = 0;

  constructor(
    readonly index: number,
    readonly file: DiskFile,
    public generation: number,
  ) {}
}

/** Opens both segments, making or resizing them if need be, with durable headers of two new generations. */
export async function formatSegments(
  disk: Disk,
  segmentBytes: number,
  generation: number,
): Promise<[Segment, Segment]> {
  const segments: Segment[] = [];
  for (let index = 0; index < 2; index++) {
    const file = disk.open(segmentPath(index), { create: true });
    if (file.size() !== segmentBytes) preallocate(file, segmentBytes);
    file.write([encodeSegmentHeader(generation + index, segmentBytes)], 0);
    await file.sync();
    segments.push(new Segment(index, file, generation + index));
  }
  await disk.syncDir('.');
  segments[0]!.state = 'current';
  return [segments[0]!, segments[1]!];
}

/** Real zeros, so that a sync never has to change the file system's own records of the file. */
function preallocate(file: DiskFile, segmentBytes: number): void {
  file.truncate(0);
  file.allocate(0, segmentBytes);
  const zeros = new Uint8Array(Math.min(1 << 20, segmentBytes));
  for (let at = 0; at < segmentBytes; at += zeros.length) {
    file.write([zeros.subarray(0, Math.min(zeros.length, segmentBytes - at))], at);
  }
}

interface SyncWaiter {
  readonly sequence: number;
  readonly done: (error?: Error) => void;
}

export class Journal {
  current: Segment;
  /** Last batch written. */
  sequence: number;
  syncedSequence: number;
  flushedSequence: number;
  syncs = 0;
  batches = 0;
  private waiters: SyncWaiter[] = [];
  private syncing = false;
  private error: Error | undefined;

  constructor(
    readonly segments: readonly [Segment, Segment],
    private readonly segmentBytes: number,
    firstSequence: number,
    private readonly onFailure: (error: unknown) => void,
  ) {
    this.current = segments[0];
    this.sequence = this.syncedSequence = this.flushedSequence = firstSequence;
  }

  get other(): Segment {
    return this.segments[1 - this.current.index]!;
  }

  /** Bytes left in the current segment. */
  get room(): number {
    return this.segmentBytes - this.current.position;
  }

  /** Bytes of the largest batch that ever fits. */
  get largestBatchBytes(): number {
    return this.segmentBytes - SEGMENT_START;
  }

  /** Writes the batch to the page cache; it must fit. Returns its sequence. Throws DiskError: the store must stop. */
  append(builder: BatchBuilder, uncommittedCount: number): number {
    const segment = this.current;
    const sequence = this.sequence + 1;
    const buffers = builder.finish({
      generation: segment.generation,
      position: segment.position,
      sequence,
      syncedSequence: this.syncedSequence,
      flushedSequence: this.flushedSequence,
      uncommittedCount,
    });
    segment.file.write(buffers, segment.position);
    segment.position += builder.bytes;
    segment.lastSequence = this.sequence = sequence;
    segment.unsynced = true;
    this.batches++;
    return sequence;
  }

  /** Makes the ready segment current; false when it is not ready yet. */
  switch(): boolean {
    const next = this.other;
    if (next.state !== 'ready') return false;
    this.current.state = 'checkpointing';
    next.state = 'current';
    this.current = next;
    return true;
  }

  /** Frees a checkpointed segment: durable when it resolves. */
  async makeReady(segment: Segment): Promise<void> {
    const generation = this.current.generation + 1;
    segment.file.write([encodeSegmentHeader(generation, this.segmentBytes)], 0);
    await segment.file.sync();
    segment.generation = generation;
    segment.position = SEGMENT_START;
    segment.lastSequence = -1;
    segment.folders.clear();
    segment.epochs.clear();
    segment.state = 'ready';
  }

  /** Calls back when the batch is durable; in the order of the calls. One sync serves all that wait. */
  onSynced(sequence: number, done: (error?: Error) => void): void {
    if (this.error) {
      done(this.error);
    } else if (sequence <= this.syncedSequence) {
      done();
    } else {
      this.waiters.push({ sequence, done });
      if (!this.syncing) void this.syncLoop();
    }
  }

  synced(sequence: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.onSynced(sequence, (error) => (error ? reject(error) : resolve()));
    });
  }

  fail(error: Error): void {
    this.error = error;
    const waiters = this.waiters;
    this.waiters = [];
    for (const { done } of waiters) done(error);
  }

  close(): void {
    for (const segment of this.segments) segment.file.close();
  }

  private async syncLoop(): Promise<void> {
    this.syncing = true;
    try {
      while (this.waiters.length > 0) {
        const target = this.sequence;
        const files = this.segments.filter((segment) => segment.unsynced);
        for (const segment of files) segment.unsynced = false;
        await Promise.all(files.map((segment) => segment.file.sync()));
        if (this.error) return;
        this.syncs++;
        this.syncedSequence = target;
        this.wake(target);
      }
    } catch (error) {
      // After a failed sync nobody knows what is on the platter: no retry can tell.
      this.onFailure(error);
    } finally {
      this.syncing = false;
    }
  }

  private wake(target: number): void {
    const waiters = this.waiters;
    this.waiters = [];
    const ready: SyncWaiter[] = [];
    for (const waiter of waiters) (waiter.sequence <= target ? ready : this.waiters).push(waiter);
    for (const { done } of ready) done();
  }
}
