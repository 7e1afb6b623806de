import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../src/base/random.js';
import { partsInUse } from '../../../src/volume/volume-index.js';

const ENTRIES = 1 << 20;

test('of an index only what is in use is written', () => {
  const index = new Uint32Array(ENTRIES);
  assert.equal(partsInUse(index), []);
  index.fill(7, 0, 2048);
  assert.equal(partsInUse(index), [{ start: 0, end: 2048 }]);
  index[ENTRIES - 1] = 7;
  assert.equal(partsInUse(index), [
    { start: 0, end: 2048 },
    { start: ENTRIES - 1, end: ENTRIES },
  ]);
});

test('holes between entries that are near each other are written along', () => {
  const index = new Uint32Array(ENTRIES);
  index[100] = 7;
  index[16_000] = 7;
  assert.equal(partsInUse(index), [{ start: 0, end: 16_001 }]);
});

test('whatever is set is in some part, no part is longer than a message, and parts are few', () => {
  const random = new SeededRandom(1);
  for (const density of [0.00001, 0.0001, 0.01, 1]) {
    const index = new Uint32Array(ENTRIES);
    for (let at = 0; at < ENTRIES; at++) if (random.chance(density)) index[at] = at + 1;
    const copy = new Uint32Array(ENTRIES);
    let last = 0;
    for (const { start, end } of partsInUse(index)) {
      assert.ok(start >= last && end > start && end - start <= 1 << 18);
      copy.set(index.subarray(start, end), start);
      last = end;
    }
    assert.ok(Buffer.from(copy.buffer).equals(Buffer.from(index.buffer)), `density ${density}`);
    assert.ok(partsInUse(index).length <= 64);
  }
});

test.run();
