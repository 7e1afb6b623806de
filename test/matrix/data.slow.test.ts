// deadline: 400 s
/** The matrix: plain data. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Bench, defineGroup } from './matrix.js';
import { create, fill, holds, KIB, MIB, OBJECT_BYTES, snapshot, versions } from './volumes.js';

const SIZE_BYTES = 64 * MIB;

async function createsVolume({ driver, cluster, name }: Bench): Promise<void> {
  const { url } = await driver.target(name);
  await driver.img('create', url, '64M');
  const [volume] = await versions(cluster, name);
  assert.is(volume?.sizeBytes, SIZE_BYTES);
  await holds(cluster, { name }, 0, 0, MIB);
}

/** Inside an object, over the border of two, and the last bytes. */
async function writes({ driver, cluster, name }: Bench): Promise<void> {
  await create(cluster, name, SIZE_BYTES);
  const commands = ['write -P 17 64k 192k', 'write -P 18 4032k 128k', 'write -P 19 65535k 1k', 'flush'];
  await driver.io(await driver.target(name), ...commands);
  await holds(cluster, { name }, 0, 0, 64 * KIB);
  await holds(cluster, { name }, 17, 64 * KIB, 192 * KIB);
  await holds(cluster, { name }, 0, 256 * KIB, 64 * KIB);
  await holds(cluster, { name }, 18, OBJECT_BYTES - 64 * KIB, 128 * KIB);
  await holds(cluster, { name }, 19, SIZE_BYTES - KIB, KIB);
}

async function reads({ driver, cluster, name }: Bench): Promise<void> {
  await create(cluster, name, SIZE_BYTES);
  await fill(cluster, name, 33, OBJECT_BYTES - 64 * KIB, 128 * KIB);
  const commands = ['read -P 0 0 64k', 'read -P 33 4032k 128k', 'read -P 0 4160k 64k', 'read -P 0 60M 4M'];
  await driver.io(await driver.target(name), ...commands);
}

/** Snapshots are taken before the client opens, and under its feet: it must find out by itself. */
async function copiesOnWrite({ driver, cluster, name }: Bench): Promise<void> {
  await create(cluster, name, SIZE_BYTES);
  await fill(cluster, name, 1, 0, 2 * OBJECT_BYTES);
  await snapshot(cluster, name, 'before');
  const session = await driver.session(await driver.target(name));
  await session.run('write -P 2 64k 64k');
  await snapshot(cluster, name, 'under');
  await session.run('write -P 3 128k 64k');
  await session.run('write -P 3 4M 64k');
  await session.run('read -P 1 0 64k');
  await session.run('read -P 2 64k 64k');
  await session.run('read -P 3 128k 64k');
  await session.run('read -P 1 4160k 64k');
  await session.end();
  await holds(cluster, { name, tag: 'before' }, 1, 0, 2 * OBJECT_BYTES);
  await holds(cluster, { name, tag: 'under' }, 2, 64 * KIB, 64 * KIB);
  await holds(cluster, { name, tag: 'under' }, 1, 128 * KIB, 2 * OBJECT_BYTES - 128 * KIB);
  await holds(cluster, { name }, 1, 0, 64 * KIB);
  await holds(cluster, { name }, 2, 64 * KIB, 64 * KIB);
  await holds(cluster, { name }, 3, 128 * KIB, 64 * KIB);
  await holds(cluster, { name }, 3, OBJECT_BYTES, 64 * KIB);
  await holds(cluster, { name }, 1, OBJECT_BYTES + 64 * KIB, OBJECT_BYTES - 64 * KIB);
}

async function discards({ driver, cluster, name }: Bench): Promise<void> {
  await create(cluster, name, SIZE_BYTES);
  await fill(cluster, name, 1, 0, 3 * OBJECT_BYTES);
  await driver.io(await driver.target(name), 'discard 4M 4M', 'read -P 0 4M 4M', 'read -P 1 0 4M');
  await holds(cluster, { name }, 0, OBJECT_BYTES, OBJECT_BYTES);
  await holds(cluster, { name }, 1, 2 * OBJECT_BYTES, OBJECT_BYTES);
  const { entries } = await cluster.call('vdi.map', { name });
  assert.equal(entries.map(([index]) => index).sort(), [0, 2], 'what is left allocated');
}

async function resizes({ driver, cluster, name }: Bench): Promise<void> {
  await create(cluster, name, 8 * MIB);
  await fill(cluster, name, 1, 0, MIB);
  const target = await driver.target(name);
  await driver.img('resize', '-f', 'raw', target.url, '64M');
  assert.is((await versions(cluster, name))[0]?.sizeBytes, SIZE_BYTES);
  await driver.io(await driver.target(name), 'read -P 1 0 1M', 'write -P 2 63M 1M');
  await holds(cluster, { name }, 2, 63 * MIB, MIB);
}

defineGroup('1-data', {
  create: {
    old: createsVolume,
    nbd: 'NBD has no request that makes an export: `dog vdi create` does',
    helper: createsVolume,
    tgt: 'SCSI has no command that makes a unit: `dog vdi create` does',
  },
  write: { old: writes, nbd: writes, helper: writes, tgt: writes },
  read: { old: reads, nbd: reads, helper: reads, tgt: reads },
  'COW write': { old: copiesOnWrite, nbd: copiesOnWrite, helper: copiesOnWrite, tgt: copiesOnWrite },
  discard: {
    old: discards,
    nbd: discards,
    helper: discards,
    tgt: "tgt's sheepdog backing store does not offer UNMAP",
  },
  resize: {
    old: resizes,
    nbd: 'QEMU: "Cannot grow NBD nodes"; `dog vdi resize` does, and it sees the new size when it opens again',
    helper: resizes,
    tgt: 'tgt fixes the size of a unit when it is added; after `dog vdi resize` it is added again',
  },
});

test.run();
