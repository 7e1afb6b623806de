// deadline: 300 s
/** The matrix: snapshots and clones, made by the client and seen by the cluster. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Bench, defineGroup } from './matrix.js';
import { create, fill, holds, MIB, OBJECT_BYTES, snapshot, tags, versions } from './volumes.js';

/** A volume with ones, its snapshot `s1`, and twos written over the first object since. */
async function withSnapshot({ cluster, name }: Bench): Promise<void> {
  await create(cluster, name, 16 * MIB);
  await fill(cluster, name, 1, 0, 2 * OBJECT_BYTES);
  await snapshot(cluster, name, 's1');
  await fill(cluster, name, 2, 0, OBJECT_BYTES);
}

async function makesSnapshot({ driver, cluster, name }: Bench): Promise<void> {
  await create(cluster, name, 16 * MIB);
  await fill(cluster, name, 1, 0, 2 * OBJECT_BYTES);
  const target = await driver.target(name);
  await driver.img('snapshot', '-c', 's1', target.url);
  await driver.io(target, 'write -P 2 0 1M');
  await driver.img('snapshot', '-c', 's2', target.url);
  await driver.io(target, 'write -P 3 0 1M', 'read -P 1 1M 7M');
  assert.equal((await tags(cluster, name)).sort(), ['s1', 's2']);
  await holds(cluster, { name, tag: 's1' }, 1, 0, 2 * OBJECT_BYTES);
  await holds(cluster, { name, tag: 's2' }, 2, 0, MIB);
  await holds(cluster, { name }, 3, 0, MIB);
  await driver.io(await driver.target(name, { tag: 's1' }), 'read -P 1 0 8M');
}

async function listsSnapshots(bench: Bench): Promise<void> {
  await withSnapshot(bench);
  const { driver, name } = bench;
  const list = await driver.img('snapshot', '-l', (await driver.target(name)).url);
  assert.match(list, /^1 +s1 /m);
}

/** Twice, and written to between: QEMU deletes the working volume on the way. */
async function goesTo(bench: Bench): Promise<void> {
  await withSnapshot(bench);
  const { driver, cluster, name } = bench;
  const target = await driver.target(name);
  await driver.img('snapshot', '-a', 's1', target.url);
  await holds(cluster, { name }, 1, 0, 2 * OBJECT_BYTES);
  await driver.io(target, 'read -P 1 0 8M', 'write -P 4 4M 1M');
  await driver.img('snapshot', '-a', 's1', target.url);
  await driver.io(target, 'read -P 1 0 8M');
  await holds(cluster, { name, tag: 's1' }, 1, 0, 2 * OBJECT_BYTES);
}

/** The middle one, then the first; QEMU zeroes an index on the way, and not the one it means to. */
async function deletes(bench: Bench): Promise<void> {
  await withSnapshot(bench);
  const { driver, cluster, name } = bench;
  await snapshot(cluster, name, 's2');
  await fill(cluster, name, 3, 0, MIB);
  await snapshot(cluster, name, 's3');
  const target = await driver.target(name);
  for (const tag of ['s2', 's1']) await driver.img('snapshot', '-d', tag, target.url);
  assert.equal(await tags(cluster, name), ['s3']);
  for (const volume of [{ name }, { name, tag: 's3' }]) {
    await holds(cluster, volume, 3, 0, MIB);
    await holds(cluster, volume, 2, MIB, OBJECT_BYTES - MIB);
    await holds(cluster, volume, 1, OBJECT_BYTES, OBJECT_BYTES);
  }
  await driver.io(target, 'read -P 3 0 1M', 'read -P 2 1M 3M', 'read -P 1 4M 4M');
}

async function clones(bench: Bench): Promise<void> {
  await withSnapshot(bench);
  const { driver, cluster, name } = bench;
  const clone = await driver.target(`${name}-copy`);
  const base = await driver.target(name, { tag: 's1' });
  await driver.img('create', '-b', base.url, clone.url).catch((error: Error) => {
    // qemu-img 5.2 frees the name of the backing file twice. The C library notices that or not, after all is done.
    if (!/free\(\): invalid pointer|double free/.test(error.message)) throw error;
  });
  await driver.io(clone, 'read -P 1 0 8M', 'write -P 5 0 1M');
  await holds(cluster, { name: `${name}-copy` }, 5, 0, MIB);
  await holds(cluster, { name: `${name}-copy` }, 1, MIB, 2 * OBJECT_BYTES - MIB);
  await holds(cluster, { name, tag: 's1' }, 1, 0, 2 * OBJECT_BYTES);
  assert.is((await versions(cluster, `${name}-copy`))[0]?.sizeBytes, 16 * MIB);
}

const nbd = 'QEMU: a raw NBD node has no internal snapshots; `dog vdi` has';
const tgt = 'SCSI has no snapshots; `dog vdi` has';

defineGroup('2-snapshots', {
  'snapshot create': { old: makesSnapshot, nbd, helper: makesSnapshot, tgt },
  'snapshot list': { old: listsSnapshots, nbd, helper: listsSnapshots, tgt },
  'snapshot goto': { old: goesTo, nbd, helper: goesTo, tgt },
  'snapshot delete': { old: deletes, nbd, helper: deletes, tgt },
  clone: {
    old: clones,
    nbd: 'NBD has no request that makes an export: `dog vdi clone` does',
    helper: clones,
    tgt: 'SCSI has no clones; `dog vdi clone` does',
  },
});

test.run();
