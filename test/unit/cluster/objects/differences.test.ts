import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BLOCK_SIZE } from '../../../../src/base/bytes.js';
import { SeededRandom } from '../../../../src/base/random.js';
import { differences, without } from '../../../../src/cluster/objects/differences.js';

type Table = Uint32Array | undefined;

/** Does what the list says on a table, block by block, with the wanted table as the source of data. */
function apply(want: Table, has: Table, objectBytes: number): Table {
  let table = has === undefined ? undefined : [...has];
  const blocks = Math.ceil(objectBytes / BLOCK_SIZE);
  for (const { kind, offset, length } of differences(want, has, objectBytes)) {
    assert.ok(offset >= 0 && offset + length <= objectBytes, 'a difference lies inside the object');
    if (kind === 'remove') table = undefined;
    else if (kind === 'create') table = new Array<number>(blocks).fill(0);
    else {
      assert.ok(table, 'nothing is written before the object is there');
      assert.is(offset % BLOCK_SIZE, 0);
      assert.ok(length > 0 && length <= (kind === 'data' ? 1024 * 1024 : objectBytes));
      for (let b = offset / BLOCK_SIZE; b < Math.ceil((offset + length) / BLOCK_SIZE); b++) {
        table[b] = kind === 'hole' ? 0 : want![b]!;
        if (kind === 'data') assert.is.not(want![b], 0, 'a hole is not sent as data');
      }
    }
  }
  return table === undefined ? undefined : Uint32Array.from(table);
}

test('equal objects differ in nothing, and so do two that are not there', () => {
  assert.equal(differences(Uint32Array.of(1, 0, 3), Uint32Array.of(1, 0, 3), 3 * BLOCK_SIZE), []);
  assert.equal(differences(undefined, undefined, BLOCK_SIZE), []);
});

test('an object that must not exist is removed', () => {
  assert.equal(differences(undefined, Uint32Array.of(1), BLOCK_SIZE), [
    { kind: 'remove', offset: 0, length: 0 },
  ]);
});

test('an object of holes only is made all the same', () => {
  const size = 2 * BLOCK_SIZE;
  assert.equal(differences(Uint32Array.of(0, 0), undefined, size), [
    { kind: 'create', offset: 0, length: size },
  ]);
});

test('neighbours move together, equal blocks stay, and the last block may be short', () => {
  const size = 5 * BLOCK_SIZE + 100;
  assert.equal(differences(Uint32Array.of(1, 2, 3, 0, 0, 6), Uint32Array.of(9, 9, 3, 4, 5, 9), size), [
    { kind: 'data', offset: 0, length: 2 * BLOCK_SIZE },
    { kind: 'hole', offset: 3 * BLOCK_SIZE, length: 2 * BLOCK_SIZE },
    { kind: 'data', offset: 5 * BLOCK_SIZE, length: 100 },
  ]);
});

test('data is cut into messages, holes are not', () => {
  const blocks = 1024;
  const data = differences(new Uint32Array(blocks).fill(7), new Uint32Array(blocks), blocks * BLOCK_SIZE);
  assert.equal(
    data.map((d) => d.length),
    [1, 1, 1, 1].map((n) => n * 1024 * 1024),
  );
  assert.is(
    differences(new Uint32Array(blocks), new Uint32Array(blocks).fill(7), blocks * BLOCK_SIZE).length,
    1,
  );
});

test('an object cut short is made anew', () => {
  assert.equal(
    differences(Uint32Array.of(1, 0), new Uint32Array(0), 2 * BLOCK_SIZE).map(({ kind }) => kind),
    ['create', 'data'],
  );
});

test('blocks taken out of a run leave the parts between them', () => {
  const run = { offset: 2 * BLOCK_SIZE, length: 3 * BLOCK_SIZE + 100 };
  const parts = (...blocks: number[]) =>
    without(run, blocks).map(({ offset, length }) => [offset / BLOCK_SIZE, length]);
  assert.equal(parts(), [[2, 3 * BLOCK_SIZE + 100]]);
  assert.equal(parts(3), [
    [2, BLOCK_SIZE],
    [4, BLOCK_SIZE + 100],
  ]);
  assert.equal(parts(5, 2), [[3, 2 * BLOCK_SIZE]]);
  assert.equal(parts(2, 3, 4, 5), []);
  assert.equal(parts(0, 9), [[2, 3 * BLOCK_SIZE + 100]]);
});

test('applying the differences of random tables gives the wanted one', () => {
  const random = new SeededRandom(11);
  const randomTable = (blocks: number, like?: Table): Table => {
    if (random.chance(0.1)) return undefined;
    return Uint32Array.from({ length: blocks }, (_, b) => {
      if (like !== undefined && random.chance(0.6)) return like[b]!;
      return random.chance(0.3) ? 0 : 1 + random.below(3);
    });
  };
  for (let i = 0; i < 1000; i++) {
    const blocks = 1 + random.below(random.chance(0.1) ? 700 : 12);
    const objectBytes = blocks * BLOCK_SIZE - (random.chance(0.5) ? random.below(BLOCK_SIZE) : 0);
    const has = randomTable(blocks);
    const want = randomTable(blocks, has);
    assert.equal(apply(want, has, objectBytes), want);
  }
});

test.run();
