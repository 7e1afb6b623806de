import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { BALLAST_BYTES, BALLAST_PATHS } from '../../../src/store/ballast.js';
import { sealText } from '../../../src/store/small-file.js';
import { decodeSuperblock, encodeSuperblock, SUPERBLOCK_PATH } from '../../../src/store/superblock.js';
import { deadline, fakeDisk, filled, KIB, OBJECT, openFake, put, reads, smallLimits } from './helpers.js';

const oid = 0x0000_0001_0000_0001n;

test('a superblock has exactly these bytes', () => {
  const block = { clusterId: 'c', nodeId: 'n', bootId: 'b', clean: true, openCount: 2, usedBytes: 4096 };
  const text =
    'sheepfold-store 2\n' +
    '{"clusterId":"c","nodeId":"n","bootId":"b","clean":true,"openCount":2,"usedBytes":4096}\n';
  assert.equal(encodeSuperblock(block).toString().slice(0, text.length), text);
  assert.equal(decodeSuperblock(sealText(text)), block);
});

test('a store of another cluster, another node, or a newer format is refused', async () => {
  const disk = fakeDisk();
  await (await openFake(disk)).close();
  await refused(
    openFake(disk, { identity: { clusterId: 'c2', nodeId: 'n1' } }),
    'cluster-error',
    /cluster c1/,
  );
  await refused(openFake(disk, { identity: { clusterId: 'c1', nodeId: 'n2' } }), 'cluster-error', /node n1/);
  disk.poke(SUPERBLOCK_PATH, 0, Buffer.from('sheepfold-store 9'));
  await refused(openFake(disk), 'version', /format 9/);
});

test('a damaged superblock, or objects without one, are refused', async () => {
  const disk = fakeDisk();
  const store = await openFake(disk);
  await put(store, oid, 0, filled(4096, 1), { mode: 'create' });
  await store.close();
  disk.flipBit(SUPERBLOCK_PATH, 30);
  await refused(openFake(disk), 'system', /damaged/);
  disk.unlink(SUPERBLOCK_PATH);
  await refused(openFake(disk), 'system', /no superblock/);
});

test('another boot id is lossy only without a clean close', async () => {
  const disk = fakeDisk();
  await (await openFake(disk)).close();
  const store = await openFake(disk, { bootId: 'second' });
  assert.is(store.lossy, false);
  disk.crash({ powerCut: true });
  const again = await openFake(disk, { bootId: 'third' });
  assert.is(again.lossy, true);
  await again.close();
});

test('new data is refused before the disk is full; overwrites, removals and discards go on', async () => {
  const disk = fakeDisk({ capacityBytes: 4 << 20 });
  const store = await openFake(disk);
  let index = 0n;
  const fill = async () => {
    for (; index < 100n; index++) await put(store, index, 0, filled(OBJECT, 1), { mode: 'create' });
  };
  await refused(fill(), 'no-space', /reserved/);
  assert.ok(disk.space().freeBytes >= smallLimits.reserveBytes);
  assert.ok(index > 4n);
  await put(store, 0n, 0, filled(OBJECT, 2), { sync: true });
  await store.zero({
    oid: 1n,
    objectBytes: OBJECT,
    mode: 'update',
    epoch: 1,
    offset: 0,
    length: 64 * KIB,
    allocate: false,
    sync: false,
  });
  await store.remove(2n, 1, false);
  await put(store, 99n, 0, filled(4096, 1), { mode: 'create' });
  await store.close();
});

test('a store on a disk without a free byte opens and serves reads', async () => {
  const disk = fakeDisk();
  const store = await openFake(disk);
  await put(store, oid, 0, filled(OBJECT, 1), { mode: 'create', sync: true });
  disk.crash({ powerCut: false });
  disk.capacityBytes = disk.usedBytes;
  const again = await openFake(disk, { limits: { ...smallLimits, reserveBytes: 512 * KIB } });
  assert.equal(await reads(again, oid, 0, OBJECT), filled(OBJECT, 1));
  await refused(put(again, 5n, 0, filled(4096, 1), { mode: 'create' }), 'no-space', /./);
  await again.remove(oid, 2, true);
  await again.close();
});

test('after a power cut a store waits for room for the objects that only its journal has', async () => {
  const disk = fakeDisk();
  const store = await openFake(disk);
  await put(store, oid, 0, filled(8192, 1), { mode: 'create', sync: true });
  disk.crash({ powerCut: true, loseAll: true });
  // The name of the object was never synced.
  disk.onOp = (op) =>
    op.kind === 'allocate' && op.path.startsWith('obj/') ? { type: 'error', code: 'no-space' } : undefined;
  await refused(openFake(disk, { bootId: 'boot-2' }), 'no-space', /too full/);
  disk.onOp = undefined;
  const again = await openFake(disk, { bootId: 'boot-2' });
  assert.equal(await reads(again, oid, 0, 8192), filled(8192, 1));
  await again.close();
});

test('nor is a block taken for lost that only the journal has', async () => {
  const disk = fakeDisk();
  const store = await openFake(disk);
  await put(store, oid, 0, filled(4096, 1), { mode: 'create' });
  await store.checkpoint();
  await put(store, oid, 8192, filled(4096, 2), { sync: true });
  disk.crash({ powerCut: true, loseAll: true });
  disk.onOp = (op) =>
    op.kind === 'write' && op.path.startsWith('obj/') ? { type: 'error', code: 'no-space' } : undefined;
  await refused(openFake(disk, { bootId: 'boot-2' }), 'no-space', /too full/);
  disk.onOp = undefined;
  const again = await openFake(disk, { bootId: 'boot-2' });
  assert.equal(await reads(again, oid, 8192, 4096), filled(4096, 2));
  await again.close();
});

test('a disk that is full all the same fails that request only', async () => {
  const disk = fakeDisk();
  const store = await openFake(disk);
  await put(store, oid, 0, filled(4096, 1), { mode: 'create' });
  disk.onOp = (op) =>
    op.kind === 'write' && op.path.startsWith('obj/') ? { type: 'error', code: 'no-space' } : undefined;
  await refused(put(store, oid, 8192, filled(4096, 2)), 'no-space', /./);
  disk.onOp = undefined;
  await put(store, oid, 4096, filled(4096, 3));
  assert.equal(await store.verify(oid), []);
  assert.equal(await reads(store, oid, 8192, 4096), new Uint8Array(4096));
  await store.close();
});

test('half of a refused write leaves no block bad, and no restart brings the other half', async () => {
  const disk = fakeDisk();
  const store = await openFake(disk);
  await put(store, oid, 0, filled(8192, 1), { mode: 'create' });
  // Overwrites need no room: the first two blocks are written, the third is refused.
  disk.onOp = (op) => {
    if (op.kind === 'write' && op.path.startsWith('obj/'))
      disk.capacityBytes = disk.space().totalBytes - disk.space().freeBytes;
    return undefined;
  };
  await refused(put(store, oid, 0, filled(12288, 2)), 'no-space', /full/);
  disk.onOp = undefined;
  disk.capacityBytes = 64 << 20;
  assert.equal(await store.verify(oid), []);
  const seen = await reads(store, oid, 0, 12288);
  assert.equal(seen, new Uint8Array([...filled(8192, 2), ...filled(4096, 0)]));
  assert.equal(await store.touchedSince(1), [oid]);
  disk.crash({ powerCut: false });
  const again = await openFake(disk);
  assert.equal(await again.verify(oid), []);
  assert.equal(await reads(again, oid, 0, 12288), seen);
  await again.close();
});

test('of an object that there was no room to make nothing comes with a restart', async () => {
  const disk = fakeDisk();
  const store = await openFake(disk);
  disk.onOp = (op) =>
    op.kind === 'write' && op.path.startsWith('obj/') ? { type: 'error', code: 'no-space' } : undefined;
  await refused(put(store, oid, 0, filled(4096, 2), { mode: 'create' }), 'no-space', /./);
  disk.onOp = undefined;
  await refused(reads(store, oid, 0, 1), 'no-object', /./);
  disk.crash({ powerCut: false });
  const again = await openFake(disk);
  await refused(reads(again, oid, 0, 1), 'no-object', /./);
  await again.close();
});

test('what is kept for a full disk is there after a power cut', async () => {
  const disk = fakeDisk();
  await openFake(disk);
  disk.crash({ powerCut: true, loseAll: true });
  const roomOf = (path: string) => disk.open(path).allocatedBytes();
  assert.equal(Object.values(BALLAST_PATHS).map(roomOf), [BALLAST_BYTES, BALLAST_BYTES]);
});

for (const kind of ['sync', 'write'] as const) {
  test(`a failed journal ${kind} stops the store for good, and reads go on`, async () => {
    const disk = fakeDisk();
    const store = await openFake(disk);
    await put(store, oid, 0, filled(4096, 1), { mode: 'create', sync: true });
    disk.failNth(0, 'io', kind);
    await refused(put(store, oid, 0, filled(4096, 2), { sync: true }), 'io', /injected io/);
    disk.onOp = undefined;
    assert.ok((await deadline(store.failed)) instanceof Error);
    await refused(put(store, oid, 0, filled(4096, 3)), 'io', /stopped/);
    await refused(store.flush(), 'io', /stopped/);
    assert.is((await reads(store, oid, 0, 1)).length, 1);
    await store.close();
  });
}

test('copies left in tmp by a crash are swept away', async () => {
  const disk = fakeDisk();
  await (await openFake(disk)).close();
  disk.open('tmp/left', { create: true });
  await (await openFake(disk)).close();
  assert.equal(disk.list('tmp'), []);
});

test('objects beyond the cache limits are closed and opened again', async () => {
  const disk = fakeDisk();
  const limits = { ...smallLimits, maxOpenObjects: 4 };
  const store = await openFake(disk, { limits });
  for (let index = 0n; index < 40n; index++)
    await put(store, index, 0, filled(4096, Number(index)), { mode: 'create' });
  await store.checkpoint();
  for (let index = 0n; index < 40n; index++) {
    assert.is((await reads(store, index, 0, 1))[0], Number(index));
  }
  await store.close();
});

test('an object that a full disk has no room to note as touched is noted before the journal forgets it', async () => {
  const disk = fakeDisk();
  const store = await openFake(disk);
  await put(store, oid, 0, filled(4096, 1), { mode: 'create', epoch: 3 });
  await store.checkpoint();
  disk.onOp = (op) => (op.path.startsWith('touched/') ? { type: 'error', code: 'no-space' } : undefined);
  await put(store, oid, 0, filled(4096, 2), { epoch: 4 });
  assert.equal(await store.touchedSince(4), [oid]);
  disk.onOp = undefined;
  await store.checkpoint();
  disk.crash({ powerCut: true, loseAll: true });
  const again = await openFake(disk, { bootId: 'boot-2' });
  assert.equal(await again.touchedSince(4), [oid]);
  await again.close();
});

test('touched objects are listed by epoch, through crashes, and forgotten on request', async () => {
  const disk = fakeDisk();
  let store = await openFake(disk);
  await put(store, 1n, 0, filled(4096, 1), { mode: 'create', epoch: 3, sync: true });
  await store.touch(2n, 4);
  await store.remove(1n, 5, true);
  disk.crash({ powerCut: true, loseAll: true });
  store = await openFake(disk, { bootId: 'other' });
  assert.equal((await store.touchedSince(3)).sort(), [1n, 2n]);
  assert.equal(await store.touchedSince(5), [1n]);
  await store.forgetTouchedBefore(5);
  assert.equal(await store.touchedSince(0), [1n]);
  await store.close();
});

async function refused(promise: Promise<unknown>, code: string, text: RegExp): Promise<void> {
  try {
    await deadline(promise);
  } catch (error) {
    assert.instance(error, AppError, String(error));
    assert.is((error as AppError).code, code, (error as Error).message);
    assert.match((error as Error).message, text);
    return;
  }
  throw new Error(`expected ${code}`);
}

test.run();
