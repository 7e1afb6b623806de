/** What a disk can do to objects behind the store's back: unreadable sectors, damaged tables, lost contents. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { type Disk, DiskError, type DiskFile } from '../../../src/store/disk.js';
import { objectPath } from '../../../src/store/object-path.js';
import { slotBytes } from '../../../src/store/object-slot.js';
import { BadBlocksError } from '../../../src/store/object-store.js';
import type { Store } from '../../../src/store/store.js';
import { encodeSuspects, readSuspects, SUSPECTS_PATH } from '../../../src/store/suspects.js';
import type { FakeDisk } from '../../helpers/fake-disk.js';
import { deadline, fakeDisk, filled, KIB, OBJECT, openFake, put, reads } from './helpers.js';

const BLOCK = 4 * KIB;
const oid = 0x00aa_0000_0000_0001n;
const parent = 0x00aa_0000_0000_0002n;

/** A disk some blocks of which cannot be read until they are written. */
function withBadSectors(disk: FakeDisk): { disk: Disk; bad: Set<string> } {
  const bad = new Set<string>();
  const wrap = (file: DiskFile): DiskFile => {
    const check = (length: number, offset: number) => {
      for (let at = offset; at < offset + length; at += BLOCK) {
        if (bad.has(`${file.path}:${at / BLOCK}`)) throw new DiskError('io', `${file.path}: sector`);
      }
    };
    return new Proxy(file, {
      get(target, name: keyof DiskFile) {
        if (name === 'write') {
          return (buffers: readonly Uint8Array[], offset: number) => {
            const length = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
            for (let at = offset; at < offset + length; at += BLOCK) bad.delete(`${file.path}:${at / BLOCK}`);
            target.write(buffers, offset);
          };
        }
        if (name === 'read' || name === 'tryRead') {
          return (buffer: Uint8Array, offset: number) => {
            check(buffer.length, offset);
            return target[name](buffer, offset);
          };
        }
        if (name === 'readAsync') {
          return async (buffer: Uint8Array, offset: number) => {
            check(buffer.length, offset);
            return target.readAsync(buffer, offset);
          };
        }
        const value = target[name];
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  };
  const proxy = new Proxy<Disk>(disk, {
    get(target, name: keyof Disk) {
      if (name === 'open') {
        return (path: string, options?: { create?: boolean; exclusive?: boolean }) =>
          wrap(target.open(path, options));
      }
      const value = target[name];
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
    },
  });
  return { disk: proxy, bad };
}

async function badBlocksOf(work: Promise<unknown> | (() => unknown)): Promise<BadBlocksError> {
  try {
    await deadline(Promise.resolve(typeof work === 'function' ? work() : work));
  } catch (error) {
    assert.ok(AppError.isCode(error, 'checksum'), String(error));
    assert.instance(error.cause, BadBlocksError);
    return error.cause as BadBlocksError;
  }
  throw new Error('nothing was found bad');
}

async function openWithBad() {
  const { disk, bad } = withBadSectors(fakeDisk());
  const store = await openFake(disk as FakeDisk);
  await put(store, oid, 0, filled(16 * BLOCK, 7), { mode: 'create' });
  await store.checkpoint();
  bad.add(`${objectPath(oid)}:3`);
  return { store, bad };
}

test('a block that cannot be read is bad, and its neighbours are not', async () => {
  const { store } = await openWithBad();
  assert.equal((await badBlocksOf(() => store.read(oid, 0, 16 * BLOCK))).blocks, [3]);
  assert.equal(await reads(store, oid, 0, 3 * BLOCK), filled(3 * BLOCK, 7));
  assert.equal(await reads(store, oid, 4 * BLOCK, 12 * BLOCK), filled(12 * BLOCK, 7));
  assert.equal(await store.verify(oid), [3]);
  assert.equal(await store.verify(oid, { fromDevice: true }), [3]);
  await store.close();
});

test('writing it anew makes it right; part of it cannot be written', async () => {
  const { store } = await openWithBad();
  assert.equal((await badBlocksOf(put(store, oid, 3 * BLOCK + 512, filled(512, 1)))).blocks, [3]);
  await put(store, oid, 3 * BLOCK, filled(BLOCK, 8));
  assert.equal(await reads(store, oid, 3 * BLOCK, BLOCK), filled(BLOCK, 8));
  assert.equal(await store.verify(oid), []);
  await store.close();
});

test('a copy over half of a block that cannot be read says which block of which object it is', async () => {
  const { disk, bad } = withBadSectors(fakeDisk());
  const store = await openFake(disk as FakeDisk);
  await put(store, parent, 0, filled(16 * BLOCK, 7), { mode: 'create' });
  await store.checkpoint();
  bad.add(`${objectPath(parent)}:5`);
  const cause = await badBlocksOf(put(store, oid, 5 * BLOCK, filled(512, 1), { mode: 'cow', parent }));
  assert.is(cause.oid, parent);
  assert.equal(cause.blocks, [5]);
  await store.close();
});

const slotAt = (slot: number) => OBJECT + slot * slotBytes(OBJECT / BLOCK);

/** Block 0 has data in both tables; block 9 was a hole when the first was written, and is data in the second. */
async function twoTables(): Promise<FakeDisk> {
  const disk = fakeDisk();
  const store = await openFake(disk);
  await put(store, oid, 0, filled(BLOCK, 1), { mode: 'create' });
  await store.checkpoint();
  await put(store, oid, 9 * BLOCK, filled(BLOCK, 2));
  await store.checkpoint();
  await store.close();
  return disk;
}

function newerSlot(disk: FakeDisk): 0 | 1 {
  const sequence = (slot: number) =>
    Buffer.from(disk.peek(objectPath(oid), slotAt(slot) + 32, 4)).readUInt32LE();
  return sequence(0) > sequence(1) ? 0 : 1;
}

test('with its newer table damaged an object shows nothing that was a hole before', async () => {
  for (const at of [40, 64 + 4 * 9]) {
    const disk = await twoTables();
    disk.flipBit(objectPath(oid), slotAt(newerSlot(disk)) + at);
    const store = await openFake(disk);
    assert.equal(await reads(store, oid, 0, BLOCK), filled(BLOCK, 1), 'what verifies is right');
    assert.equal((await badBlocksOf(() => store.read(oid, 8 * BLOCK, 2 * BLOCK))).blocks, [8, 9]);
    await store.close();
  }
});

test('nor after a crash: the journal knows only what came after that table', async () => {
  for (const rots of ['before', 'after'] as const) {
    for (const powerCut of [false, true]) {
      const disk = await twoTables();
      const slot = newerSlot(disk);
      const rot = () => disk.flipBit(objectPath(oid), slotAt(slot) + 64 + 4 * 9);
      if (rots === 'before') rot();
      const crashed = await openFake(disk);
      await put(crashed, oid, 3 * BLOCK, filled(BLOCK, 3), { sync: true });
      disk.crash({ powerCut });
      if (rots === 'after') rot();
      const store = await openFake(disk);
      assert.equal(await reads(store, oid, 3 * BLOCK, BLOCK), filled(BLOCK, 3), 'the journal had it');
      assert.equal((await badBlocksOf(() => store.read(oid, 8 * BLOCK, 2 * BLOCK))).blocks, [8, 9]);
      await store.close();
    }
  }
});

test('what the journal tells of one life of an object says nothing of the next', async () => {
  const disk = await twoTables();
  const crashed = await openFake(disk);
  await put(crashed, parent, 5 * BLOCK, filled(BLOCK, 5), { mode: 'create', sync: true });
  await put(crashed, oid, 3 * BLOCK, filled(BLOCK, 3), { sync: true });
  await put(crashed, oid, 0, filled(BLOCK, 4), { mode: 'cow', parent });
  disk.crash({ powerCut: false });
  const store = await openFake(disk);
  assert.equal(await store.verify(oid), []);
  assert.equal(await reads(store, oid, 3 * BLOCK, BLOCK), filled(BLOCK, 0));
  assert.equal(await reads(store, oid, 5 * BLOCK, BLOCK), filled(BLOCK, 5));
  await store.close();
});

test('damage of the older table takes nothing away', async () => {
  const disk = await twoTables();
  disk.flipBit(objectPath(oid), slotAt(1 - newerSlot(disk)) + 64);
  const store = await openFake(disk);
  assert.equal(await store.verify(oid), []);
  assert.equal(await reads(store, oid, 9 * BLOCK, BLOCK), filled(BLOCK, 2));
  assert.equal(await reads(store, oid, 8 * BLOCK, BLOCK), filled(BLOCK, 0));
  await store.close();
});

test('a scrub notices damaged tables of an open object and writes them anew', async () => {
  for (const slots of [[0], [1], [0, 1]]) {
    const disk = await twoTables();
    let store = await openFake(disk);
    assert.ok(store.has(oid));
    for (const slot of slots) disk.flipBit(objectPath(oid), slotAt(slot) + 64);
    assert.equal(await store.verify(oid, { fromDevice: true }), [], 'memory has the right one');
    assert.is(store.stats().checksumErrors, 1);
    await store.checkpoint();
    if (slots.length === 2) {
      assert.equal(await store.verify(oid, { fromDevice: true }), []);
      await store.checkpoint();
    }
    assert.equal(await store.verify(oid, { fromDevice: true }), []);
    assert.is(store.stats().checksumErrors, slots.length, 'each table is written once');
    await store.close();
    store = await openFake(disk);
    assert.equal(await store.verify(oid), []);
    assert.equal(await reads(store, oid, 9 * BLOCK, BLOCK), filled(BLOCK, 2));
    await store.close();
  }
});

test('with both headers damaged an object learns its size from who repairs it', async () => {
  const objectBytes = 5 * BLOCK + 512;
  const disk = fakeDisk();
  let store = await openFake(disk);
  await put(store, oid, 0, filled(objectBytes, 1), { mode: 'create', objectBytes });
  await store.close();
  for (const slot of [0, 1]) disk.flipBit(objectPath(oid), 6 * BLOCK + slot * slotBytes(6) + 16);
  store = await openFake(disk);
  assert.equal(await store.verify(oid), [0, 1, 2, 3, 4, 5]);
  const other = { mode: 'ensure', objectBytes: 7 * BLOCK } as const;
  await put(store, oid, 0, filled(BLOCK, 2), other).then(
    () => assert.unreachable('of another number of blocks'),
    (error) => assert.is(AppError.from(error).code, 'invalid'),
  );
  const cow = { mode: 'cow', parent: oid, objectBytes } as const;
  assert.equal((await badBlocksOf(put(store, parent, 0, filled(512, 1), cow))).oid, oid);
  await put(store, oid, 0, filled(objectBytes, 2), { mode: 'ensure', objectBytes });
  for (let opened = 0; opened < 2; opened++) {
    assert.is(store.objectBytes(oid), objectBytes);
    assert.equal(await reads(store, oid, 0, objectBytes), filled(objectBytes, 2));
    // The header is written with what was learned.
    await store.close();
    store = await openFake(disk);
  }
  await store.close();
});

async function expectSpoiled(store: Store): Promise<void> {
  assert.equal((await badBlocksOf(() => store.read(oid, 0, 4 * BLOCK))).blocks, [1, 2]);
  assert.equal([...store.checksums(oid)!.subarray(1, 3)], [77, 1]);
  assert.equal(await reads(store, oid, 0, BLOCK), filled(BLOCK, 7));
}

test('blocks of which nobody has the content stay bad, over kill and close, until they are written', async () => {
  const disk = fakeDisk();
  let store = await openFake(disk);
  await put(store, oid, 0, filled(2 * BLOCK, 7), { mode: 'create' });
  await deadline(store.spoil(oid, [1, 2], [77, 0], 1));
  await expectSpoiled(store);
  await badBlocksOf(put(store, oid, BLOCK + 512, filled(512, 1)));
  disk.crash({ powerCut: false });
  store = await openFake(disk);
  await expectSpoiled(store);
  await store.close();
  store = await openFake(disk);
  await expectSpoiled(store);
  await put(store, oid, BLOCK, filled(2 * BLOCK, 9));
  const expected = Buffer.concat([filled(BLOCK, 7), filled(2 * BLOCK, 9), filled(BLOCK, 0)]);
  assert.is(Buffer.compare(await reads(store, oid, 0, 4 * BLOCK), expected), 0);
  await store.close();
});

test('only objects in flight at a power cut may be torn, until they are made equal', async () => {
  const disk = fakeDisk();
  let store = await openFake(disk);
  await put(store, oid, 0, filled(BLOCK, 7), { mode: 'create', sync: true });
  disk.crash({ powerCut: false });
  store = await openFake(disk);
  assert.ok(store.suspects().has(oid));
  assert.not(store.mayBeTorn(oid), 'a kill tears nothing');
  await put(store, oid, 0, filled(BLOCK, 8), { sync: true });
  disk.crash({ powerCut: true });
  store = await openFake(disk, { bootId: 'another' });
  assert.ok(store.mayBeTorn(oid));
  disk.crash({ powerCut: false });
  store = await openFake(disk, { bootId: 'another' });
  assert.ok(store.mayBeTorn(oid), 'also after a kill before anybody could settle it');
  await store.clearSuspects([oid]);
  assert.not(store.mayBeTorn(oid));
  await store.close();
});

test('the list of suspects has exactly this text, and one without marks is read too', () => {
  const disk = fakeDisk();
  const write = (bytes: Buffer) => disk.poke(SUSPECTS_PATH, 0, bytes);
  disk.open(SUSPECTS_PATH, { create: true }).close();
  const bytes = encodeSuspects([oid, parent], new Set([parent]));
  assert.match(bytes.toString(), /^00aa000000000001\n00aa000000000002 torn\n/);
  write(bytes);
  assert.equal(readSuspects(disk), { oids: new Set([oid, parent]), torn: new Set([parent]) });
});

test.run();
