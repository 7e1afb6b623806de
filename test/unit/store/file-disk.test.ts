import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { silentLogger } from '../../../src/base/log.js';
import { type Disk, DiskError } from '../../../src/store/disk.js';
import { openFileDisk } from '../../../src/store/file-disk.js';
import { objectPath } from '../../../src/store/object-path.js';
import { openStore } from '../../../src/store/open-store.js';
import type { Store } from '../../../src/store/store.js';
import { clock, deadline, filled, KIB, OBJECT, put, reads, smallLimits } from './helpers.js';

const test = suite<{ root: string; disk: Disk }>('file disk');

test.before.each((context) => {
  context.root = mkdtempSync(join(tmpdir(), 'sheepfold-store-'));
  context.disk = openFileDisk(context.root);
});

test.after.each(({ root }) => {
  chmodSync(root, 0o700);
  rmSync(root, { recursive: true });
});

test('what several buffers write comes back by every kind of read', async ({ disk }) => {
  const file = disk.open('x', { create: true });
  file.write([filled(100, 1), filled(8192, 2), filled(4, 3)], 50);
  assert.is(file.size(), 50 + 8296);
  for (const read of [file.read, file.tryRead] as const) {
    const bytes = new Uint8Array(4);
    assert.is(read.call(file, bytes, 148), 4);
    assert.equal(bytes, Uint8Array.of(1, 1, 2, 2));
  }
  const end = new Uint8Array(10);
  assert.is(await file.readAsync(end, 50 + 8292), 4);
  assert.equal(end, Uint8Array.of(3, 3, 3, 3, 0, 0, 0, 0, 0, 0));
  await file.sync();
  await disk.syncDir('.');
  file.close();
});

test('punching really frees room, and allocating really takes it', ({ disk }) => {
  const file = disk.open('x', { create: true });
  file.write([filled(1 << 20, 1)], 0);
  const full = file.allocatedBytes();
  file.punch(0, 512 * KIB);
  assert.ok(full - file.allocatedBytes() >= 512 * KIB);
  assert.is(file.size(), 1 << 20);
  const bytes = filled(4096, 9);
  file.read(bytes, 4096);
  assert.equal(bytes, new Uint8Array(4096));
  file.allocate(0, 512 * KIB);
  assert.ok(file.allocatedBytes() >= full);
  file.close();
});

test('names: list, exclusive creation, link, rename, unlink', ({ disk }) => {
  disk.mkdir('a/b');
  disk.open('a/b/one', { create: true }).close();
  assert.equal(disk.list('a/b'), ['one']);
  assert.equal(disk.list('nowhere'), []);
  code('exists', () => disk.open('a/b/one', { create: true, exclusive: true }));
  disk.link('a/b/one', 'a/two');
  code('exists', () => disk.link('a/b/one', 'a/two'));
  disk.rename('a/two', 'a/three');
  assert.ok(disk.exists('a/three'));
  disk.unlink('a/three');
  code('missing', () => disk.open('a/three'));
  code('exists', () => disk.rmdir('a'));
});

test('appenders with handles of their own never overwrite each other', ({ disk }) => {
  const first = disk.open('log', { create: true });
  const second = disk.open('log');
  first.append(filled(3, 1));
  second.append(filled(3, 2));
  first.append(filled(3, 3));
  const bytes = new Uint8Array(9);
  second.read(bytes, 0);
  assert.equal(bytes, Uint8Array.of(1, 1, 1, 2, 2, 2, 3, 3, 3));
});

test('a missing directory, a file, and a directory in use say so', ({ root }) => {
  code('missing', () => openFileDisk(join(root, 'nowhere')));
  writeFileSync(join(root, 'file'), '');
  code('missing', () => openFileDisk(join(root, 'file')));
  openFileDisk(root, { lock: true });
  code('exists', () => openFileDisk(root, { lock: true }));
});

test('a store on a real directory survives being left without a close', async ({ disk, root }) => {
  const store = await opened(disk);
  const oid = 0x00ab_0000_0003n;
  await put(store, oid, 0, filled(OBJECT, 1), { mode: 'create' });
  await put(store, oid, 5000, filled(100, 2), { sync: true });
  await store.flush();
  // Another process's view of the same directory: as after a kill of the first.
  const again = await opened(openFileDisk(root));
  assert.is((await reads(again, oid, 5050, 1))[0], 2);
  assert.equal(await again.verify(oid), []);
  assert.is(again.lossy, false);
  const before = again.stats().usedBytes;
  await again.zero({
    oid,
    objectBytes: OBJECT,
    mode: 'update',
    epoch: 1,
    offset: 0,
    length: 128 * KIB,
    allocate: false,
    sync: true,
  });
  assert.is(before - again.stats().usedBytes, 128 * KIB);
  assert.ok(disk.open(objectPath(oid)).allocatedBytes() < 160 * KIB);
  await again.close();
});

test('a directory that may not be written gives a clear error', async ({ disk, root }) => {
  if (process.getuid?.() === 0) return;
  chmodSync(root, 0o500);
  try {
    await opened(disk);
    assert.unreachable();
  } catch (error) {
    assert.ok(AppError.isCode(error, 'read-only'));
  }
});

function opened(disk: Disk): Promise<Store> {
  const identity = { clusterId: 'c', nodeId: 'n' };
  const options = { disk, clock, log: silentLogger, identity, bootId: 'b', limits: smallLimits };
  return deadline(openStore(options));
}

function code(wanted: string, run: () => unknown): void {
  try {
    run();
  } catch (error) {
    assert.instance(error, DiskError);
    assert.is((error as DiskError).code, wanted);
    return;
  }
  throw new Error(`expected ${wanted}`);
}

test.run();
