import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { blockSums } from '../../../src/base/block-sums.js';
import { AppError } from '../../../src/base/errors.js';
import { objectPath } from '../../../src/store/object-path.js';
import type { BadBlocksError } from '../../../src/store/object-store.js';
import { vidOf } from '../../../src/wire/oid.js';
import { deadline, fakeDisk, filled, KIB, OBJECT, openFake, put, reads } from './helpers.js';

const oid = 0x0000_00ab_0000_0001n;

test('what was written is read back, at any alignment', async () => {
  const store = await openFake(fakeDisk());
  await put(store, oid, 0, filled(OBJECT, 1), { mode: 'create' });
  await put(store, oid, 1000, filled(10_000, 2));
  const bytes = await reads(store, oid, 0, OBJECT);
  assert.equal(bytes.subarray(0, 1000), filled(1000, 1));
  assert.equal(bytes.subarray(1000, 11_000), filled(10_000, 2));
  assert.is(bytes[11_000], 1);
  assert.equal(await reads(store, oid, 999, 3), Uint8Array.of(1, 2, 2));
  await store.close();
});

test('blocks that come with their sums are kept under them, in a copy and after a restart as well', async () => {
  const disk = fakeDisk();
  const store = await openFake(disk);
  const child = oid + 1n;
  for (const [offset, length] of [
    [0, OBJECT],
    [8192, 4096],
    [16_384, 96 * KIB],
  ] as const) {
    const data = filled(length, offset / 4096 + 5);
    await store.write({ ...base(), mode: 'ensure', offset, data, dataSums: blockSums(data) });
  }
  const data = filled(12_288, 99);
  await store.write({
    ...base(),
    oid: child,
    mode: 'cow',
    parent: oid,
    offset: 0,
    data,
    dataSums: blockSums(data),
  });
  const [whole, copy] = [await reads(store, oid, 0, OBJECT), await reads(store, child, 0, OBJECT)];
  assert.is(whole[8192], 7);
  assert.is(copy[0], 99);
  assert.equal(copy.subarray(12_288), whole.subarray(12_288));
  await store.close();
  const again = await openFake(disk);
  assert.equal([await again.verify(oid), await again.verify(child)], [[], []]);
  assert.equal(await reads(again, oid, 0, OBJECT), whole);
  await again.close();
});

test('bytes that are not those of the sums they came with are noticed when they are read', async () => {
  const store = await openFake(fakeDisk());
  const data = filled(8192, 1);
  const dataSums = blockSums(data);
  data[5000]! ^= 1;
  await store.write({ ...base(), mode: 'ensure', offset: 0, data, dataSums });
  assert.equal(await store.verify(oid), [1]);
  await rejects(reads(store, oid, 0, 8192), 'checksum');
  await store.close();
});

test('sums of another number of blocks are a bug, and nothing is written', async () => {
  const store = await openFake(fakeDisk());
  const dataSums = blockSums(filled(8192, 1));
  for (const [offset, length] of [
    [0, 4096],
    [512, 8192],
    [0, 8000],
  ] as const) {
    const write = () => store.write({ ...base(), mode: 'ensure', offset, data: filled(length, 1), dataSums });
    let said = '';
    await write().catch((error: Error) => {
      said = error.message;
    });
    assert.match(said, /a sum for each block/);
  }
  assert.not(store.has(oid));
  await store.close();
});

test('an update of a missing object is refused, an ensure creates it with holes', async () => {
  const store = await openFake(fakeDisk());
  await rejects(put(store, oid, 0, filled(4096, 1)), 'no-object');
  await put(store, oid, 8192, filled(4096, 1), { mode: 'ensure' });
  assert.equal(store.blockRuns(oid), [
    { lengthBytes: 8192, hole: true },
    { lengthBytes: 4096, hole: false },
    { lengthBytes: OBJECT - 12_288, hole: true },
  ]);
  assert.equal(await reads(store, oid, 0, 4096), new Uint8Array(4096));
  await store.close();
});

test('an object whose size is no multiple of a block is whole', async () => {
  const store = await openFake(fakeDisk());
  const objectBytes = 3 * 4096 + 100;
  await put(store, oid, 0, filled(objectBytes, 7), { mode: 'create', objectBytes });
  assert.equal(await reads(store, oid, 0, objectBytes), filled(objectBytes, 7));
  await put(store, oid, objectBytes - 10, filled(10, 8), { objectBytes });
  assert.is((await reads(store, oid, objectBytes - 1, 1))[0], 8);
  assert.equal(await store.verify(oid), []);
  await store.zero({ ...base(objectBytes), offset: 4096, length: objectBytes - 4096, allocate: false });
  assert.equal(store.blockRuns(oid), [
    { lengthBytes: 4096, hole: false },
    { lengthBytes: objectBytes - 4096, hole: true },
  ]);
  await store.close();
});

test('a discard frees whole blocks and zeroes parts of blocks', async () => {
  const disk = fakeDisk();
  const store = await openFake(disk);
  await put(store, oid, 0, filled(64 * KIB, 3), { mode: 'create' });
  const before = disk.open(objectPath(oid)).allocatedBytes();
  await store.zero({ ...base(), offset: 100, length: 10 * 4096, allocate: false });
  assert.is(before - disk.open(objectPath(oid)).allocatedBytes(), 9 * 4096);
  const bytes = await reads(store, oid, 0, 64 * KIB);
  assert.equal(bytes.subarray(0, 100), filled(100, 3));
  assert.equal(bytes.subarray(100, 100 + 40_960), new Uint8Array(40_960));
  assert.is(bytes[100 + 40_960], 3);
  await store.close();
});

test('zeroes that must stay allocated are data', async () => {
  const store = await openFake(fakeDisk());
  await put(store, oid, 0, filled(8192, 3), { mode: 'create' });
  await store.zero({ ...base(), offset: 4096, length: 8192, allocate: true });
  assert.equal(store.blockRuns(oid), [
    { lengthBytes: 12_288, hole: false },
    { lengthBytes: OBJECT - 12_288, hole: true },
  ]);
  assert.equal(await reads(store, oid, 4096, 8192), new Uint8Array(8192));
  await store.close();
});

test('a copy on write has the parent bytes under the write, and the parent stays', async () => {
  const store = await openFake(fakeDisk());
  await put(store, oid, 0, filled(64 * KIB, 1), { mode: 'create' });
  const child = oid + 1n;
  await put(store, child, 4000, filled(200, 2), { mode: 'cow', parent: oid });
  const bytes = await reads(store, child, 0, 64 * KIB);
  assert.equal(bytes.subarray(0, 4000), filled(4000, 1));
  assert.equal(bytes.subarray(4000, 4200), filled(200, 2));
  assert.equal(bytes.subarray(4200), filled(64 * KIB - 4200, 1));
  assert.equal(await reads(store, oid, 0, 64 * KIB), filled(64 * KIB, 1));
  await rejects(put(store, 99n, 0, filled(4096, 1), { mode: 'cow', parent: 98n }), 'no-object');
  await store.close();
});

test('a removed object is gone, and removing it again is fine', async () => {
  const store = await openFake(fakeDisk());
  await put(store, oid, 0, filled(4096, 1), { mode: 'create' });
  await store.remove(oid, 5, true);
  await store.remove(oid, 6, false);
  assert.not(store.has(oid));
  assert.equal(await store.touchedSince(6), [oid]);
  await store.close();
});

test('writes of one turn are applied in the order of the calls', async () => {
  const store = await openFake(fakeDisk());
  const all = [put(store, oid, 0, filled(4096, 0), { mode: 'create' })];
  for (let value = 1; value <= 20; value++) all.push(put(store, oid, value * 100, filled(4096, value)));
  all.push(store.remove(oid, 1, false), put(store, oid, 0, filled(4096, 99), { mode: 'ensure' }));
  await deadline(Promise.all(all));
  const bytes = await reads(store, oid, 0, 8192);
  assert.equal(bytes, new Uint8Array([...filled(4096, 99), ...new Uint8Array(4096)]));
  await store.close();
});

test('a flipped bit is found, named, and healed by a whole-block write', async () => {
  const disk = fakeDisk();
  const store = await openFake(disk);
  await put(store, oid, 0, filled(16_384, 1), { mode: 'create' });
  disk.flipBit(objectPath(oid), 5000);
  const error = await rejects(reads(store, oid, 0, 16_384), 'checksum');
  assert.equal((error.cause as BadBlocksError).blocks, [1]);
  assert.equal(await store.verify(oid), [1]);
  await rejects(put(store, oid, 4200, filled(10, 2)), 'checksum');
  await put(store, oid, 4096, filled(4096, 1));
  assert.equal(await reads(store, oid, 0, 16_384), filled(16_384, 1));
  assert.ok(store.stats().checksumErrors > 0);
  await store.close();
});

test('reads that are not in memory come through a promise, verified too', async () => {
  const disk = fakeDisk({ coldPerMille: 1000 });
  const store = await openFake(disk);
  await put(store, oid, 0, filled(16_384, 1), { mode: 'create' });
  const reading = store.read(oid, 100, 8000);
  assert.instance(reading, Promise);
  // A write that overtakes the read is either seen or not, but never takes it for damage.
  await put(store, oid, 0, filled(16_384, 2));
  const bytes = await deadline(Promise.resolve(reading));
  assert.is(bytes.length, 8000);
  disk.flipBit(objectPath(oid), 5000);
  await rejects(reads(store, oid, 0, 16_384), 'checksum');
  await store.close();
});

test('adopted blocks verify as they are', async () => {
  const disk = fakeDisk();
  const store = await openFake(disk);
  await put(store, oid, 0, filled(16_384, 1), { mode: 'create' });
  disk.flipBit(objectPath(oid), 5000);
  await store.adopt(oid, [1]);
  assert.equal(await store.verify(oid), []);
  assert.is((await reads(store, oid, 5000, 1))[0], 0);
  await store.close();
});

test('a closed store opens clean, with everything in it', async () => {
  const disk = fakeDisk();
  let store = await openFake(disk);
  await put(store, oid, 0, filled(100 * KIB, 4), { mode: 'create', epoch: 3 });
  await store.close();
  store = await openFake(disk, { bootId: 'next' });
  assert.is(store.lossy, false);
  assert.is(store.suspects().size, 0);
  assert.equal(await reads(store, oid, 0, 100 * KIB), filled(100 * KIB, 4));
  assert.equal(await store.touchedSince(0), [oid]);
  const found: bigint[] = [];
  for await (const each of store.objects()) found.push(each);
  assert.equal(found, [oid]);
  for (const vid of [vidOf(oid), vidOf(oid) + 1]) {
    const ofVersion: bigint[] = [];
    for await (const each of store.objects(vid)) ofVersion.push(each);
    assert.equal(ofVersion, vid === vidOf(oid) ? [oid] : []);
  }
  await store.close();
});

test('more data than both segments hold goes through', async () => {
  const store = await openFake(fakeDisk());
  await put(store, oid, 0, filled(4096, 0), { mode: 'create' });
  const all: Promise<void>[] = [];
  for (let index = 0; index < 1000; index++) {
    all.push(
      put(store, oid + BigInt(index % 7), (index % 64) * 4096, filled(4096, index), { mode: 'ensure' }),
    );
  }
  await deadline(Promise.all(all));
  assert.is((await reads(store, oid + BigInt(999 % 7), (999 % 64) * 4096, 1))[0], 999 & 255);
  await store.close();
});

function base(objectBytes = OBJECT) {
  return { oid, objectBytes, mode: 'update' as const, epoch: 1, sync: false };
}

async function rejects(promise: Promise<unknown>, code: string): Promise<AppError> {
  try {
    await deadline(promise);
  } catch (error) {
    assert.instance(error, AppError);
    assert.is((error as AppError).code, code);
    return error as AppError;
  }
  throw new Error(`expected ${code}`);
}

test.run();
