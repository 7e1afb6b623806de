/**
 * Block checksums. Each is CRC-32 of the block, begun from a value that depends on the object and the block's
 * index: a block that lands in another place or another object never verifies there. Two values are reserved.
 */
import { shiftByBlock } from '../base/block-sums.js';
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
  const sum = crc32(block, salt(seed, index));
  return sum <= BAD ? sum + 2 : sum;
}

/** The same, of a block whose plain CRC-32 is known, without a look at it. */
export function checksumFrom(plain: number, seed: number, index: number): number {
  const sum = (plain ^ shiftByBlock(salt(seed, index))) >>> 0;
  return sum <= BAD ? sum + 2 : sum;
}

function salt(seed: number, index: number): number {
  // An odd multiplier maps indexes one to one, and CRC-32 maps start values one to one: same bytes at another
  // index always differ.
  return (seed ^ Math.imul(index, 0x9e3779b1)) >>> 0;
}

/**
 * The checksums that the same blocks have in another object, without a look at them: CRC-32 is linear, so that another
 * start value changes all sums of an object in the same bits. Undefined for a block whose sum is one of those that
 * stand for two (see blockChecksum): it has to be read. HOLE and BAD stay.
 */
export function moveChecksum(sum: number, difference: number): number | undefined {
  if (sum <= BAD) return sum;
  if (sum <= BAD + 2) return undefined;
  const moved = (sum ^ difference) >>> 0;
  return moved <= BAD ? moved + 2 : moved;
}

/** The difference for `moveChecksum`, of two objects' salts. */
export function checksumDifference(fromSeed: number, toSeed: number): number {
  return shiftByBlock((fromSeed ^ toSeed) >>> 0);
}
