/**
 * Block checksums. Each is CRC-32 of the block, begun from a value that depends on the object and the block's
 * index: a block that lands in another place or another object never verifies there. Two values are reserved.
 */
import { BLOCK_SIZE, crc32 } from '../base/bytes.js';

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

/** CRC-32 of a block of zeros begun from each single bit, without what it has begun from zero: a linear map. */
let zeroBlockMap: Uint32Array | undefined;

/** What a checksum changes by when the bits of the start value change by `difference`, whatever the block is. */
function startDifference(difference: number): number {
  if (zeroBlockMap === undefined) {
    const zeros = new Uint8Array(BLOCK_SIZE);
    const none = crc32(zeros, 0);
    zeroBlockMap = Uint32Array.from({ length: 32 }, (_, bit) => crc32(zeros, (1 << bit) >>> 0) ^ none);
  }
  let sum = 0;
  for (let bit = 0; bit < 32; bit++) if (difference & (1 << bit)) sum ^= zeroBlockMap[bit]!;
  return sum >>> 0;
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
  return startDifference((fromSeed ^ toSeed) >>> 0);
}
