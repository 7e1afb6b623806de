import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { areBlocks, blockSums, joinSums, shiftByBlock } from '../../../src/base/block-sums.js';
import { BLOCK_SIZE, crc32 } from '../../../src/base/bytes.js';
import { SeededRandom } from '../../../src/base/random.js';
import { BAD, blockChecksum, checksumFrom, HOLE } from '../../../src/store/checksum.js';

const random = new SeededRandom(11);

test('the sums of blocks make the sum of all', () => {
  for (const count of [1, 2, 3, 16, 256]) {
    const data = random.bytes(count * BLOCK_SIZE);
    const sums = blockSums(data);
    assert.is(sums.length, count);
    sums.forEach((sum, block) => {
      assert.is(sum, crc32(data.subarray(block * BLOCK_SIZE, (block + 1) * BLOCK_SIZE)));
    });
    assert.is(joinSums(sums), crc32(data));
  }
  assert.is(joinSums(new Uint32Array(0)), 0);
});

test('the same for views that begin anywhere in their memory', () => {
  const memory = random.bytes(5 * BLOCK_SIZE);
  for (const from of [1, 80, 4095]) {
    const data = memory.subarray(from, from + 3 * BLOCK_SIZE);
    assert.is(joinSums(blockSums(data)), crc32(data));
  }
});

test('another start value changes the sum of a block as said, whatever the block is', () => {
  for (let round = 0; round < 300; round++) {
    const block = random.bytes(BLOCK_SIZE);
    const start = (random.below(0x1_0000) * 0x1_0000 + random.below(0x1_0000)) >>> 0;
    assert.is((crc32(block) ^ shiftByBlock(start)) >>> 0, crc32(block, start));
  }
});

test("a store's checksum of a block follows from its plain sum", () => {
  for (let round = 0; round < 300; round++) {
    const block = random.bytes(BLOCK_SIZE);
    const seed = (random.below(0x1_0000) * 0x1_0000 + random.below(0x1_0000)) >>> 0;
    assert.is(checksumFrom(crc32(block), seed, round), blockChecksum(block, seed, round));
  }
  // Salted to the reserved values: they are never given out.
  for (const reserved of [HOLE, BAD]) {
    const plain = (shiftByBlock(77) ^ reserved) >>> 0;
    assert.is(checksumFrom(plain, 77, 0), reserved + 2);
  }
});

test('blocks are whole and lie where blocks lie', () => {
  assert.ok(areBlocks(2 * BLOCK_SIZE, BLOCK_SIZE));
  for (const [offset, length] of [
    [0, 0],
    [512, BLOCK_SIZE],
    [0, BLOCK_SIZE + 1],
  ] as const) {
    assert.not(areBlocks(offset, length));
  }
});

test.run();
