import { crc32 } from '../../base/bytes.js';
import type { Disk, DiskFile } from '../../store/disk.js';

/**
 * The file in which a holder tells that it still lives, rewritten in place at each renewal and never synced: a power
 * cut ends every lease anyway. That the lease exists is the log's business. Numbers are little-endian.
 *
 *   offset  width  field
 *        0      8  magic "SHEEPLSE"
 *        8      4  format version, 1
 *       12      4  length of the holder's identity in bytes, at most MAX_HOLDER_BYTES
 *       16      8  time of the renewal, taken before it was written: microseconds of the monotonic clock
 *       24      8  time to live in microseconds
 *       32         holder's identity, UTF-8
 *                4  CRC-32 of everything before
 */
const MAGIC = 'SHEEPLSE';
const VERSION = 1;
const FIXED_BYTES = 32;
export const MAX_HOLDER_BYTES = 256;

export interface LeaseStamp {
  readonly renewedMs: number;
  readonly ttlMs: number;
  readonly holder: string;
}

export function encodeLeaseStamp(stamp: LeaseStamp): Buffer {
  const holder = Buffer.from(stamp.holder);
  const out = Buffer.alloc(FIXED_BYTES + holder.length + 4);
  out.write(MAGIC, 0, 'latin1');
  out.writeUInt32LE(VERSION, 8);
  out.writeUInt32LE(holder.length, 12);
  out.writeBigUInt64LE(BigInt(Math.floor(stamp.renewedMs * 1000)), 16);
  out.writeBigUInt64LE(BigInt(Math.floor(stamp.ttlMs * 1000)), 24);
  holder.copy(out, FIXED_BYTES);
  out.writeUInt32LE(crc32(out.subarray(0, out.length - 4)), out.length - 4);
  return out;
}

/** Undefined for what is not a whole stamp (also one that is just being written). */
export function decodeLeaseStamp(bytes: Buffer): LeaseStamp | undefined {
  if (bytes.length < FIXED_BYTES + 4 || bytes.toString('latin1', 0, 8) !== MAGIC) return undefined;
  const holderBytes = bytes.readUInt32LE(12);
  const end = FIXED_BYTES + holderBytes;
  if (bytes.readUInt32LE(8) !== VERSION || holderBytes > MAX_HOLDER_BYTES || bytes.length < end + 4) {
    return undefined;
  }
  if (crc32(bytes.subarray(0, end)) !== bytes.readUInt32LE(end)) return undefined;
  return {
    renewedMs: Number(bytes.readBigUInt64LE(16)) / 1000,
    ttlMs: Number(bytes.readBigUInt64LE(24)) / 1000,
    holder: bytes.toString('utf8', FIXED_BYTES, end),
  };
}

export function leaseFolder(folder: string): string {
  return `${folder}/leases`;
}

export function leasePath(folder: string, leaseId: string): string {
  return `${leaseFolder(folder)}/${leaseId}`;
}

/** Undefined when the file is not there or not readable as a stamp. */
export function readLeaseStamp(disk: Disk, path: string): LeaseStamp | undefined {
  let file: DiskFile | undefined;
  try {
    file = disk.open(path);
    const buffer = Buffer.alloc(FIXED_BYTES + MAX_HOLDER_BYTES + 4);
    return decodeLeaseStamp(buffer.subarray(0, file.read(buffer, 0)));
  } catch {
    // A missing or unreadable file tells nothing; the judge then counts from what it saw before.
    return undefined;
  } finally {
    file?.close();
  }
}
