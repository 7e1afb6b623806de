/** LOCK_VDI and RELEASE_VDI in a cluster that was formatted with locks (reference 6.9, 10.1 A1 and A2; I-9). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { clusterRequest } from '../../src/wire/headers.js';
import { ClusterFlag, LockType, nameOfResult, Op, Result } from '../../src/wire/sheepdog.js';
import { within } from '../helpers/real-cluster.js';
import { ok } from '../helpers/sheepdog-calls.js';
import { doorTests, pattern, type SheepdogDoor } from '../helpers/sheepdog-door.js';
import { QemuImage, qemuCreate } from '../helpers/sheepdog-qemu.js';

const MIB = 1024 * 1024;
const it = doorTests(test);
const { normal, shared } = LockType;

const is = (answer: { result: number }, wanted: number, message?: string) =>
  assert.is(nameOfResult(answer.result), nameOfResult(wanted), message);

async function create(door: SheepdogDoor, name: string): Promise<number> {
  return ok(await qemuCreate(door.address(), { name, sizeBytes: 4 * MIB, blockSizeShift: 20 })).vid;
}

it('MAKE_FS formats the cluster anew, with locks', async (door) => {
  const { client } = await door.connect();
  const fields = clusterRequest.encode({ copies: 3, clusterFlags: ClusterFlag.USE_LOCK, ctime: 1n });
  is(await client.request({ opcode: Op.MAKE_FS, fields, payload: Buffer.from('plain\0') }), Result.SUCCESS);
  await door.cluster.waitHealthy();
});

it('a volume that is open is refused to others, through every sheep', async (door) => {
  const vid = await create(door, 'taken');
  const { calls } = await door.connect();
  const image = await QemuImage.open(door.address(), 'taken');
  for (const one of [calls, door.fresh(), door.fresh(1), door.fresh(2)]) {
    const refused = await one.lock({ name: 'taken', type: normal });
    is(refused, Result.VDI_LOCKED);
    assert.is(refused.vid, vid, 'the refusal says which');
    is(await one.lock({ name: 'taken', type: shared }), Result.VDI_LOCKED);
  }
  // Looking is free.
  is(await door.fresh(1).getVdiInfo({ name: 'taken' }), Result.SUCCESS);
  await image.close();
  is(await door.fresh(1).lock({ name: 'taken' }), Result.SUCCESS);
  ok(await door.fresh(1).release(vid));
});

it('shared locks exclude normal ones, and not each other', async (door) => {
  const vid = await create(door, 'together');
  const [one, two] = [await door.connect(0), await door.connect(1)];
  is(await one.calls.lock({ name: 'together', type: shared }), Result.SUCCESS);
  is(await two.calls.lock({ name: 'together', type: shared }), Result.SUCCESS);
  is(await door.fresh(2).lock({ name: 'together', type: normal }), Result.VDI_LOCKED);
  ok(await one.calls.release(vid, { type: shared }));
  is(await door.fresh(2).lock({ name: 'together', type: normal }), Result.VDI_LOCKED);
  ok(await two.calls.release(vid, { type: shared }));
  is(await door.fresh(2).lock({ name: 'together', type: normal }), Result.SUCCESS);
  ok(await door.fresh(2).release(vid));
});

it('the lock moves with the volume over a snapshot, and snapshots have none', async (door) => {
  await create(door, 'moves');
  const image = await QemuImage.open(door.address(), 'moves');
  await image.write(0, pattern(1, 4096));
  await image.snapshot('s');
  is(await door.fresh(1).lock({ name: 'moves' }), Result.VDI_LOCKED);
  for (const index of [0, 1, 2])
    is(await door.fresh(index).lock({ name: 'moves', tag: 's' }), Result.SUCCESS);
  await image.write(0, pattern(2, 4096));
  await image.deleteSnapshot({ tag: 's' });
  is(await door.fresh(1).lock({ name: 'moves' }), Result.VDI_LOCKED, 'the deletion left it as it was');
  await image.close();
  is(await door.fresh(1).lock({ name: 'moves' }), Result.SUCCESS);
});

it('the lock of a client that has died is free soon', async (door) => {
  await create(door, 'orphan');
  const image = await QemuImage.open(door.address(), 'orphan');
  await image.write(0, pattern(1, 4096));
  is(await door.fresh(1).lock({ name: 'orphan' }), Result.VDI_LOCKED);
  image.drop();
  await within(20_000, 'the lock is free', async () => {
    const { result } = await door.fresh(1).lock({ name: 'orphan' });
    return result === Result.SUCCESS;
  });
});

it('a client that reconnects keeps its lock', async (door) => {
  await create(door, 'returns');
  const image = await QemuImage.open(door.address(), 'returns');
  await image.write(0, pattern(1, 4096));
  await image.reconnect();
  await image.write(4096, pattern(2, 4096));
  is(await door.fresh(1).lock({ name: 'returns' }), Result.VDI_LOCKED);
  await image.close();
});

it('an administrator gives a volume free without asking its client', async (door) => {
  const vid = await create(door, 'freed');
  const image = await QemuImage.open(door.address(), 'freed');
  // As `dog vdi lock unlock` of the original: no payload, from another sheep.
  ok(await door.fresh(1).release(vid));
  is(await door.fresh(1).lock({ name: 'freed' }), Result.SUCCESS);
  image.drop();
});

it('the lock of a sheep that has died is free', async (door) => {
  await create(door, 'sheep-dies');
  const { calls } = await door.connect(2);
  is(await calls.lock({ name: 'sheep-dies' }), Result.SUCCESS);
  is(await door.fresh(1).lock({ name: 'sheep-dies' }), Result.VDI_LOCKED);
  await door.sheep(2).kill();
  await within(20_000, 'the lock is free', async () => {
    const { result } = await door.fresh(1).lock({ name: 'sheep-dies' });
    return result === Result.SUCCESS;
  });
  await door.sheep(2).start();
});

test.run();
