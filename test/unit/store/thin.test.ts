/** Copies on write that inherit: what they cost, and that nothing which happens to the parent reaches them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { baseFolder, basePath } from '../../../src/store/bases.js';
import {
  blockChecksum,
  checksumDifference,
  HOLE,
  moveChecksum,
  objectSeed,
} from '../../../src/store/checksum.js';
import { decodeHeritage, encodeHeritage, type Heritage } from '../../../src/store/inherit.js';
import { objectPath } from '../../../src/store/object-path.js';
import { hasRoomForSources } from '../../../src/store/object-slot.js';
import { MAX_BASES } from '../../../src/store/thin-file.js';
import { deadline, fakeDisk, filled, OBJECT, openFake, put, reads } from './helpers.js';

const BLOCK = 4096;
const parent = 0x1_0000_0001n;
const child = 0x2_0000_0001n;
const grandchild = 0x3_0000_0001n;

async function family() {
  const disk = fakeDisk();
  const store = await openFake(disk);
  await put(store, parent, 0, filled(OBJECT - BLOCK, 7), { mode: 'create' });
  await put(store, child, 2 * BLOCK, filled(BLOCK, 8), { mode: 'cow', parent });
  return { disk, store };
}

/** The child as `family` left it. */
function expected(): Uint8Array {
  const bytes = filled(OBJECT, 7);
  bytes.fill(8, 2 * BLOCK, 3 * BLOCK);
  bytes.fill(0, OBJECT - BLOCK);
  return bytes;
}

test('a copy costs what it changes, and is all there', async () => {
  const { disk, store } = await family();
  const own = disk.open(objectPath(child)).allocatedBytes();
  assert.ok(own <= 4 * BLOCK, `${own} bytes`);
  assert.equal(await reads(store, child, 0, OBJECT), expected());
  assert.equal(
    await reads(store, child, BLOCK + 100, 2 * BLOCK),
    expected().slice(BLOCK + 100, 3 * BLOCK + 100),
  );
  assert.equal(store.blockRuns(child), store.blockRuns(parent));
  assert.equal(await store.verify(child, { fromDevice: true }), []);
  await store.close();
});

test('its checksums are those of its bytes', async () => {
  const { store } = await family();
  const bytes = await reads(store, child, 0, OBJECT);
  const sums = store.checksums(child)!;
  for (let block = 0; block < OBJECT / BLOCK - 1; block++) {
    const image = bytes.subarray(block * BLOCK, (block + 1) * BLOCK);
    assert.is(sums[block], blockChecksum(image, objectSeed(child), block));
  }
  assert.is(sums.at(-1), HOLE);
  await store.close();
});

test('the parent may be written, zeroed, made anew and removed', async () => {
  const { disk, store } = await family();
  const intact = async () => assert.equal(await reads(store, child, 0, OBJECT), expected());
  await put(store, parent, 0, filled(3 * BLOCK, 9));
  await intact();
  assert.equal(
    await reads(store, parent, 0, 4 * BLOCK),
    Uint8Array.from([...filled(3 * BLOCK, 9), ...filled(BLOCK, 7)]),
  );
  await store.zero({
    oid: parent,
    objectBytes: OBJECT,
    mode: 'update',
    epoch: 1,
    offset: 0,
    length: OBJECT,
    sync: true,
    allocate: false,
  });
  await intact();
  await put(store, parent, 0, filled(BLOCK, 10), { mode: 'create' });
  await intact();
  await store.remove(parent, 1, true);
  await intact();
  await deadline(store.close());
  const again = await openFake(disk);
  assert.equal(await reads(again, child, 0, OBJECT), expected());
  await again.remove(child, 2, true);
  await again.checkpoint();
  assert.equal(disk.list(baseFolder(child)), []);
  assert.is(again.stats().usedBytes, 0);
  await again.close();
});

test('a change of a parent with a bad block leaves that bad, and nothing else', async () => {
  const { disk, store } = await family();
  await store.checkpoint();
  disk.flipBit(objectPath(parent), 5 * BLOCK + 1);
  await put(store, parent, 0, filled(BLOCK, 9));
  assert.equal(await store.verify(parent), [5]);
  assert.equal(await store.verify(child), [5]);
  await put(store, parent, 5 * BLOCK, filled(BLOCK, 7));
  assert.equal(await store.verify(parent), []);
  await put(store, child, 5 * BLOCK, filled(BLOCK, 7));
  assert.equal(await reads(store, child, 0, OBJECT), expected());
  await store.close();
});

test('a copy of a copy inherits from both, and outlives them', async () => {
  const { disk, store } = await family();
  await put(store, grandchild, 3 * BLOCK + 10, filled(20, 9), { mode: 'cow', parent: child });
  const bytes = expected().fill(9, 3 * BLOCK + 10, 3 * BLOCK + 30);
  await store.remove(parent, 1, false);
  await store.remove(child, 1, false);
  assert.equal(await reads(store, grandchild, 0, OBJECT), bytes);
  await deadline(store.close());
  const again = await openFake(disk);
  assert.equal(await reads(again, grandchild, 0, OBJECT), bytes);
  assert.is(disk.list(baseFolder(grandchild)).length, 2);
  await again.close();
});

test('a long chain is copied whole now and then', async () => {
  const { disk, store } = await family();
  const bytes = expected();
  let from = child;
  for (let n = 1; n <= 2 * MAX_BASES + 5; n++) {
    const to = BigInt(0x10 + n) * 0x1_0000_0000n + 1n;
    const at = (4 + (n % 40)) * BLOCK;
    await put(store, to, at, filled(BLOCK, 100 + n), { mode: 'cow', parent: from });
    bytes.fill(100 + n, at, at + BLOCK);
    assert.ok(disk.list(baseFolder(to)).length <= MAX_BASES);
    await store.remove(from, 1, false);
    from = to;
  }
  assert.equal(await reads(store, from, 0, OBJECT), bytes);
  await store.close();
});

test('a table that was torn by the crash is made again', async () => {
  const { disk, store } = await family();
  await put(store, child, 20 * BLOCK, filled(16 * BLOCK, 9), { sync: true });
  disk.flipBit(objectPath(child), OBJECT + 64 + 4 * 30);
  disk.crash({ powerCut: false });
  await store.close().catch(() => {});
  const again = await openFake(disk);
  assert.equal(await reads(again, child, 0, OBJECT), expected().fill(9, 20 * BLOCK, 36 * BLOCK));
  assert.equal(await again.verify(child, { fromDevice: true }), []);
  await again.close();
});

test('names of bases without an heir go after a crash, others stay', async () => {
  const { disk, store } = await family();
  await store.checkpoint();
  disk.mkdir(baseFolder(grandchild));
  disk.link(objectPath(parent), basePath({ oid: grandchild, instance: 5 }, 1));
  disk.crash({ powerCut: false });
  const again = await openFake(disk);
  await deadline(again.tidy());
  assert.equal(disk.list(baseFolder(grandchild)), []);
  assert.is(disk.list(baseFolder(child)).length, 1);
  assert.equal(await reads(again, child, 0, OBJECT), expected());
  await again.close();
});

test('room of a parent that is gone comes back, but for what is inherited', async () => {
  const { disk, store } = await family();
  const base = basePath({ oid: child, instance: 0x1_0000_0002 }, 1);
  await put(store, child, 10 * BLOCK, filled(20 * BLOCK, 9));
  await store.context.trimmer.run();
  const whole = disk.open(base).allocatedBytes();
  await store.remove(parent, 1, true);
  await store.context.trimmer.run();
  assert.is(disk.open(base).allocatedBytes(), whole, 'the tables still know of all blocks');
  await store.checkpoint();
  await store.context.trimmer.run();
  assert.is(disk.open(base).allocatedBytes(), whole - 21 * BLOCK);
  const bytes = expected().fill(9, 10 * BLOCK, 30 * BLOCK);
  assert.equal(await reads(store, child, 0, OBJECT), bytes);
  assert.equal(await store.verify(child, { fromDevice: true }), []);
  for (const at of [0, OBJECT / 2]) await put(store, child, at, filled(OBJECT / 2, 3));
  await store.checkpoint();
  await store.context.trimmer.run();
  assert.not(disk.exists(base));
  await deadline(store.close());
  const again = await openFake(disk);
  assert.equal(await reads(again, child, 0, OBJECT), filled(OBJECT, 3));
  await again.close();
});

test('a checksum moves to another object without its block', () => {
  const [from, to] = [objectSeed(parent), objectSeed(child)];
  const difference = checksumDifference(from, to);
  for (let block = 0; block < 200; block++) {
    const image = filled(BLOCK, block * 7);
    image[block] = 99;
    const sum = blockChecksum(image, from, block);
    assert.is(moveChecksum(sum, difference), blockChecksum(image, to, block));
  }
  // Whether there was a 0 or a 2 cannot be told.
  assert.is(moveChecksum(2, difference), undefined);
  assert.is(moveChecksum(HOLE, difference), HOLE);
});

test('a record of heritage comes back the same; one that does not fit is none', () => {
  const heritage: Heritage = {
    parent: { oid: 0x80ab_cdef_0000_0012n, instance: 5 * 0x1_0000_0000 + 7 },
    origins: [0, 3],
    baseCount: 2,
    sources: Uint8Array.from({ length: 11 }, (_, i) => i % 3),
    table: Uint32Array.from({ length: 11 }, (_, i) => i * 1000),
  };
  const words = encodeHeritage(heritage);
  assert.equal(decodeHeritage(words, 11), heritage);
  assert.is(decodeHeritage(words, 12), undefined);
  assert.is(decodeHeritage(words.subarray(1), 11), undefined);
  assert.is(decodeHeritage(new Uint32Array(0), 11), undefined);
});

test('objects of 4, 8 and 16 MiB can be thin', () => {
  for (const mib of [4, 8, 16]) assert.ok(hasRoomForSources((mib << 20) / BLOCK));
});

test.run();
