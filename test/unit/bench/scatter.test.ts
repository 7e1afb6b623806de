import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { randomBlock, scatteredStep } from '../../bench/scatter.js';

const MIB = 2 ** 20;
const BLOCK = 4096;

test('a walk visits every block once before it comes to one again', () => {
  for (const blocks of [1, 2, 3, 16, 1000, 1024, 30_030]) {
    const step = scatteredStep(blocks * BLOCK, BLOCK);
    const seen = new Set(Array.from({ length: blocks }, (_, i) => (i * step) % (blocks * BLOCK)));
    assert.is(seen.size, blocks);
  }
});

test('the first 200 blocks of a volume of 1 GiB lie in nearly as many objects of 4 MiB', () => {
  const step = scatteredStep(1024 * MIB, BLOCK);
  const objects = Array.from({ length: 200 }, (_, i) => Math.floor(((i * step) % (1024 * MIB)) / (4 * MIB)));
  assert.ok(new Set(objects).size > 150);
});

test('no step is too large for qemu-img', () => {
  assert.ok(scatteredStep(2 ** 42, BLOCK) < 2 ** 31);
});

test('a walk begins at a block', () => {
  for (let i = 0; i < 100; i++) {
    const offset = randomBlock(10 * BLOCK, BLOCK);
    assert.ok(offset % BLOCK === 0 && offset >= 0 && offset < 10 * BLOCK);
  }
});

test.run();
