/**
 * Block checksums. Each is CRC-32 of the block, begun from a value that depends on the object and the block's
 * index: a block that lands in another place or another object never verifies there. Two values are reserved.
 */
import { crc32 } from '../base/bytes.js';

/** The block is a hole: it reads as zeros, whatever bytes lie there. */
export const HOLE = 0;
/** The block's checksum was lost: no content verifies. */
export const BAD = 1;

/** The object's part of the salt. */
export function objectSeed(oid: bigint): number {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64LE(oid);
  return crc32(bytes);
}

/** Checksum of one whole block (BLOCK_SIZE bytes); never HOLE nor BAD. */
export function blockChecksum(block: Uint8Array, seed: number, index: number): number {
  // An odd multiplier maps indexes one to one, and CRC-32 maps start values one to one: same bytes at another
  // index always differ.
  const sum = crc32(block, (seed ^ Math.imul(index, 0x9e3779b1)) >>> 0);
  return sum <= BAD ? sum + 2 : sum;
}
