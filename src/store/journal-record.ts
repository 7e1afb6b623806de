/**
 * The journal's bytes. A batch is everything submitted in one turn, written with one call:
 *
 *     [batch header][uncommitted oids, u64 each][records][zeros to a whole block][block images]
 *
 *     batch header, 96 bytes, little endian
 *      0 u32 magic "SFJB"          24 u64 position in the segment    56 u32 records
 *      4 u16 version               32 u64 sequence                   60 u32 uncommitted oids
 *      6 u16 zero                  40 u64 synced sequence            64 u32 bytes of oids and records
 *      8 u32 bytes before images   48 u64 flushed sequence           68 u32 CRC of oids and records
 *     12 u32 bytes of the batch                                      72 20 bytes zero
 *     16 u64 generation                                              92 u32 CRC of bytes 0..91
 *
 *     record, 40 bytes, then one u32 per block: checksums of image, direct and spoiled, words of inherit
 *      0 u8 type                    8 u64 oid              32 u32 first block
 *      1 u24 tail mark             16 u64 object bytes     36 u32 blocks
 *      4 u32 epoch                 24 u64 instance
 *
 * Images are verified by their block checksums, so their bytes are not summed twice.
 */
import { alignUp, BLOCK_SIZE, crc32 } from '../base/bytes.js';
import { readU64, writeU64 } from './u64.js';

export const BATCH_MAGIC = 0x424a4653;
export const BATCH_VERSION = 1;
export const BATCH_HEADER_BYTES = 96;
export const RECORD_BYTES = 40;

export const recordTypes = {
  /** Whole blocks whose bytes are in the batch. */
  image: 1,
  /** Whole blocks whose bytes were written to the object itself. */
  direct: 2,
  /** The blocks become holes. */
  hole: 3,
  /** The blocks become allocated zeros. */
  zeros: 4,
  /** The object is created, all holes, replacing any other of its id. */
  create: 5,
  remove: 6,
  /** Changed in this epoch, by other means (or not at all). */
  touch: 7,
  /** The blocks have these checksums, and nobody has bytes that match them. */
  spoiled: 8,
  /** The object is created as a thin one: its words, instead of checksums, tell what it inherits (inherit.ts). */
  inherit: 9,
} as const;

export type RecordType = (typeof recordTypes)[keyof typeof recordTypes];

/** The record carries a checksum for each block, or as many other words. */
export function hasSums(type: RecordType): boolean {
  const { image, direct, spoiled, inherit } = recordTypes;
  return type === image || type === direct || type === spoiled || type === inherit;
}

export function nameOfRecord(type: number): string {
  return Object.entries(recordTypes).find(([, value]) => value === type)?.[0] ?? `record ${type}`;
}

export interface JournalRecord {
  readonly type: RecordType;
  /** The tail that has whatever came before, unless another segment of the journal still has it (tail-mark.ts). */
  readonly tailMark: number;
  readonly epoch: number;
  readonly oid: bigint;
  readonly objectBytes: number;
  readonly instance: number;
  readonly firstBlock: number;
  readonly blockCount: number;
  /** For types with sums: one per block; empty otherwise. */
  readonly checksums: Uint32Array;
}

export interface BatchHeader {
  readonly headerBytes: number;
  readonly totalBytes: number;
  readonly generation: number;
  readonly position: number;
  readonly sequence: number;
  /** Last batch known to be durable when this one was written. */
  readonly syncedSequence: number;
  /** Last batch whose direct writes were known to be durable too. */
  readonly flushedSequence: number;
  readonly recordCount: number;
  readonly uncommittedCount: number;
  readonly recordsBytes: number;
}

/** Collects one batch; used again and again, its buffer only grows. */
export class BatchBuilder {
  recordCount = 0;
  imageBytes = 0;
  private buffer = Buffer.alloc(64 << 10);
  private view = viewOf(this.buffer);
  private end = BATCH_HEADER_BYTES;
  private readonly images: Uint8Array[] = [];

  /** Journal bytes that the batch takes now. */
  get bytes(): number {
    return alignUp(this.end, BLOCK_SIZE) + this.imageBytes;
  }

  /** Begins a batch; the uncommitted oids come first. */
  begin(uncommitted: readonly bigint[], limit: number): number {
    this.end = BATCH_HEADER_BYTES;
    this.recordCount = 0;
    this.imageBytes = 0;
    this.images.length = 0;
    const count = Math.min(uncommitted.length, limit);
    this.room(8 * count);
    for (let index = 0; index < count; index++) {
      this.view.setBigUint64(this.end, uncommitted[index]!, true);
      this.end += 8;
    }
    return count;
  }

  add(record: JournalRecord, images?: readonly Uint8Array[]): void {
    this.room(RECORD_BYTES + 4 * record.checksums.length);
    this.end = encodeRecord(this.view, this.end, record);
    this.recordCount++;
    if (!images) return;
    for (const image of images) {
      this.images.push(image);
      this.imageBytes += image.length;
    }
  }

  /** The buffers to write, header first. */
  finish(header: {
    generation: number;
    position: number;
    sequence: number;
    syncedSequence: number;
    flushedSequence: number;
    uncommittedCount: number;
  }): Uint8Array[] {
    const headerBytes = alignUp(this.end, BLOCK_SIZE);
    this.room(headerBytes - this.end);
    const out = this.buffer;
    out.fill(0, this.end, headerBytes);
    out.fill(0, 0, BATCH_HEADER_BYTES);
    out.writeUInt32LE(BATCH_MAGIC, 0);
    out.writeUInt16LE(BATCH_VERSION, 4);
    out.writeUInt32LE(headerBytes, 8);
    out.writeUInt32LE(headerBytes + this.imageBytes, 12);
    writeU64(out, header.generation, 16);
    writeU64(out, header.position, 24);
    writeU64(out, header.sequence, 32);
    writeU64(out, header.syncedSequence, 40);
    writeU64(out, header.flushedSequence, 48);
    out.writeUInt32LE(this.recordCount, 56);
    out.writeUInt32LE(header.uncommittedCount, 60);
    out.writeUInt32LE(this.end - BATCH_HEADER_BYTES, 64);
    out.writeUInt32LE(crc32(out.subarray(BATCH_HEADER_BYTES, this.end)), 68);
    out.writeUInt32LE(crc32(out.subarray(0, 92)), 92);
    return [out.subarray(0, headerBytes), ...this.images];
  }

  private room(bytes: number): void {
    if (this.end + bytes <= this.buffer.length) return;
    const larger = Buffer.alloc(alignUp(Math.max(this.buffer.length * 2, this.end + bytes), BLOCK_SIZE));
    this.buffer.copy(larger, 0, 0, this.end);
    this.buffer = larger;
    this.view = viewOf(larger);
  }
}

function viewOf({ buffer, byteOffset, length }: Buffer): DataView {
  return new DataView(buffer, byteOffset, length);
}

/** Through a DataView: Buffer writes a bigint with several of them as scratch, which shows on each write. */
function encodeRecord(out: DataView, at: number, record: JournalRecord): number {
  const { type, tailMark, epoch, oid, objectBytes, instance, firstBlock, blockCount, checksums } = record;
  out.setUint32(at, type | (tailMark << 8), true);
  out.setUint32(at + 4, epoch, true);
  out.setBigUint64(at + 8, oid, true);
  out.setUint32(at + 16, objectBytes >>> 0, true);
  out.setUint32(at + 20, Math.floor(objectBytes / 0x1_0000_0000), true);
  out.setUint32(at + 24, instance >>> 0, true);
  out.setUint32(at + 28, Math.floor(instance / 0x1_0000_0000), true);
  out.setUint32(at + 32, firstBlock, true);
  out.setUint32(at + 36, blockCount, true);
  let end = at + RECORD_BYTES;
  for (let index = 0; index < checksums.length; index++) {
    out.setUint32(end, checksums[index]!, true);
    end += 4;
  }
  return end;
}

/** What tells a batch's header from others, of one that need not be whole. */
export function headerFields(bytes: Buffer) {
  return {
    isBatch: bytes.readUInt32LE(0) === BATCH_MAGIC,
    generation: readU64(bytes, 16),
    position: readU64(bytes, 24),
    sequence: readU64(bytes, 32),
  };
}

/** The fields of an intact header; undefined when magic, version or CRC are wrong, or lengths make no sense. */
export function decodeBatchHeader(bytes: Buffer): BatchHeader | undefined {
  if (bytes.length < BATCH_HEADER_BYTES || bytes.readUInt32LE(0) !== BATCH_MAGIC) return undefined;
  if (bytes.readUInt16LE(4) !== BATCH_VERSION) return undefined;
  if (bytes.readUInt32LE(92) !== crc32(bytes.subarray(0, 92))) return undefined;
  const header: BatchHeader = {
    headerBytes: bytes.readUInt32LE(8),
    totalBytes: bytes.readUInt32LE(12),
    generation: readU64(bytes, 16),
    position: readU64(bytes, 24),
    sequence: readU64(bytes, 32),
    syncedSequence: readU64(bytes, 40),
    flushedSequence: readU64(bytes, 48),
    recordCount: bytes.readUInt32LE(56),
    uncommittedCount: bytes.readUInt32LE(60),
    recordsBytes: bytes.readUInt32LE(64),
  };
  const { headerBytes, totalBytes, recordsBytes, uncommittedCount } = header;
  const sane =
    headerBytes === alignUp(BATCH_HEADER_BYTES + recordsBytes, BLOCK_SIZE) &&
    totalBytes >= headerBytes &&
    totalBytes % BLOCK_SIZE === 0 &&
    8 * uncommittedCount <= recordsBytes;
  return sane ? header : undefined;
}

/**
 * Oids and records of a batch; undefined when they do not match the header. `section` is the batch's first
 * `headerBytes` bytes.
 */
export function decodeRecords(
  section: Buffer,
  header: BatchHeader,
): { uncommitted: bigint[]; records: JournalRecord[] } | undefined {
  const end = BATCH_HEADER_BYTES + header.recordsBytes;
  if (section.length < end) return undefined;
  if (crc32(section.subarray(BATCH_HEADER_BYTES, end)) !== section.readUInt32LE(68)) return undefined;
  let at = BATCH_HEADER_BYTES;
  const uncommitted: bigint[] = [];
  for (let index = 0; index < header.uncommittedCount; index++, at += 8) {
    uncommitted.push(section.readBigUInt64LE(at));
  }
  const records: JournalRecord[] = [];
  for (let index = 0; index < header.recordCount; index++) {
    const record = decodeRecord(section, at, end);
    if (!record) return undefined;
    records.push(record);
    at += RECORD_BYTES + 4 * record.checksums.length;
  }
  return at === end ? { uncommitted, records } : undefined;
}

function decodeRecord(bytes: Buffer, at: number, end: number): JournalRecord | undefined {
  if (at + RECORD_BYTES > end) return undefined;
  const type = bytes.readUInt8(at) as RecordType;
  if (type < recordTypes.image || type > recordTypes.inherit) return undefined;
  const blockCount = bytes.readUInt32LE(at + 36);
  const summed = hasSums(type) ? blockCount : 0;
  if (at + RECORD_BYTES + 4 * summed > end) return undefined;
  const checksums = new Uint32Array(summed);
  for (let index = 0; index < summed; index++) {
    checksums[index] = bytes.readUInt32LE(at + RECORD_BYTES + 4 * index);
  }
  return {
    type,
    tailMark: bytes.readUIntLE(at + 1, 3),
    epoch: bytes.readUInt32LE(at + 4),
    oid: bytes.readBigUInt64LE(at + 8),
    objectBytes: readU64(bytes, at + 16),
    instance: readU64(bytes, at + 24),
    firstBlock: bytes.readUInt32LE(at + 32),
    blockCount,
    checksums,
  };
}
