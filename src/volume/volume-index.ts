import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { forEachLimit, Signal } from '../base/signal.js';
import { writeOf } from '../cluster/objects/mutation.js';
import type { ObjectClient, Session } from '../cluster/objects/object-client.js';
import {
  encodeTime,
  INODE_HEADER_BYTES,
  INODE_INDEX_OFFSET,
  indexEntryOffset,
  inodeHeader,
} from '../wire/inode.js';
import { addressIn, inodeAddress } from './directory.js';
import type { Usage, VdiRecord } from './records.js';

const READ_BYTES_MAX = 1024 * 1024;
/** Entries written by one message at most. */
const WRITE_ENTRIES_MAX = 16384;
/** Of the inode of a new version: entries in one message, and holes written along to save one (64 KiB of them). */
const PART_ENTRIES_MAX = READ_BYTES_MAX / 4;
const GAP_ENTRIES_MAX = 16384;
const PARTS_AT_ONCE = 4;
const NO_BYTES = new Uint8Array(0);

/** Number of objects a volume of this size has. */
export function objectCount(record: { sizeBytes: number; blockSizeShift: number }): number {
  return Math.ceil(record.sizeBytes / 2 ** record.blockSizeShift);
}

/** Reads the index of any version: for each object the vid that owns it, 0 for a hole. */
export async function readIndex(
  client: ObjectClient,
  session: Session,
  record: VdiRecord,
): Promise<Uint32Array> {
  const count = objectCount(record);
  const bytes = new Uint8Array(count * 4);
  const address = inodeAddress(record);
  for (let at = 0; at < bytes.length; at += READ_BYTES_MAX) {
    const length = Math.min(READ_BYTES_MAX, bytes.length - at);
    bytes.set(await client.read(session, address, INODE_INDEX_OFFSET + at, length), at);
  }
  return new Uint32Array(bytes.buffer);
}

/** The index of any version piece by piece, all of the same size but the last; memory stays flat. */
export async function* readIndexPieces(
  client: ObjectClient,
  session: Session,
  record: VdiRecord,
): AsyncGenerator<{ first: number; entries: Uint32Array }, undefined> {
  const bytesTotal = objectCount(record) * 4;
  const address = inodeAddress(record);
  for (let at = 0; at < bytesTotal; at += READ_BYTES_MAX) {
    const length = Math.min(READ_BYTES_MAX, bytesTotal - at);
    const bytes = new Uint8Array(await client.read(session, address, INODE_INDEX_OFFSET + at, length));
    yield { first: at / 4, entries: new Uint32Array(bytes.buffer) };
  }
  return undefined;
}

/** One entry of the index as it is stored: the vid that owns the object, 0 for a hole. */
export async function readIndexEntry(
  client: ObjectClient,
  session: Session,
  record: VdiRecord,
  index: number,
): Promise<number> {
  const bytes = await client.read(session, inodeAddress(record), indexEntryOffset(index), 4);
  return Buffer.from(bytes).readUInt32LE();
}

/**
 * Writes the whole inode of a new version: header, and the index it starts with, of which only what is in use. With
 * `sync` it is durable then; without, it must be flushed before the version exists.
 */
export async function writeInode(
  client: ObjectClient,
  session: Session,
  record: VdiRecord,
  name: string,
  index: Uint32Array,
  { sync = true }: { sync?: boolean } = {},
): Promise<void> {
  const address = inodeAddress(record);
  const header = encodeHeader(record, name);
  const bytes = new Uint8Array(index.buffer, index.byteOffset, index.byteLength);
  const parts = partsInUse(index);
  // What begins the index leaves with the header, so that most inodes are one message and one sync.
  const head = parts[0]?.start === 0 ? bytes.subarray(0, parts.shift()!.end * 4) : NO_BYTES;
  const first = Buffer.concat([header, head]);
  await client.change(session, address, writeOf(0, first, { mode: 'create', sync }));
  // After a failure nothing is under way any more: whoever gives the version up then finds all of it.
  await forEachLimit(parts, PARTS_AT_ONCE, async ({ start, end }) => {
    const data = bytes.subarray(start * 4, end * 4);
    await client.change(session, address, writeOf(indexEntryOffset(start), data, { mode: 'ensure', sync }));
  });
}

/** Ranges of entries, in order, that cover all that are set. The first begins with entry 0 unless that is far off. */
export function partsInUse(index: Uint32Array): { start: number; end: number }[] {
  const parts: { start: number; end: number }[] = [];
  let start = 0;
  let end = 0;
  for (let at = 0; at < index.length; at++) {
    if (index[at] === 0) continue;
    if (at - end > GAP_ENTRIES_MAX || at - start >= PART_ENTRIES_MAX) {
      if (end > start) parts.push({ start, end });
      start = at;
    }
    end = at + 1;
  }
  if (end > start) parts.push({ start, end });
  return parts;
}

/** Rewrites the header after the record changed: for clients that read inodes, and for rebuilding offline. */
export async function writeHeader(
  client: ObjectClient,
  session: Session,
  record: VdiRecord,
  name: string,
  mode: 'ensure' | 'update' = 'ensure',
): Promise<void> {
  const header = encodeHeader(record, name);
  await client.change(session, inodeAddress(record), writeOf(0, header, { mode, sync: true }));
}

/**
 * The same where the records are changed already: they are the truth, and a header that stays behind is only old. The
 * version may have been deleted meanwhile: its inode must not come back.
 */
export async function repeatInHeader(
  client: ObjectClient,
  session: Session,
  record: VdiRecord,
  name: string,
  log: Logger,
): Promise<void> {
  try {
    await writeHeader(client, session, record, name, 'update');
  } catch (error) {
    log.warn({ vid: record.vid, err: AppError.from(error).message }, 'an inode keeps its old header');
  }
}

/** The header as clients of the protocol see it. */
export function encodeHeader(record: VdiRecord, name: string): Uint8Array {
  const bytes = inodeHeader.encode({
    name,
    tag: record.tag,
    createTime: encodeTime(record.createdMs),
    snapTime: encodeTime(record.snapshotMs),
    vmClockNsec: BigInt(record.vmClockNs ?? 0),
    vdiSize: BigInt(record.sizeBytes),
    vmStateSize: BigInt(record.vmStateBytes ?? 0),
    copyPolicy: 0,
    storePolicy: 0,
    copies: record.copies,
    blockSizeShift: record.blockSizeShift,
    snapId: record.snapId,
    vid: record.vid,
    parentVid: record.parent,
    btreeCounter: 0,
  });
  if (bytes.length !== INODE_HEADER_BYTES) throw new AppError('system', 'inode header of a wrong size');
  return bytes;
}

export function usageOf(index: Uint32Array, vid: number): Usage {
  let own = 0;
  let shared = 0;
  for (const owner of index) {
    if (owner === vid) own++;
    else if (owner !== 0) shared++;
  }
  return { own, shared };
}

/**
 * The index of a working volume in its owner's memory, with changes written to the inode in groups: all entries that
 * changed while the last write was under way leave in the next. Always durably: what a power cut took from the inode
 * would still stand here, and whatever is acknowledged on the strength of it would go with this owner.
 */
export class VolumeIndex {
  private dirty = new Set<number>();
  /** Entries that the inode may lack because writing them failed: nothing may be answered that relies on them. */
  private readonly unsaved = new Set<number>();
  private waiting = new Signal<unknown>();
  private writing = false;

  constructor(
    private readonly client: ObjectClient,
    private readonly session: Session,
    private record: VdiRecord,
    public entries: Uint32Array,
  ) {}

  /** Sets the entry in memory now; resolves when the inode durably has it. */
  async set(index: number, owner: number): Promise<void> {
    this.entries[index] = owner;
    this.dirty.add(index);
    const group = this.waiting;
    if (!this.writing) void this.writeAll();
    const error = await group.promise;
    if (error !== undefined) throw error;
  }

  /** True: the last write of this entry failed, so it must be set again before anything under it is answered (I-2). */
  isUnsaved(index: number): boolean {
    return this.unsaved.size > 0 && this.unsaved.has(index);
  }

  /** Resolves when the inode durably has every entry as it is here. No change may be in flight. */
  async save(): Promise<void> {
    await Promise.all([...this.unsaved].map((index) => this.set(index, this.entries[index]!)));
  }

  /** The volume continues as another version with the same content (a snapshot was made). Nothing may be in flight. */
  continueAs(record: VdiRecord): void {
    this.record = record;
    this.resize(record);
  }

  resize(record: VdiRecord): void {
    this.record = record;
    const count = objectCount(record);
    if (count <= this.entries.length) return;
    const grown = new Uint32Array(count);
    grown.set(this.entries);
    this.entries = grown;
  }

  private async writeAll(): Promise<void> {
    this.writing = true;
    while (this.dirty.size > 0) {
      const { dirty, waiting } = this;
      this.dirty = new Set();
      this.waiting = new Signal();
      try {
        await this.write([...dirty].sort((a, b) => a - b));
        for (const index of dirty) this.unsaved.delete(index);
        waiting.fire(undefined);
      } catch (error) {
        for (const index of dirty) this.unsaved.add(index);
        waiting.fire(error);
      }
    }
    this.writing = false;
  }

  private async write(indexes: number[]): Promise<void> {
    const address = addressIn(this.record, inodeAddress(this.record).oid);
    for (let i = 0; i < indexes.length; ) {
      const first = indexes[i]!;
      let last = first;
      // Entries that are near each other leave in one write; the ones in between are written as they are.
      while (i < indexes.length && indexes[i]! - last < 64 && indexes[i]! - first < WRITE_ENTRIES_MAX)
        last = indexes[i++]!;
      const data = new Uint8Array(this.entries.slice(first, last + 1).buffer);
      await this.client.change(
        this.session,
        address,
        writeOf(INODE_INDEX_OFFSET + first * 4, data, { mode: 'ensure', sync: true }),
      );
    }
  }
}
