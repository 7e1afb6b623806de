/**
 * CRC-32 of data by blocks. One look at the bytes serves both who checks all of them on arrival and who keeps a
 * checksum for each block: CRC-32 is affine in the value that it begins from, and for bytes of one length the part that
 * depends on that value is one linear map, whatever the bytes are (the same that zlib's crc32_combine computes).
 */
import { BLOCK_SIZE, crc32 } from './bytes.js';

/** The map for one block, by each byte of the value that the sum begins from; made at the first use. */
let tables: readonly Uint32Array[] | undefined;

/** What CRC-32 of a block changes by, whatever its bytes are, when it begins from `start` (u32) instead of 0. */
export function shiftByBlock(start: number): number {
  const [first, second, third, fourth] = (tables ??= makeTables());
  return (
    (first![start & 0xff]! ^
      second![(start >>> 8) & 0xff]! ^
      third![(start >>> 16) & 0xff]! ^
      fourth![start >>> 24]!) >>>
    0
  );
}

/** CRC-32 of each block of the data, whose length is a multiple of BLOCK_SIZE. */
export function blockSums(data: Uint8Array): Uint32Array {
  const sums = new Uint32Array(data.length / BLOCK_SIZE);
  if (sums.length === 1) {
    sums[0] = crc32(data);
    return sums;
  }
  for (let block = 0; block < sums.length; block++) {
    sums[block] = crc32(data.subarray(block * BLOCK_SIZE, (block + 1) * BLOCK_SIZE));
  }
  return sums;
}

/** CRC-32 of the blocks one after the other. */
export function joinSums(sums: Uint32Array): number {
  let joined = 0;
  for (const sum of sums) joined = (shiftByBlock(joined) ^ sum) >>> 0;
  return joined;
}

/** Whether bytes that come to lie at this offset are whole blocks there. */
export function areBlocks(offset: number, length: number): boolean {
  return length > 0 && offset % BLOCK_SIZE === 0 && length % BLOCK_SIZE === 0;
}

function makeTables(): Uint32Array[] {
  const zeros = new Uint8Array(BLOCK_SIZE);
  const none = crc32(zeros, 0);
  const bits = Uint32Array.from({ length: 32 }, (_, bit) => crc32(zeros, (1 << bit) >>> 0) ^ none);
  return Array.from({ length: 4 }, (_, byte) =>
    Uint32Array.from({ length: 256 }, (_, value) => {
      let sum = 0;
      for (let bit = 0; bit < 8; bit++) if (value & (1 << bit)) sum ^= bits[8 * byte + bit]!;
      return sum;
    }),
  );
}
