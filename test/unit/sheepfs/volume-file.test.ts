/** Lengths of files over volumes that cannot be empty and cannot shrink, and what a kill leaves of them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { systemClock } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import { FuseError } from '../../../src/fuse/errors.js';
import { AsideNames } from '../../../src/sheepfs/aside.js';
import { Nodes } from '../../../src/sheepfs/nodes.js';
import { Tree } from '../../../src/sheepfs/tree.js';
import { type FileWorld, VolumeFile } from '../../../src/sheepfs/volume-file.js';
import { FakeVolumes } from '../../helpers/fake-volumes.js';

const OWNER = { mode: 0o644, uid: 0, gid: 0 };
const MIB = 2 ** 20;

function newWorld(cluster = new FakeVolumes()): { cluster: FakeVolumes; world: FileWorld; tree: Tree } {
  const world = { cluster, clock: systemClock, defaults: OWNER };
  return { cluster, world, tree: new Tree(world, new AsideNames('/mnt')) };
}

async function create(tree: Tree, name: string): Promise<VolumeFile> {
  const node = await tree.create(new Nodes().get(1), name, OWNER);
  node.file.opened(true);
  return node.file;
}

async function contents(file: VolumeFile): Promise<string> {
  return Buffer.concat([...(await file.read(0, 64 * MIB))]).toString('latin1');
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'done',
    (error: unknown) => (error instanceof FuseError ? error.code : String(error)),
  );
}

test('a new file is empty, grows with what is written, and others see its length when it is saved', async () => {
  const { tree, world } = newWorld();
  const file = await create(tree, 'a');
  assert.is(file.length, 0);
  await file.write(0, Buffer.from('hello'), { durable: false });
  await file.write(5, Buffer.from(' world'), { durable: false });
  assert.is(await contents(file), 'hello world');
  await file.save();
  const other = await VolumeFile.find(world, 'a');
  assert.is(await contents(other), 'hello world');
});

test('a kill takes no acknowledged byte of a file that grows', async () => {
  const { tree, world } = newWorld();
  const file = await create(tree, 'a');
  await file.write(0, Buffer.alloc(10_000, 'x'), { durable: false });
  // The next mount knows only what is stored: at least everything, at most the rest of a block of zeros.
  const next = await VolumeFile.find(world, 'a');
  assert.is(next.length, 12_288);
  assert.is((await contents(next)).replaceAll('\0', ''), 'x'.repeat(10_000));
});

test('a kill between the record and the resize leaves the length as it was', async () => {
  const { tree, world, cluster } = newWorld();
  const file = await create(tree, 'a');
  await file.write(0, Buffer.alloc(4096, 1), { durable: true });
  cluster.before = (method) => {
    if (method === 'vdi.resize') throw new Error('killed');
  };
  assert.is(await codeOf(file.write(0, Buffer.alloc(8 * MIB), { durable: false })), 'Error: killed');
  cluster.before = () => {};
  assert.is((await VolumeFile.find(world, 'a')).length, 4096);
});

test('what was cut off reads as zeros when the file grows again, and the volume keeps its size', async () => {
  const { tree, cluster } = newWorld();
  const file = await create(tree, 'a');
  await file.write(0, Buffer.alloc(MIB, 7), { durable: false });
  const before = cluster.volumes.get('a')!.volume.sizeBytes;
  await file.setLength(10);
  assert.is(file.length, 10);
  await file.setLength(20);
  assert.is(await contents(file), '\x07'.repeat(10) + '\0'.repeat(10));
  assert.is(cluster.volumes.get('a')!.volume.sizeBytes, before);
});

test('a length set above the volume is the size of the volume from then on, exactly', async () => {
  const { tree, cluster, world } = newWorld();
  const file = await create(tree, 'a');
  await file.setLength(3 * MIB + 1);
  assert.is(cluster.volumes.get('a')!.volume.sizeBytes, 3 * MIB + 1);
  assert.is((await VolumeFile.find(world, 'a')).length, 3 * MIB + 1);
  assert.is(await codeOf(file.setLength(2 ** 42 + 1)), 'EFBIG');
  assert.is(await codeOf(file.write(2 ** 53, Buffer.alloc(1), { durable: false })), 'EFBIG');
});

test('who resizes the volume at another door says how long the file is', async () => {
  const { tree, cluster } = newWorld();
  const file = await create(tree, 'a');
  await file.write(0, Buffer.from('hello'), { durable: false });
  await file.save();
  await cluster.call('vdi.resize', { name: 'a', sizeBytes: 32 * MIB });
  await file.refresh();
  assert.is(file.length, 32 * MIB);
});

test('changed modes are kept while the file grows; too many attributes are refused and change nothing', async () => {
  const { tree, world } = newWorld();
  const file = await create(tree, 'a');
  await file.write(0, Buffer.from('hello'), { durable: false });
  await file.change((record) => {
    record.mode = 0o600;
  });
  const big = (record: { xattrs?: Record<string, string> }) => {
    record.xattrs = { 'user.big': 'A'.repeat(70_000) };
  };
  assert.is(await codeOf(file.change(big)), 'ENOSPC');
  await file.save();
  const other = await VolumeFile.find(world, 'a');
  assert.equal([other.record.mode, other.length, other.record.xattrs], [0o600, 5, undefined]);
});

test('a rename over a file that is killed at any step leaves the old or the new one', async () => {
  for (let steps = 0; ; steps++) {
    const { tree, cluster } = newWorld();
    for (const name of ['new', 'old']) {
      const file = await create(tree, name);
      await file.write(0, Buffer.from(name), { durable: false });
      await file.released(true);
    }
    let left = steps;
    const changing = new Set(['vdi.rename', 'vdi.setattr', 'vdi.delete']);
    cluster.before = (method) => {
      if (changing.has(method) && left-- === 0) throw new Error('killed');
    };
    const root = new Nodes().get(1);
    const outcome = await codeOf(tree.rename(root, 'new', root, 'old', 0));
    cluster.before = () => {};
    const { world } = newWorld(cluster);
    await new AsideNames('/mnt').sweep(cluster, silentLogger);
    const text = await contents(await VolumeFile.find(world, 'old'));
    if (outcome === 'done') {
      assert.equal([text, [...cluster.volumes.keys()]], ['new', ['old']]);
      assert.ok(steps > 3, 'each step was killed once');
      return;
    }
    const names = [...cluster.volumes.keys()].sort();
    assert.equal([text, names], names.includes('new') ? ['old', ['new', 'old']] : ['new', ['old']]);
  }
});

test.run();
