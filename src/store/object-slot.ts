/**
 * What is in an object's file:
 *
 *     [objectBytes of plain data, padded to whole blocks][slot 0][slot 1]      a sparse file
 *
 * A slot is a header, then the checksum of each block (u32), padded to whole blocks. Slots are written in turn,
 * never the one that is known to be on the platter, so a torn slot leaves the other; the valid one with the higher
 * tail sequence counts. The file's size alone says where the slots are.
 *
 *     slot header, 64 bytes, little endian
 *      0 u32 magic "SFOB"      8 u64 oid            32 u64 tail sequence     48 u32 CRC of the table and sources
 *      4 u16 format version   16 u64 object bytes   40 u32 last epoch        52 u64 zero
 *      6 u16 zero             24 u64 instance       44 u32 bases             60 u32 CRC of bytes 0..59
 *
 * An object with bases is thin: behind its checksums comes half a byte per block, even blocks in the low half, which
 * tells what file the block lies in (thin-file.ts). Where the padding has no room for that, objects are never thin.
 */
import { alignUp, BLOCK_SIZE, crc32, isZero } from '../base/bytes.js';
import { MAX_BASES } from './thin-file.js';
import { readU64, writeU64 } from './u64.js';

export const OBJECT_MAGIC = 0x424f4653;
export const OBJECT_VERSION = 1;
export const SLOT_HEADER_BYTES = 64;

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

/** Bytes of a thin object's sources, behind the checksums. */
function sourcesBytes(blocks: number): number {
  return Math.ceil(blocks / 2);
}

/** Whether an object of so many blocks can be thin. */
export function hasRoomForSources(blocks: number): boolean {
  return SLOT_HEADER_BYTES + 4 * blocks + sourcesBytes(blocks) <= slotBytes(blocks);
}

/** What a slot says of an object. */
export interface SlotContent {
  readonly oid: bigint;
  readonly objectBytes: number;
  readonly instance: number;
  readonly tailSequence: number;
  readonly epoch: number;
  readonly table: Uint32Array;
  /** Of a thin object: per block the file it lies in; and how many bases there are. */
  readonly thin: { readonly sources: Uint8Array; readonly baseCount: number } | undefined;
}

export function encodeSlot({
  oid,
  objectBytes,
  instance,
  tailSequence,
  epoch,
  table,
  thin,
}: SlotContent): Buffer {
  const slot = Buffer.alloc(slotBytes(table.length));
  slot.writeUInt32LE(OBJECT_MAGIC, 0);
  slot.writeUInt16LE(OBJECT_VERSION, 4);
  slot.writeBigUInt64LE(oid, 8);
  writeU64(slot, objectBytes, 16);
  writeU64(slot, instance, 24);
  writeU64(slot, tailSequence, 32);
  slot.writeUInt32LE(epoch, 40);
  slot.writeUInt32LE(thin?.baseCount ?? 0, 44);
  slot.set(Buffer.from(table.buffer, table.byteOffset, table.byteLength), SLOT_HEADER_BYTES);
  if (thin) packSources(thin.sources, slot.subarray(SLOT_HEADER_BYTES + 4 * table.length));
  slot.writeUInt32LE(crc32(summed(slot, table.length, thin !== undefined)), 48);
  slot.writeUInt32LE(crc32(slot.subarray(0, 60)), 60);
  return slot;
}

function summed(slot: Buffer, blocks: number, isThin: boolean): Buffer {
  const bytes = 4 * blocks + (isThin ? sourcesBytes(blocks) : 0);
  return slot.subarray(SLOT_HEADER_BYTES, SLOT_HEADER_BYTES + bytes);
}

/** Two to a byte, the even one in the low half. */
export function packSources(sources: Uint8Array, out: Uint8Array): void {
  for (let block = 0; block < sources.length; block++) {
    out[block >> 1] = block % 2 === 0 ? sources[block]! : out[block >> 1]! | (sources[block]! << 4);
  }
}

export function unpackSources(packed: Uint8Array, blocks: number): Uint8Array {
  return Uint8Array.from(
    { length: blocks },
    (_, block) => (packed[block >> 1]! >> (block % 2 === 0 ? 0 : 4)) & 15,
  );
}

export interface SlotHeader {
  readonly objectBytes: number;
  readonly instance: number;
  readonly tailSequence: number;
  readonly epoch: number;
  readonly baseCount: number;
  /** The checksums, and the sources, are intact. */
  readonly tableOk: boolean;
}

/** The header when it is intact and of this object; undefined otherwise. */
export function decodeSlot(slot: Buffer, oid: bigint, blocks: number): SlotHeader | undefined {
  if (slot.length < SLOT_HEADER_BYTES + 4 * blocks) return undefined;
  if (slot.readUInt32LE(0) !== OBJECT_MAGIC || slot.readUInt16LE(4) !== OBJECT_VERSION) return undefined;
  if (slot.readUInt32LE(60) !== crc32(slot.subarray(0, 60))) return undefined;
  const objectBytes = readU64(slot, 16);
  if (slot.readBigUInt64LE(8) !== oid || blockCount(objectBytes) !== blocks) return undefined;
  const baseCount = slot.readUInt32LE(44);
  if (baseCount > 0 && (baseCount > MAX_BASES || !hasRoomForSources(blocks))) return undefined;
  return {
    objectBytes,
    instance: readU64(slot, 24),
    tailSequence: readU64(slot, 32),
    epoch: slot.readUInt32LE(40),
    baseCount,
    tableOk: slot.readUInt32LE(48) === crc32(summed(slot, blocks, baseCount > 0)),
  };
}

/** The checksums in a slot whose header is intact. */
export function tableOf(slot: Buffer, blocks: number): Uint32Array {
  const table = new Uint32Array(blocks);
  Buffer.from(table.buffer).set(slot.subarray(SLOT_HEADER_BYTES, SLOT_HEADER_BYTES + 4 * blocks));
  return table;
}

/** The sources in the slot of a thin object. */
export function sourcesOf(slot: Buffer, blocks: number): Uint8Array {
  return unpackSources(slot.subarray(SLOT_HEADER_BYTES + 4 * blocks), blocks);
}

/** Never written: an object has one slot until its second checkpoint. */
export function isBlank(slot: Buffer): boolean {
  return isZero(slot.subarray(0, SLOT_HEADER_BYTES));
}
