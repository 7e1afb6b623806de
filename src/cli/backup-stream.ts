/**
 * The stream of `vdi backup`: what changed from one snapshot to another, as the original wrote it (reference, section
 * 8.7). Little-endian.
 *
 * | bytes | field    |                                              |
 * |-------|----------|----------------------------------------------|
 * |   0:4 | version  | 1                                            |
 * |   4:4 | magic    | 0x11921192                                   |
 *
 * then records until the one with index 0xffffffff:
 *
 * | bytes | field    |                                              |
 * |-------|----------|----------------------------------------------|
 * |   0:4 | index    | of the object in the volume                  |
 * |   4:4 | offset   | in the object, of the first changed sector   |
 * |   8:4 | length   | up to the end of the last changed sector     |
 * |  12:4 | reserved | 0                                            |
 * | 16:n  | data     | `length` bytes                               |
 */
import { ByteQueue } from '../base/byte-queue.js';

export const BACKUP_HEADER_BYTES = 8;
export const RECORD_HEADER_BYTES = 16;
export const SECTOR_BYTES = 512;
const VERSION = 1;
const MAGIC = 0x11921192;
const END_INDEX = 0xffffffff;
/** Data of a record is handed on in pieces: one may be as long as the largest object. */
const PIECE_BYTES = 1024 * 1024;

/** Thrown when the stream is not a backup, or ends before its end record. */
export class CorruptBackup extends Error {
  override readonly name = 'CorruptBackup';
}

export interface BackupPiece {
  readonly index: number;
  readonly offset: number;
  readonly data: Buffer;
}

export function encodeBackupHeader(): Buffer {
  const out = Buffer.alloc(BACKUP_HEADER_BYTES);
  out.writeUInt32LE(VERSION, 0);
  out.writeUInt32LE(MAGIC, 4);
  return out;
}

export function encodeRecordHeader(index: number, offset: number, length: number): Buffer {
  const out = Buffer.alloc(RECORD_HEADER_BYTES);
  out.writeUInt32LE(index, 0);
  out.writeUInt32LE(offset, 4);
  out.writeUInt32LE(length, 8);
  return out;
}

export function encodeEndRecord(): Buffer {
  return encodeRecordHeader(END_INDEX, 0, 0);
}

/** Changed data in the order of the stream. `objectBytes` bounds every record. Throws CorruptBackup. */
export async function* decodeBackup(
  input: AsyncIterable<Buffer>,
  objectBytes: number,
): AsyncGenerator<BackupPiece> {
  const source = new Source(input);
  const header = await source.take(BACKUP_HEADER_BYTES);
  if (header.readUInt32LE(0) !== VERSION || header.readUInt32LE(4) !== MAGIC) throw new CorruptBackup();
  for (;;) {
    const record = await source.take(RECORD_HEADER_BYTES);
    const [index, offset, length] = [0, 4, 8].map((at) => record.readUInt32LE(at)) as [
      number,
      number,
      number,
    ];
    if (index === END_INDEX) return;
    if (offset + length > objectBytes) throw new CorruptBackup();
    for (let at = 0; at < length; ) {
      const data = await source.take(Math.min(PIECE_BYTES, length - at));
      yield { index, offset: offset + at, data };
      at += data.length;
    }
  }
}

/** Takes exactly what is wanted from a stream. */
class Source {
  private readonly queue = new ByteQueue();
  private readonly iterator: AsyncIterator<Buffer>;

  constructor(input: AsyncIterable<Buffer>) {
    this.iterator = input[Symbol.asyncIterator]();
  }

  async take(bytes: number): Promise<Buffer> {
    while (this.queue.length < bytes) {
      const next = await this.iterator.next();
      if (next.done === true) throw new CorruptBackup();
      this.queue.push(Buffer.from(next.value));
    }
    return this.queue.take(bytes)!;
  }
}

/** The sectors from the first to the last that differ; undefined when all are equal. Of the same length. */
export function changedRange(from: Buffer, to: Buffer): { start: number; end: number } | undefined {
  const differs = (at: number): boolean => {
    const end = Math.min(at + SECTOR_BYTES, to.length);
    return from.compare(to, at, end, at, end) !== 0;
  };
  let start = 0;
  while (start < to.length && !differs(start)) start += SECTOR_BYTES;
  if (start >= to.length) return undefined;
  let last = Math.floor((to.length - 1) / SECTOR_BYTES) * SECTOR_BYTES;
  while (!differs(last)) last -= SECTOR_BYTES;
  return { start, end: Math.min(last + SECTOR_BYTES, to.length) };
}
