/**
 * The inode object, as QEMU, tgt and the original's tools read and write it (reference, section 5.1):
 *
 *         0   header, 4664 bytes (the table below)
 *      4664   data_vdi_id[2^20] u32: which vid owns the data object of each index; 0 = hole
 *   4198968   gref[2^20] {generation i32, count i32}: reference counts of the original; ours are always zero (D-3)
 *  12587576   end
 */
import { type Layout, layout, type RecordOf } from './layout.js';
import { DATA_OBJECTS_MAX } from './oid.js';

export const INODE_HEADER_BYTES = 4664;
export const INODE_INDEX_OFFSET = INODE_HEADER_BYTES;
export const INODE_INDEX_BYTES = DATA_OBJECTS_MAX * 4;
/** What QEMU and tgt know as the whole inode: header and index. */
export const INODE_CLIENT_BYTES = INODE_INDEX_OFFSET + INODE_INDEX_BYTES;
export const INODE_GREF_OFFSET = INODE_CLIENT_BYTES;
export const INODE_GREF_BYTES = DATA_OBJECTS_MAX * 8;
export const INODE_BYTES = INODE_GREF_OFFSET + INODE_GREF_BYTES;

/** Name, tag and attribute key fields; texts are NUL-terminated, so 255 bytes are usable. */
export const NAME_BYTES = 256;
export const TAG_BYTES = 256;

const headerFields = [
  ['name', 'text', NAME_BYTES],
  ['tag', 'text', TAG_BYTES],
  ['createTime', 'u64'],
  /** Not zero: this is a snapshot, its data is read-only. */
  ['snapTime', 'u64'],
  ['vmClockNsec', 'u64'],
  ['vdiSize', 'u64'],
  ['vmStateSize', 'u64'],
  /** 0 = replication, else high nibble data strips / 2, low nibble parity strips. */
  ['copyPolicy', 'u8'],
  /** 0 = index array, 1 = B-tree. */
  ['storePolicy', 'u8'],
  ['copies', 'u8'],
  ['blockSizeShift', 'u8'],
  ['snapId', 'u32'],
  ['vid', 'u32'],
  ['parentVid', 'u32'],
  ['btreeCounter', 'u32'],
  ['unused', 'pad', 4092],
] as const;

export type InodeHeader = RecordOf<typeof headerFields>;

export const inodeHeader: Layout<InodeHeader> = layout(INODE_HEADER_BYTES, headerFields);

/** Offset of the index entry of a data object inside the inode. */
export function indexEntryOffset(index: number): number {
  return INODE_INDEX_OFFSET + index * 4;
}

/** Times are (seconds << 32) | nanoseconds; from milliseconds since 1970. 0 stays 0. */
export function encodeTime(wallMs: number): bigint {
  const seconds = Math.floor(wallMs / 1000);
  const nanoseconds = Math.floor((wallMs - seconds * 1000) * 1_000_000);
  return (BigInt(seconds) << 32n) | BigInt(nanoseconds);
}

export function decodeTime(time: bigint): number {
  return Number(time >> 32n) * 1000 + Number(time & 0xffffffffn) / 1_000_000;
}
