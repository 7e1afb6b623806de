import { crc32 as zlibCrc32 } from 'node:zlib';

/** The unit of checksums, of holes and of journal images, everywhere. */
export const BLOCK_SIZE = 4096;
export const BLOCK_SHIFT = 12;

/** CRC-32 (zlib's polynomial, hardware-assisted); `seed` continues or salts a checksum. Result is a u32. */
export function crc32(data: Uint8Array, seed = 0): number {
  return zlibCrc32(data, seed);
}

export function alignDown(value: number, unit: number): number {
  return value - (value % unit);
}

export function alignUp(value: number, unit: number): number {
  return alignDown(value + unit - 1, unit);
}

export function isZero(data: Uint8Array): boolean {
  // Comparing the buffer with itself shifted by one byte is a memcmp, far faster than a loop in JavaScript.
  if (data.length === 0) return true;
  if (data[0] !== 0) return false;
  return Buffer.compare(data.subarray(1), data.subarray(0, data.length - 1)) === 0;
}
