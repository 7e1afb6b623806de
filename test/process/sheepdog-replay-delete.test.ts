/**
 * QEMU's deletion of a snapshot replayed (6.11, 10.1 D1): it empties the index of the working volume by mistake, then
 * deletes the snapshot. The original lost everything with exit code 0. Here nothing may be lost; and a guest that
 * really discards must not get its data back.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { dataOid } from '../../src/wire/oid.js';
import { nameOfResult, Result } from '../../src/wire/sheepdog.js';
import { ok } from '../helpers/sheepdog-calls.js';
import { doorTests, pattern, type SheepdogDoor, untilGone } from '../helpers/sheepdog-door.js';
import { QemuImage, qemuCreate } from '../helpers/sheepdog-qemu.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const SLOW_MS = 8000;
const it = doorTests(test);

const is = (answer: { result: number }, wanted: number, message?: string) =>
  assert.is(nameOfResult(answer.result), nameOfResult(wanted), message);
const same = (found: Buffer, wanted: Buffer, message = 'the same bytes') =>
  assert.ok(found.equals(wanted), message);

async function open(door: SheepdogDoor, name: string, objects: number): Promise<QemuImage> {
  ok(await qemuCreate(door.address(), { name, sizeBytes: 200 * MIB, blockSizeShift: 20 }));
  const image = await QemuImage.open(door.address(), name);
  await write(image, objects, 0);
  return image;
}

async function write(image: QemuImage, objects: number, seed: number): Promise<void> {
  for (let i = 0; i < objects; i++) await image.write(i * MIB, pattern(seed + i, 4 * KIB));
}

/** Looks with the eyes of a newcomer, at every object. */
async function check(door: SheepdogDoor, name: string, objects: number, seed: number, tag?: string) {
  const image = await QemuImage.open(door.address(1), name, tag === undefined ? {} : { tag });
  for (let i = 0; i < objects; i++) {
    same(await image.read(i * MIB, 4 * KIB), pattern(seed + i, 4 * KIB), `object ${i} of ${tag ?? name}`);
  }
  await image.close();
}

it('deleting the only snapshot as QEMU does loses nothing of the working volume', async (door) => {
  const image = await open(door, 'd1', 3);
  const old = image.vid;
  await image.snapshot('s');
  await write(image, 2, 100);
  is(await image.deleteSnapshot({ tag: 's' }), Result.SUCCESS);
  image.drop();
  const again = await QemuImage.open(door.address(1), 'd1');
  assert.equal(await again.listSnapshots(), []);
  same(await again.read(0, 4 * KIB), pattern(100, 4 * KIB));
  same(await again.read(MIB, 4 * KIB), pattern(101, 4 * KIB));
  same(await again.read(2 * MIB, 4 * KIB), pattern(2, 4 * KIB), 'what was shared with the snapshot');
  const nbd = await door.nbd('d1', 2);
  same(await nbd.read(2 * MIB, 4 * KIB), pattern(2, 4 * KIB));
  await untilGone(door, dataOid(old, 0));
  await again.close();
});

it('an index of more than one batch is restored whole', async (door) => {
  const image = await open(door, 'd1-large', 150);
  await image.snapshot('s');
  await write(image, 10, 1000);
  is(await image.deleteSnapshot({ tag: 's' }), Result.SUCCESS);
  image.drop();
  const again = await QemuImage.open(door.address(2), 'd1-large');
  for (let i = 0; i < 150; i++) {
    same(await again.read(i * MIB, 4 * KIB), pattern(i < 10 ? 1000 + i : i, 4 * KIB), `object ${i}`);
  }
  await again.close();
});

it('any snapshot of a chain goes, by tag or by id, and the others stay', async (door) => {
  const image = await open(door, 'd1-chain', 3);
  for (const [i, tag] of ['a', 'b', 'c'].entries()) {
    await image.snapshot(tag);
    await write(image, 2, 100 * (i + 1));
  }
  is(await image.deleteSnapshot({ tag: 'b' }), Result.SUCCESS);
  image.drop();
  await check(door, 'd1-chain', 2, 300);
  await check(door, 'd1-chain', 3, 0, 'a');
  await check(door, 'd1-chain', 2, 200, 'c');
  const second = await QemuImage.open(door.address(), 'd1-chain');
  is(await second.deleteSnapshot({ snapId: 1 }), Result.SUCCESS);
  second.drop();
  const third = await QemuImage.open(door.address(), 'd1-chain');
  is(await third.deleteSnapshot({ tag: 'c' }), Result.SUCCESS);
  third.drop();
  await check(door, 'd1-chain', 2, 300);
  const last = await QemuImage.open(door.address(), 'd1-chain');
  assert.equal(await last.listSnapshots(), []);
  same(await last.read(2 * MIB, 4 * KIB), pattern(2, 4 * KIB));
  await last.close();
});

it('a volume in which everything is its own is restored too', async (door) => {
  const image = await open(door, 'd1-own', 2);
  await image.snapshot('s');
  await write(image, 2, 100);
  is(await image.deleteSnapshot({ tag: 's' }), Result.SUCCESS);
  image.drop();
  await check(door, 'd1-own', 2, 100);
});

it('the index is whole again for who has it open by another door', async (door) => {
  const image = await open(door, 'd1-nbd', 2);
  const nbd = await door.nbd('d1-nbd', 1);
  await image.snapshot('s');
  await nbd.write(0, pattern(500, 4 * KIB));
  const second = await QemuImage.open(door.address(2), 'd1-nbd');
  is(await second.deleteSnapshot({ tag: 's' }), Result.SUCCESS);
  second.drop();
  image.drop();
  same(await nbd.read(0, 4 * KIB), pattern(500, 4 * KIB));
  same(await nbd.read(MIB, 4 * KIB), pattern(1, 4 * KIB));
  await nbd.write(8 * KIB, pattern(501, 4 * KIB));
  same(await nbd.read(8 * KIB, 4 * KIB), pattern(501, 4 * KIB));
});

it('what a guest has discarded before stays discarded', async (door) => {
  const image = await open(door, 'd1-discard', 3);
  await image.snapshot('s');
  await write(image, 1, 100);
  await image.discard(0);
  await image.discard(1);
  is(await image.deleteSnapshot({ tag: 's' }), Result.SUCCESS);
  image.drop();
  const again = await QemuImage.open(door.address(1), 'd1-discard');
  assert.ok((await again.read(0, 2 * MIB)).every((byte) => byte === 0));
  same(await again.read(2 * MIB, 4 * KIB), pattern(2, 4 * KIB));
  await again.close();
});

it('a deletion that names a snapshot that is not there loses nothing either', async (door) => {
  const image = await open(door, 'd1-missing', 2);
  await image.snapshot('s');
  await write(image, 1, 100);
  await image.emptyIndex();
  is(await image.fresh.lock({ name: 'd1-missing', tag: 'other' }), Result.NO_TAG);
  image.drop();
  const again = await QemuImage.open(door.address(1), 'd1-missing');
  same(await again.read(0, 4 * KIB), pattern(100, 4 * KIB));
  same(await again.read(MIB, 4 * KIB), pattern(1, 4 * KIB));
  await again.close();
});

it('a client that is slow to close its connection loses nothing', async (door) => {
  const image = await open(door, 'd1-slow', 2);
  await image.snapshot('s');
  await write(image, 1, 100);
  const { client, calls } = await door.connect();
  ok(await calls.writeIndex(image.vid, 0, [0, 0]));
  // Its host is busy, or it is being debugged.
  await sleep(systemClock, SLOW_MS);
  client.close();
  ok(await image.fresh.delVdi({ name: 'd1-slow', tag: 's' }));
  image.drop();
  const again = await QemuImage.open(door.address(1), 'd1-slow');
  same(await again.read(0, 4 * KIB), pattern(100, 4 * KIB));
  same(await again.read(MIB, 4 * KIB), pattern(1, 4 * KIB));
  await again.close();
});

it('dog deletes a volume by emptying its index first: all of it goes', async (door) => {
  const image = await open(door, 'dog-delete', 3);
  const { vid } = image;
  await image.close();
  await image.emptyIndex();
  ok(await image.fresh.delVdi({ name: 'dog-delete' }));
  for (let i = 0; i < 3; i++) {
    await untilGone(door, dataOid(vid, i));
  }
  is(await door.fresh().getVdiInfo({ name: 'dog-delete' }), Result.NO_VDI);
});

it('DEL_VDI alone deletes a volume with data, at once for everybody', async (door) => {
  const image = await open(door, 'alone', 3);
  const { vid } = image;
  await image.close();
  ok(await door.fresh(1).delVdi({ name: 'alone' }));
  for (const index of [0, 1, 2]) is(await door.fresh(index).getVdiInfo({ name: 'alone' }), Result.NO_VDI);
  const rows = await door.cluster.call('vdi.list', {});
  assert.not.ok(rows.some(({ name }) => name === 'alone'));
  await untilGone(door, dataOid(vid, 2));
});

test.run();
