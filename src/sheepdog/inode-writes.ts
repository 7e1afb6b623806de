import { AppError } from '../base/errors.js';
import type { VdiRecord } from '../volume/records.js';
import { objectCount } from '../volume/volume-index.js';
import {
  INODE_BYTES,
  INODE_CLIENT_BYTES,
  INODE_HEADER_BYTES,
  INODE_INDEX_OFFSET,
  inodeHeader,
  TAG_BYTES,
} from '../wire/inode.js';
import { vdiBytesMax } from '../wire/sheepdog.js';
import type { InodeView } from './inode-view.js';
import type { Lines } from './lines.js';
import { type DoorParts, isWorking, untilSettled } from './parts.js';

/** A write to an inode, taken apart. Pure. */
export type InodeWrite =
  | { readonly kind: 'header' }
  | { readonly kind: 'index'; readonly from: number; readonly entries: Uint32Array }
  | { readonly kind: 'nothing' };

/**
 * What a range of the inode is to a server (reference, section 6.7): a write that begins in the header is never an
 * index update, however far it reaches; reference counts are the original's own business. Throws 'invalid'.
 */
export function inodeWriteOf(offset: number, payload: Buffer): InodeWrite {
  const end = offset + payload.length;
  if (end > INODE_BYTES) throw new AppError('invalid', 'the range is outside of the inode');
  if (payload.length === 0) return { kind: 'nothing' };
  if (offset < INODE_HEADER_BYTES) return { kind: 'header' };
  if (offset >= INODE_CLIENT_BYTES) return { kind: 'nothing' };
  const indexEnd = Math.min(end, INODE_CLIENT_BYTES);
  if ((offset - INODE_INDEX_OFFSET) % 4 !== 0 || (indexEnd - offset) % 4 !== 0) {
    throw new AppError('invalid', 'index entries are written whole');
  }
  const bytes = payload.subarray(0, indexEnd - offset);
  const entries = new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  return { kind: 'index', from: (offset - INODE_INDEX_OFFSET) / 4, entries };
}

/** What a header write changes, compared with what the header is. Names and copies in it are a client's old copies. */
export interface HeaderChange {
  readonly marks: { tag?: string; vmStateBytes?: number; vmClockNs?: string };
  /** 0: not changed. */
  readonly sizeBytes: number;
}

/**
 * Pure. Clients write back the whole header from their cache (D10): what they do not mean to change must not go back
 * to what it was when they read it. So a smaller size is an old one, unless nothing else is in the write.
 */
export function headerChangeOf(present: Buffer, offset: number, payload: Buffer): HeaderChange {
  const wanted = Buffer.from(present);
  payload.copy(wanted, offset, 0, INODE_HEADER_BYTES - offset);
  const before = inodeHeader.decode(present);
  const after = inodeHeader.decode(wanted);
  const { tag } = inodeHeader.fields;
  const rawTag = wanted.subarray(tag.offset, tag.offset + TAG_BYTES);
  if (Buffer.compare(Buffer.from(after.tag), rawTag.subarray(0, Buffer.byteLength(after.tag))) !== 0) {
    throw new AppError('invalid', 'the tag is not well-formed text');
  }
  const marks: HeaderChange['marks'] = {};
  if (after.tag !== before.tag) marks.tag = after.tag;
  if (after.vmStateSize !== before.vmStateSize) marks.vmStateBytes = checkedVmState(after.vmStateSize);
  if (after.vmClockNsec !== before.vmClockNsec) marks.vmClockNs = String(after.vmClockNsec);
  if (after.vdiSize === before.vdiSize) return { marks, sizeBytes: 0 };
  if (after.vdiSize < before.vdiSize) {
    if (Object.keys(marks).length > 0) return { marks, sizeBytes: 0 };
    throw new AppError('invalid', 'Shrinking VDIs is not implemented');
  }
  if (after.vdiSize > BigInt(vdiBytesMax(before.blockSizeShift))) {
    throw new AppError('invalid', 'New VDI size is too large');
  }
  return { marks, sizeBytes: Number(after.vdiSize) };
}

function checkedVmState(bytes: bigint): number {
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER))
    throw new AppError('invalid', 'so much machine state cannot be');
  return Number(bytes);
}

/** Carries writes of inodes out: they ask for what the records and the owner's index are changed for. */
export class InodeWrites {
  constructor(
    private readonly parts: DoorParts,
    private readonly view: InodeView,
    private readonly lines: Lines,
  ) {}

  async header(record: VdiRecord, offset: number, payload: Buffer): Promise<void> {
    const change = headerChangeOf(this.view.header(record), offset, payload);
    const marked = Object.keys(change.marks).length > 0;
    if (!marked && change.sizeBytes === 0) return;
    const name = this.parts.directory.line(record.line)?.name;
    if (name === undefined || !isWorking(this.parts, record)) {
      throw new AppError('read-only', 'a snapshot cannot be changed');
    }
    const { vid } = record;
    await untilSettled(this.parts, async () => {
      if (change.sizeBytes > 0)
        await this.parts.call('version.grow', { name, vid, sizeBytes: change.sizeBytes });
      if (marked) await this.parts.call('version.mark', { name, vid, ...change.marks });
    });
  }

  /**
   * The owner keeps the index: an object is in it from its first write. So an entry that names this very version says
   * nothing new; a zero is a discard; and what an entry would otherwise make a volume refer to is not for clients to
   * say. Of a snapshot nothing changes, whatever the original's tools write before they delete it (D-3).
   */
  async index(record: VdiRecord, from: number, entries: Uint32Array, durable: boolean): Promise<void> {
    if (!isWorking(this.parts, record)) return;
    const count = objectCount(record);
    if (
      from + entries.length > count &&
      entries.subarray(Math.max(0, count - from)).some((vid) => vid !== 0)
    ) {
      throw new AppError('invalid', 'the entry lies behind the end of the volume');
    }
    await this.checkForeign(record, from, entries.subarray(0, Math.max(0, count - from)));
    const inside = entries.subarray(0, Math.max(0, count - from));
    if (!inside.includes(0)) return;
    // Most of a large range is holes, and each object asked about costs something.
    const present = await this.view.index(record, from, inside.length);
    for (const run of runsOf(inside.length, (i) => inside[i] === 0 && present.readUInt32LE(i * 4) !== 0)) {
      await this.discard(record, from + run.first, run.count, durable);
    }
  }

  /** Drops whole objects, `count` of them in a row. */
  async discard(record: VdiRecord, first: number, count: number, durable: boolean): Promise<void> {
    const objectBytes = 2 ** record.blockSizeShift;
    const offset = first * objectBytes;
    const length = Math.min(count * objectBytes, record.sizeBytes - offset);
    if (length <= 0) return;
    const options = { fua: durable, version: record.vid };
    await untilSettled(this.parts, () =>
      this.lines.use(record.line, (handle) => handle.discard(offset, length, options)),
    );
  }

  private async checkForeign(record: VdiRecord, from: number, entries: Uint32Array): Promise<void> {
    if (entries.every((vid) => vid === 0 || vid === record.vid)) return;
    const bytes = await this.view.index(record, from, entries.length);
    entries.forEach((vid, i) => {
      if (vid === 0 || vid === record.vid) return;
      const now = bytes.readUInt32LE(i * 4);
      // An entry in the middle of a range, as the client remembers it: since then the volume got an object of its own.
      if (now !== vid && now !== record.vid)
        throw new AppError('invalid', 'the volume does not inherit this object');
    });
  }
}

/** Runs of neighbours for which `isWanted` holds. Pure. */
export function runsOf(
  count: number,
  isWanted: (index: number) => boolean,
): { first: number; count: number }[] {
  const runs: { first: number; count: number }[] = [];
  for (let i = 0; i < count; i++) {
    if (!isWanted(i)) continue;
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === i) last.count++;
    else runs.push({ first: i, count: 1 });
  }
  return runs;
}
