import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { SeededRandom } from '../../../src/base/random.js';
import { objectCount, readIndex, usageOf, VolumeIndex } from '../../../src/volume/volume-index.js';
import { createVersion, FakeClient, versionRecord } from './fake-client.js';

const record = versionRecord(2, 1000 * 1024);

async function index(seed = 1): Promise<{ fake: FakeClient; index: VolumeIndex }> {
  const fake = new FakeClient(new SeededRandom(seed));
  await createVersion(fake, record);
  fake.inodeWrites = 0;
  const entries = await readIndex(fake.client, fake.session(), record);
  return { fake, index: new VolumeIndex(fake.client, fake.session(), record, entries) };
}

const stored = (fake: FakeClient): Promise<Uint32Array> => readIndex(fake.client, fake.session(), record);

test('an entry is in memory at once, and in the inode when the promise resolves', async () => {
  const { fake, index: one } = await index();
  const set = one.set(5, 2);
  assert.is(one.entries[5], 2);
  await set;
  assert.is((await stored(fake))[5], 2);
});

test('entries that change while a write is under way leave together in the next', async () => {
  const { fake, index: one } = await index();
  await Promise.all(Array.from({ length: 50 }, (_, i) => one.set(i, 2)));
  assert.ok(fake.inodeWrites <= 3, `${fake.inodeWrites} writes for 50 entries`);
  assert.equal([...(await stored(fake))].slice(0, 51), [...new Array(50).fill(2), 0]);
});

test('entries far from each other are not bridged', async () => {
  const { fake, index: one } = await index();
  await Promise.all([one.set(0, 2), one.set(1, 2), one.set(900, 2)]);
  const now = await stored(fake);
  assert.equal([now[0], now[1], now[2], now[899], now[900]], [2, 2, 0, 0, 2]);
  assert.ok(fake.inodeWrites >= 2);
});

test('a failure reaches those who waited for it, and marks the entry until it is stored after all', async () => {
  const { fake, index: one } = await index();
  fake.fault = () => new AppError('no-space', 'full');
  assert.is(await one.set(3, 2).catch((e) => e.code), 'no-space');
  assert.ok(one.isUnsaved(3));
  fake.fault = () => undefined;
  await one.set(4, 2);
  assert.ok(one.isUnsaved(3));
  await one.set(3, 2);
  assert.not(one.isUnsaved(3));
  assert.is((await stored(fake))[3], 2);
});

test('all that could not be stored is stored later, together', async () => {
  const { fake, index: one } = await index();
  fake.fault = () => new AppError('no-space', 'full');
  await Promise.all([3, 9].map((entry) => one.set(entry, 2).catch(() => {})));
  assert.is(await one.save().catch((e) => e.code), 'no-space');
  fake.fault = () => undefined;
  await one.save();
  assert.equal([one.isUnsaved(3), one.isUnsaved(9)], [false, false]);
  const now = await stored(fake);
  assert.equal([now[3], now[9]], [2, 2]);
});

test('an entry is durable before anything under it is acknowledged', async () => {
  const { fake, index: one } = await index();
  const syncs: boolean[] = [];
  const { change } = fake.client;
  fake.client.change = (session, address, mutation) => {
    syncs.push(mutation.sync);
    return change.call(fake.client, session, address, mutation);
  };
  await Promise.all([one.set(3, 2), one.set(900, 2)]);
  assert.equal(new Set(syncs), new Set([true]));
});

test('a volume that grows keeps its entries', async () => {
  const { index: one } = await index();
  await one.set(999, 2);
  const grown = { ...record, sizeBytes: record.sizeBytes + 1 };
  one.resize(grown);
  assert.equal([one.entries.length, one.entries[999], one.entries[1000]], [1001, 2, 0]);
  assert.is(objectCount(grown), 1001);
});

test('usage counts own and shared objects', () => {
  assert.equal(usageOf(Uint32Array.of(0, 2, 2, 1, 9), 2), { own: 2, shared: 2 });
});

test('random changes end up in the inode as they are in memory', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { fake, index: one } = await index(seed);
    const random = new SeededRandom(seed);
    const waiting: Promise<void>[] = [];
    for (let i = 0; i < 200; i++) {
      waiting.push(one.set(random.below(1000), random.below(4)));
      if (random.chance(0.1)) await Promise.all(waiting.splice(0));
    }
    await Promise.all(waiting);
    assert.equal(await stored(fake), one.entries, `seed ${seed}`);
  }
});

test.run();
