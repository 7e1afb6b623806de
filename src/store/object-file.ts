/**
 * One object on disk: its file (object-slot.ts), its checksums in memory, and what has still to be written of them.
 *
 * The instance number tells one life of an object id from the next (removed, created again, copied over): journal
 * records name the instance they belong to.
 */
import { BLOCK_SIZE } from '../base/bytes.js';
import { openBases } from './bases.js';
import { BAD, HOLE, objectSeed } from './checksum.js';
import { type Disk, DiskError, type DiskFile } from './disk.js';
import { objectPath } from './object-path.js';
import {
  blockCount,
  blocksOfFile,
  decodeSlot,
  encodeSlot,
  isBlank,
  type SlotHeader,
  slotBytes,
  sourcesOf,
  tableOf,
} from './object-slot.js';
import { readBlocksNow } from './salvage.js';
import { isBeforeMark } from './tail-mark.js';
import { ThinFile } from './thin-file.js';

export class StoredObject {
  readonly seed: number;
  readonly blocks: number;
  /** Its file when it inherits blocks of others. */
  readonly thin: ThinFile | undefined;
  /** Others inherit blocks of its file (bases.ts): the data in it must not change. */
  lent = false;
  epoch = 0;
  tailSequence = 0;
  /** The slot that the last sync made durable; the other one is written next. */
  durableSlot: 0 | 1 | undefined;
  lastSlot: 0 | 1 = 0;
  /** Generation of the journal segment that holds a durable record of this object: see writer.ts, first touch. */
  activeGeneration = -1;
  /** Batch that is being put together and already changes this object. */
  plannedBatch = -1;
  /** How many segments wait for this object's tail to be durable. */
  dirtyIn = 0;
  /** How many of them have still to write it. */
  tailsOwed = 0;
  /** The newest tail was not readable: the object is as the one before has it. */
  private tailLost = false;
  /** Reads and copies under way: the file must stay open. */
  pins = 0;
  /** Unlinked or replaced: whoever still holds it reads on, nobody writes. */
  gone = false;
  closed = false;
  /** Written straight to the file since the file was last synced. */
  directDirty = false;
  /**
   * Per block the number of its last change that went through the journal; changes up to syncedChanges are in the
   * file.
   */
  private journaled: Uint32Array | undefined;
  private journaledChanges = 0;
  private syncedChanges = 0;
  /** The file's name is known to survive a power cut. */
  nameDurable = true;
  /** Second chance of the cache. */
  recent = true;

  constructor(
    readonly oid: bigint,
    private knownBytes: number,
    /** Zero: unknown, both slots were unreadable. */
    readonly instance: number,
    readonly file: DiskFile,
    readonly table: Uint32Array,
  ) {
    this.seed = objectSeed(oid);
    this.blocks = table.length;
    this.thin = file instanceof ThinFile ? file : undefined;
  }

  get objectBytes(): number {
    return this.knownBytes;
  }

  /**
   * Whether it can be changed by somebody to whom it has so many bytes. One that has lost both headers knows its number
   * of blocks only, and learns of the last one's length in this way.
   */
  learnBytes(objectBytes: number): boolean {
    if (this.instance === 0 && this.blocks > 0 && blockCount(objectBytes) === this.blocks) {
      this.knownBytes = objectBytes;
    }
    return this.knownBytes === objectBytes;
  }

  /** Syncs data and tail; afterwards the slot written last is the durable one. */
  async sync(): Promise<void> {
    const slot = this.lastSlot;
    const changes = this.journaledChanges;
    await this.file.sync();
    this.durableSlot = slot;
    this.syncedChanges = Math.max(this.syncedChanges, changes);
  }

  /** Blocks that got a content which only the journal keeps until the file is synced. */
  noteJournaled(firstBlock: number, blockCount: number): void {
    this.journaled ??= new Uint32Array(this.blocks);
    this.journaled.fill(++this.journaledChanges, firstBlock, firstBlock + blockCount);
  }

  /** Some of these blocks would lose such a content if half of a direct write reached the platter. */
  hasJournaled(firstBlock: number, blockCount: number): boolean {
    if (this.journaled === undefined || this.journaledChanges === this.syncedChanges) return false;
    for (let block = firstBlock; block < firstBlock + blockCount; block++) {
      if (this.journaled[block]! > this.syncedChanges) return true;
    }
    return false;
  }

  /** Some of these blocks lie in the files of others. */
  inherits(firstBlock: number, blockCount: number): boolean {
    if (this.thin === undefined) return false;
    for (let n = 0; n < blockCount; n++) if (this.thin.isInherited(firstBlock + n)) return true;
    return false;
  }

  /** Writes the table to the slot that is not known to be durable. */
  writeTail(): void {
    const slot = this.durableSlot === undefined ? this.lastSlot : this.durableSlot === 0 ? 1 : 0;
    this.tailSequence++;
    this.file.write([encodeSlot(this)], this.blocks * BLOCK_SIZE + slot * slotBytes(this.blocks));
    this.lastSlot = slot;
    this.tailLost = false;
  }

  /** Sequence of the tail that has, or is going to have, all changes before those of a journal segment. */
  tailBefore(owedThere: boolean): number {
    const coming = this.tailLost || this.tailsOwed > (owedThere ? 1 : 0);
    return this.tailSequence + (coming ? 1 : 0);
  }

  /**
   * The tail is older than the object: what was a hole then would pass for zeros, and what was inherited is still
   * there. Other old checksums do not match.
   */
  loseHoles(): void {
    this.tailLost = true;
    for (let block = 0; block < this.blocks; block++) {
      if (this.table[block] === HOLE || this.thin?.isInherited(block)) this.table[block] = BAD;
    }
    this.thin?.claim(0, this.blocks);
  }

  /** Files that it keeps open. */
  get fileCount(): number {
    return this.thin?.fileCount ?? 1;
  }

  /** No checkpoint has still to write a slot: what is on the device is what this object last wrote. */
  get tailSettled(): boolean {
    return this.dirtyIn === 0 && this.plannedBatch < 0 && this.blocks > 0 && !this.gone;
  }

  /**
   * Holds both slots, as they were found on the device, against what they should be. Damage of the older one matters
   * too: it is what remains when the next write of the other is torn. A damaged slot is the one that is written next.
   */
  isIntactTail(slots: Buffer): boolean {
    const each = slotBytes(this.blocks);
    const parts = [slots.subarray(0, each), slots.subarray(each)] as const;
    const headers = parts.map((slot) => decodeSlot(slot, this.oid, this.blocks));
    const isGood = (i: 0 | 1) => headers[i]?.tableOk === true;
    const last = this.lastSlot;
    const other = last === 0 ? 1 : 0;
    const lastGood = isGood(last) && headers[last]!.tailSequence === this.tailSequence;
    if (lastGood && (isGood(other) || isBlank(parts[other]))) return true;
    this.durableSlot = lastGood ? last : isGood(other) ? other : undefined;
    return false;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.file.close();
  }
}

/** What the journal has of one life of an object. */
export interface Replayed {
  readonly instance: number;
  /** Together with this tail it is all (tail-mark.ts). */
  readonly tailMark: number;
}

/**
 * Opens an object; undefined when there is none. With both tables lost the object opens with every block BAD, so
 * that reads say 'checksum' and never 'no-object', which would pass for a hole. `replayed`: what
 * the journal tells of the object; of another life of it, or without it, the newest tail counts, damaged or not.
 */
export function loadObject(disk: Disk, oid: bigint, replayed?: Replayed): StoredObject | undefined {
  let file: DiskFile;
  try {
    file = disk.open(objectPath(oid));
  } catch (error) {
    if (error instanceof DiskError && error.code === 'missing') return undefined;
    throw error;
  }
  try {
    return decodeObject(disk, file, oid, replayed);
  } catch (error) {
    file.close();
    throw error;
  }
}

function decodeObject(disk: Disk, file: DiskFile, oid: bigint, replayed: Replayed | undefined): StoredObject {
  const size = file.size();
  const blocks = blocksOfFile(size);
  if (blocks === undefined) return new StoredObject(oid, 0, 0, file, new Uint32Array(0));
  const each = slotBytes(blocks);
  const bytes = Buffer.alloc(2 * each);
  readBlocksNow(file, bytes, blocks * BLOCK_SIZE);
  const slots = [bytes.subarray(0, each), bytes.subarray(each)] as const;
  const headers = slots.map((slot) => decodeSlot(slot, oid, blocks));
  const best = newest(headers);
  if (best === undefined) return lostObject(oid, file, blocks, headers[0] ?? headers[1]);
  const header = headers[best]!;
  const { objectBytes, instance, baseCount } = header;
  const other = best === 0 ? 1 : 0;
  const isOlder =
    replayed?.instance === instance
      ? isBeforeMark(header.tailSequence, replayed.tailMark)
      : mayBeOlder(header, headers[other], slots[other]);
  const bases = openBases(disk, { oid, instance }, baseCount);
  const whole = baseCount > 0 ? new ThinFile(file, bases, sourcesOf(slots[best], blocks)) : file;
  const object = new StoredObject(oid, objectBytes, instance, whole, tableOf(slots[best], blocks));
  object.lent = file.links() > 1;
  object.epoch = header.epoch;
  object.tailSequence = header.tailSequence;
  object.durableSlot = best;
  object.lastSlot = best;
  if (isOlder) object.loseHoles();
  return object;
}

/** Both tables are lost: every block is bad. */
function lostObject(
  oid: bigint,
  file: DiskFile,
  blocks: number,
  header: SlotHeader | undefined,
): StoredObject {
  const { objectBytes = blocks * BLOCK_SIZE, instance = 0 } = header ?? {};
  const object = new StoredObject(oid, objectBytes, instance, file, new Uint32Array(blocks).fill(BAD));
  object.lent = file.links() > 1;
  return object;
}

/** An object that has lost its first table, as it began: what came since is in the journal. */
export function beginAgain(disk: Disk, lost: StoredObject, inherits: Inheritance): StoredObject {
  const { oid, objectBytes, instance, file } = lost;
  const bases = openBases(disk, { oid, instance }, inherits.baseCount);
  const thin = new ThinFile(file, bases, inherits.sources.slice());
  const object = new StoredObject(oid, objectBytes, instance, thin, inherits.table.slice());
  object.lent = lost.lent;
  return object;
}

/** The other slot is damaged and may have been the newer one. */
function mayBeOlder(best: SlotHeader, other: SlotHeader | undefined, slot: Buffer): boolean {
  if (other === undefined) return !isBlank(slot);
  return !other.tableOk && other.tailSequence > best.tailSequence;
}

function newest(headers: readonly (SlotHeader | undefined)[]): 0 | 1 | undefined {
  const [first, second] = headers;
  const firstAt = first?.tableOk ? first.tailSequence : -1;
  const secondAt = second?.tableOk ? second.tailSequence : -1;
  if (firstAt < 0 && secondAt < 0) return undefined;
  return firstAt >= secondAt ? 0 : 1;
}

/** What a new object begins with, if not with holes: blocks that lie in its bases, which have been linked. */
export interface Inheritance {
  readonly baseCount: number;
  readonly sources: Uint8Array;
  readonly table: Uint32Array;
}

/**
 * A new object of holes, or of inherited blocks, in a new file at `path` (the object's own path, or one that is renamed
 * to it later). Room for the slots is reserved, so that a checkpoint never meets a full disk. A crash in here leaves a
 * file without a valid slot, which the journal's record makes anew.
 */
export function createObject(
  disk: Disk,
  oid: bigint,
  objectBytes: number,
  instance: number,
  epoch: number,
  path = objectPath(oid),
  inherits?: Inheritance,
): StoredObject {
  const folder = path.slice(0, path.lastIndexOf('/'));
  if (!disk.exists(folder)) disk.mkdir(folder);
  let file = disk.open(path, { create: true, exclusive: true });
  try {
    const blocks = blockCount(objectBytes);
    file.allocate(blocks * BLOCK_SIZE, 2 * slotBytes(blocks));
    if (inherits && inherits.baseCount > 0) {
      const bases = openBases(disk, { oid, instance }, inherits.baseCount);
      file = new ThinFile(file, bases, inherits.sources.slice());
    }
    const table = inherits?.table.slice() ?? new Uint32Array(blocks);
    const object = new StoredObject(oid, objectBytes, instance, file, table);
    object.epoch = epoch;
    object.nameDurable = false;
    object.writeTail();
    return object;
  } catch (error) {
    file.close();
    disk.unlink(path);
    throw error;
  }
}
