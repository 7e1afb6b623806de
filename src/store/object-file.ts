/**
 * One object on disk: `obj/<vid, 6 hex digits>/<oid, 16 hex digits>`.
 *
 *     [objectBytes of plain data, padded to whole blocks][slot 0][slot 1]      a sparse file
 *
 * A slot is a header, then the checksum of each block (u32), padded to whole blocks. Slots are written in turn,
 * never the one that is known to be on the platter, so a torn slot leaves the other; the valid one with the higher
 * tail sequence counts. The file's size alone says where the slots are.
 *
 *     slot header, 64 bytes, little endian
 *      0 u32 magic "SFOB"      8 u64 oid            32 u64 tail sequence     48 u32 CRC of the table
 *      4 u16 format version   16 u64 object bytes   40 u32 last epoch        52 u64 zero
 *      6 u16 zero             24 u64 instance       44 u32 flags (zero)      60 u32 CRC of bytes 0..59
 *
 * The instance number tells one life of an object id from the next (removed, created again, copied over): journal
 * records name the instance they belong to.
 */
import { alignUp, BLOCK_SIZE, crc32, isZero } from '../base/bytes.js';
import { BAD, HOLE, objectSeed } from './checksum.js';
import { type Disk, DiskError, type DiskFile } from './disk.js';
import { readBlocksNow } from './salvage.js';
import { isBeforeMark } from './tail-mark.js';
import { readU64, writeU64 } from './u64.js';

export const OBJECT_MAGIC = 0x424f4653;
export const OBJECT_VERSION = 1;
export const SLOT_HEADER_BYTES = 64;

export function objectFolder(oid: bigint): string {
  return `obj/${((oid >> 32n) & 0xffffffn).toString(16).padStart(6, '0')}`;
}

/** Whether it is an object of this version; undefined: of any. */
export function isOf(vid: number | undefined, oid: bigint): boolean {
  return vid === undefined || objectFolder(oid) === objectFolder(BigInt(vid) << 32n);
}

/** The folders of objects: all, or the one of a version, which need not be there. */
export function objectFolders(disk: Disk, vid?: number): string[] {
  if (vid !== undefined) return [objectFolder(BigInt(vid) << 32n)];
  return disk.list('obj').map((name) => `obj/${name}`);
}

export function objectPath(oid: bigint): string {
  return `${objectFolder(oid)}/${oid.toString(16).padStart(16, '0')}`;
}

export function blockCount(objectBytes: number): number {
  return Math.ceil(objectBytes / BLOCK_SIZE);
}

export function slotBytes(blocks: number): number {
  return alignUp(SLOT_HEADER_BYTES + 4 * blocks, BLOCK_SIZE);
}

export function fileBytes(blocks: number): number {
  return blocks * BLOCK_SIZE + 2 * slotBytes(blocks);
}

/** How many blocks the object in a file of this size has; undefined when no object has that size. */
export function blocksOfFile(size: number): number | undefined {
  let blocks = Math.floor(size / (BLOCK_SIZE + 8));
  while (blocks > 0 && fileBytes(blocks) > size) blocks--;
  while (fileBytes(blocks + 1) <= size) blocks++;
  return fileBytes(blocks) === size && blocks > 0 ? blocks : undefined;
}

export class StoredObject {
  readonly seed: number;
  readonly blocks: number;
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

  /** The tail is older than the object: what was a hole then would pass for zeros. Old checksums do not match. */
  loseHoles(): void {
    this.tailLost = true;
    for (let block = 0; block < this.blocks; block++) if (this.table[block] === HOLE) this.table[block] = BAD;
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

function tableBytes(table: Uint32Array): Buffer {
  return Buffer.from(table.buffer, table.byteOffset, table.byteLength);
}

export function encodeSlot(object: StoredObject): Buffer {
  const slot = Buffer.alloc(slotBytes(object.blocks));
  const table = tableBytes(object.table);
  slot.writeUInt32LE(OBJECT_MAGIC, 0);
  slot.writeUInt16LE(OBJECT_VERSION, 4);
  slot.writeBigUInt64LE(object.oid, 8);
  writeU64(slot, object.objectBytes, 16);
  writeU64(slot, object.instance, 24);
  writeU64(slot, object.tailSequence, 32);
  slot.writeUInt32LE(object.epoch, 40);
  slot.writeUInt32LE(crc32(table), 48);
  slot.writeUInt32LE(crc32(slot.subarray(0, 60)), 60);
  slot.set(table, SLOT_HEADER_BYTES);
  return slot;
}

interface SlotHeader {
  readonly objectBytes: number;
  readonly instance: number;
  readonly tailSequence: number;
  readonly epoch: number;
  readonly tableOk: boolean;
}

/** The header when it is intact and of this object; undefined otherwise. */
export function decodeSlot(slot: Buffer, oid: bigint, blocks: number): SlotHeader | undefined {
  if (slot.length < SLOT_HEADER_BYTES + 4 * blocks) return undefined;
  if (slot.readUInt32LE(0) !== OBJECT_MAGIC || slot.readUInt16LE(4) !== OBJECT_VERSION) return undefined;
  if (slot.readUInt32LE(60) !== crc32(slot.subarray(0, 60))) return undefined;
  const objectBytes = readU64(slot, 16);
  if (slot.readBigUInt64LE(8) !== oid || blockCount(objectBytes) !== blocks) return undefined;
  const table = slot.subarray(SLOT_HEADER_BYTES, SLOT_HEADER_BYTES + 4 * blocks);
  return {
    objectBytes,
    instance: readU64(slot, 24),
    tailSequence: readU64(slot, 32),
    epoch: slot.readUInt32LE(40),
    tableOk: slot.readUInt32LE(48) === crc32(table),
  };
}

/** Never written: an object has one slot until its second checkpoint. */
function isBlank(slot: Buffer): boolean {
  return isZero(slot.subarray(0, SLOT_HEADER_BYTES));
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
    return decodeObject(file, oid, replayed);
  } catch (error) {
    file.close();
    throw error;
  }
}

function decodeObject(file: DiskFile, oid: bigint, replayed: Replayed | undefined): StoredObject {
  const size = file.size();
  const blocks = blocksOfFile(size);
  if (blocks === undefined) return new StoredObject(oid, 0, 0, file, new Uint32Array(0));
  const each = slotBytes(blocks);
  const bytes = Buffer.alloc(2 * each);
  readBlocksNow(file, bytes, blocks * BLOCK_SIZE);
  const slots = [bytes.subarray(0, each), bytes.subarray(each)] as const;
  const headers = slots.map((slot) => decodeSlot(slot, oid, blocks));
  const best = newest(headers);
  const any = headers[0] ?? headers[1];
  const table = new Uint32Array(blocks);
  if (best === undefined) {
    table.fill(BAD);
    return new StoredObject(oid, any?.objectBytes ?? blocks * BLOCK_SIZE, any?.instance ?? 0, file, table);
  }
  const header = headers[best]!;
  tableBytes(table).set(slots[best]!.subarray(SLOT_HEADER_BYTES, SLOT_HEADER_BYTES + 4 * blocks));
  const other = best === 0 ? 1 : 0;
  const isOlder =
    replayed?.instance === header.instance
      ? isBeforeMark(header.tailSequence, replayed.tailMark)
      : mayBeOlder(header, headers[other], slots[other]);
  const object = new StoredObject(oid, header.objectBytes, header.instance, file, table);
  object.epoch = header.epoch;
  object.tailSequence = header.tailSequence;
  object.durableSlot = best;
  object.lastSlot = best;
  if (isOlder) object.loseHoles();
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

/**
 * A new object of holes in a new file at `path` (the object's own path, or one that is renamed to it later).
 * Room for the slots is reserved, so that a checkpoint never meets a full disk. A crash in here leaves a file
 * without a valid slot, which the journal's create record makes anew.
 */
export function createObject(
  disk: Disk,
  oid: bigint,
  objectBytes: number,
  instance: number,
  epoch: number,
  path = objectPath(oid),
): StoredObject {
  const folder = path.slice(0, path.lastIndexOf('/'));
  if (!disk.exists(folder)) disk.mkdir(folder);
  const file = disk.open(path, { create: true, exclusive: true });
  try {
    const blocks = blockCount(objectBytes);
    file.allocate(blocks * BLOCK_SIZE, 2 * slotBytes(blocks));
    const object = new StoredObject(oid, objectBytes, instance, file, new Uint32Array(blocks));
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
