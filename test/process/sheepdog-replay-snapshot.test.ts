/** Captured sequences replayed: snapshots, clones, machine states, going back (reference 6.3 to 6.7, 6.11). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { inodeHeader } from '../../src/wire/inode.js';
import { dataOid, inodeOid, vmstateOid } from '../../src/wire/oid.js';
import { nameOfResult, Result } from '../../src/wire/sheepdog.js';
import { ok } from '../helpers/sheepdog-calls.js';
import { doorTests, pattern, type SheepdogDoor, untilGone } from '../helpers/sheepdog-door.js';
import { QemuImage, qemuCreate } from '../helpers/sheepdog-qemu.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const it = doorTests(test);

const is = (answer: { result: number }, wanted: number, message?: string) =>
  assert.is(nameOfResult(answer.result), nameOfResult(wanted), message);
const same = (found: Buffer, wanted: Buffer, message = 'the same bytes') =>
  assert.ok(found.equals(wanted), message);

/** A volume of eight objects of 1 MiB, opened; objects 0 to `objects` are written. */
async function open(door: SheepdogDoor, name: string, objects = 0): Promise<QemuImage> {
  ok(await qemuCreate(door.address(), { name, sizeBytes: 8 * MIB, blockSizeShift: 20 }));
  const image = await QemuImage.open(door.address(), name);
  for (let i = 0; i < objects; i++) await image.write(i * MIB, pattern(i, 8 * KIB));
  return image;
}

it('a snapshot keeps the old vid, and the volume goes on with the next one', async (door) => {
  const image = await open(door, 'snap', 3);
  const old = image.vid;
  const { vid, copies, blockSizeShift } = await image.snapshot('first');
  assert.equal([vid, copies, blockSizeShift], [old + 1, 3, 20]);
  const [before, now] = [await door.fresh(1).readInode(old), await door.fresh(2).readInode(vid)];
  assert.equal([before.header.tag, before.header.snapId, before.header.parentVid], ['first', 1, 0]);
  assert.ok(before.header.snapTime !== 0n);
  assert.equal([now.header.tag, now.header.snapId, now.header.parentVid], ['', 2, old]);
  assert.equal([now.header.name, now.header.snapTime, now.header.vid], ['snap', 0n, vid]);
  assert.equal([...before.index.subarray(0, 4)], [old, old, old, 0]);
  assert.equal(await door.fresh(2).readIndex(vid, 0, 4), [old, old, old, 0]);
  await image.close();
});

it('the data of a snapshot is read-only, its inode is not', async (door) => {
  const image = await open(door, 'read-only', 1);
  const old = image.vid;
  await image.snapshot('s');
  const { a } = image;
  is(await a.writeObj(dataOid(old, 0), 0, pattern(9, 512)), Result.READONLY);
  is(await a.createObj(dataOid(old, 0), 0, pattern(9, 512)), Result.READONLY);
  is(await a.createObj(dataOid(old, 5), 0, pattern(9, 512)), Result.READONLY);
  same(ok(await a.readObj(dataOid(old, 0), 0, 8 * KIB)).payload, pattern(0, 8 * KIB));
  const header = await image.fresh.readHeader(old);
  is(await a.writeObj(inodeOid(old), 0, inodeHeader.encode(header)), Result.SUCCESS);
  assert.is.not((await a.removeObj(dataOid(old, 0))).result, Result.SUCCESS);
  same(ok(await a.readObj(dataOid(old, 0), 0, 8 * KIB)).payload, pattern(0, 8 * KIB));
  await image.close();
});

it('a write behind a snapshot copies the object first', async (door) => {
  const image = await open(door, 'cow', 2);
  const old = image.vid;
  await image.snapshot('s');
  await image.write(4 * KIB, pattern(50, KIB));
  const wanted = pattern(0, 8 * KIB);
  pattern(50, KIB).copy(wanted, 4 * KIB);
  same(await image.read(0, 8 * KIB), wanted);
  assert.equal(await image.fresh.readIndex(image.vid, 0, 2), [image.vid, old]);
  const snapshot = await QemuImage.open(door.address(1), 'cow', { tag: 's' });
  same(await snapshot.read(0, 8 * KIB), pattern(0, 8 * KIB));
  assert.is(snapshot.isSnapshot, true);
  const nbd = await door.nbd('cow', 2);
  same(await nbd.read(0, 8 * KIB), wanted);
  await image.close();
  snapshot.drop();
});

it('what is copied is what the volume has, whatever parent the client names', async (door) => {
  // The original reads cow_oid, and answers NO_OBJ without it; here another door may have been quicker.
  const image = await open(door, 'parents', 2);
  const old = image.vid;
  await image.snapshot('s');
  const to = dataOid(image.vid, 0);
  ok(await image.a.createObj(to, 512, pattern(1, 512), { cowOid: dataOid(old, 1) }));
  const wanted = pattern(0, 8 * KIB);
  pattern(1, 512).copy(wanted, 512);
  same(ok(await image.a.readObj(to, 0, 8 * KIB)).payload, wanted);
  ok(await image.a.createObj(dataOid(image.vid, 1), 0, pattern(2, MIB), { cowOid: dataOid(old, 7) }));
  same(ok(await image.a.readObj(dataOid(image.vid, 1), 0, MIB)).payload, pattern(2, MIB));
  await image.close();
});

it('a snapshot made by somebody else: READONLY, and the request goes to the new volume', async (door) => {
  const image = await open(door, 'behind', 2);
  const old = image.vid;
  await door.cluster.sheep[1]!.call('vdi.snapshot', { name: 'behind', tag: 'dog' });
  is(await image.a.writeObj(dataOid(old, 0), 0, pattern(9, 512)), Result.READONLY);
  await image.write(KIB, pattern(51, KIB));
  assert.ok(image.vid !== old);
  const wanted = pattern(0, 8 * KIB);
  pattern(51, KIB).copy(wanted, KIB);
  same(await image.read(0, 8 * KIB), wanted);
  const nbd = await door.nbd('behind', 2);
  same(await nbd.read(0, 8 * KIB), wanted);
  const snapshot = await door.nbd('behind@dog', 0);
  same(await snapshot.read(0, 8 * KIB), pattern(0, 8 * KIB));
  await image.close();
});

it('the machine state is kept byte by byte, and gone with its snapshot', async (door) => {
  const image = await open(door, 'vmstate', 1);
  const old = image.vid;
  const state = pattern(60, 2 * MIB + 777);
  const pieces = [191, 26, 32_768, 3, MIB];
  let at = 0;
  for (const bytes of [...pieces, state.length - pieces.reduce((a, b) => a + b)]) {
    await image.saveVmState(at, state.subarray(at, at + bytes));
    at += bytes;
  }
  await image.snapshot('vm', BigInt(state.length), 123_456_789n);
  const rows = await image.listSnapshots();
  assert.equal(rows, [{ id: 1, tag: 'vm', vid: old, vmStateSize: BigInt(state.length) }]);
  assert.is((await image.fresh.readHeader(old)).vmClockNsec, 123_456_789n);
  await image.goto({ tag: 'vm' });
  assert.is(image.header.parentVid, old);
  same(await image.loadVmState(0, state.length), state);
  same(await image.read(0, 8 * KIB), pattern(0, 8 * KIB));
  // D17: the state does not outlive its snapshot.
  ok(await image.fresh.delVdi({ name: 'vmstate', tag: 'vm' }));
  await untilGone(door, vmstateOid(old, 0));
  same(await image.read(0, 8 * KIB), pattern(0, 8 * KIB));
  await image.close();
});

it('snapshots are listed by probing from the hash of the name', async (door) => {
  const image = await open(door, 'listed');
  assert.equal(await image.listSnapshots(), []);
  for (const tag of ['a', 'b', 'c']) await image.snapshot(tag);
  const tags = async () => (await image.listSnapshots()).map(({ id, tag }) => `${id} ${tag}`);
  assert.equal(await tags(), ['1 a', '2 b', '3 c']);
  ok(await image.fresh.delVdi({ name: 'listed', tag: 'a' }));
  assert.equal(await tags(), ['2 b', '3 c'], 'the first one deleted leaves no gap');
  ok(await image.fresh.delVdi({ name: 'listed', snapId: 2 }));
  assert.equal(await tags(), ['3 c']);
  await image.close();
});

it('another volume on the way that is deleted leaves no gap in the probing', async (door) => {
  // Both names hash to the same vid.
  ok(await qemuCreate(door.address(), { name: 'w1f90', sizeBytes: MIB }));
  ok(await qemuCreate(door.address(), { name: 'w24s1', sizeBytes: MIB }));
  const image = await QemuImage.open(door.address(), 'w24s1');
  await image.snapshot('kept');
  ok(await door.fresh().delVdi({ name: 'w1f90' }));
  assert.equal(
    (await image.listSnapshots()).map(({ tag }) => tag),
    ['kept'],
  );
  await image.close();
});

it('going back to a snapshot drops what came after it', async (door) => {
  const image = await open(door, 'goto', 2);
  await image.snapshot('good');
  await image.write(0, pattern(70, 8 * KIB));
  await image.write(5 * MIB, pattern(71, 8 * KIB));
  await image.goto({ tag: 'good' });
  same(await image.read(0, 8 * KIB), pattern(0, 8 * KIB));
  assert.ok((await image.read(5 * MIB, 8 * KIB)).every((byte) => byte === 0));
  await image.write(0, pattern(72, 8 * KIB));
  const again = await QemuImage.open(door.address(1), 'goto');
  assert.is(again.vid, image.vid);
  same(await again.read(0, 8 * KIB), pattern(72, 8 * KIB));
  same(await again.read(MIB, 8 * KIB), pattern(1, 8 * KIB));
  assert.equal(
    (await again.listSnapshots()).map(({ tag }) => tag),
    ['good'],
  );
  const { sizeBytes } = await door.cluster.call('vdi.info', { name: 'goto' });
  assert.is(sizeBytes, 8 * MIB);
  await image.close();
  again.drop();
});

it('the first write to an opened snapshot makes it the working volume', async (door) => {
  const image = await open(door, 'write-snapshot', 2);
  await image.snapshot('s');
  await image.write(0, pattern(80, 8 * KIB));
  await image.close();
  const opened = await QemuImage.open(door.address(1), 'write-snapshot', { tag: 's' });
  await opened.write(4 * KIB, pattern(81, KIB));
  const wanted = pattern(0, 8 * KIB);
  pattern(81, KIB).copy(wanted, 4 * KIB);
  same(await opened.read(0, 8 * KIB), wanted);
  await opened.close();
  const again = await QemuImage.open(door.address(2), 'write-snapshot');
  same(await again.read(0, 8 * KIB), wanted);
  await again.close();
});

it('going back with NEW_VDI alone keeps what was as one more snapshot', async (door) => {
  const image = await open(door, 'rebase', 2);
  const base = image.vid;
  await image.snapshot('s');
  await image.write(0, pattern(90, 8 * KIB));
  const current = image.vid;
  // QEMU does this when its DEL_VDI has failed.
  const { vid } = ok(
    await image.fresh.newVdi({
      name: 'rebase',
      sizeBytes: 8 * MIB,
      baseVid: base,
      snapId: 1,
      blockSizeShift: 20,
    }),
  );
  const [kept, now] = [await image.fresh.readHeader(current), await image.fresh.readHeader(vid)];
  assert.ok(kept.snapTime !== 0n);
  assert.equal([now.parentVid, now.snapTime, now.snapId], [base, 0n, kept.snapId + 1]);
  same(await image.fresh.readData(vid, 0, 0, 8 * KIB), pattern(0, 8 * KIB));
  same(await image.fresh.readData(current, 0, 0, 8 * KIB), pattern(90, 8 * KIB));
  await image.close();
});

it('a clone shares the data of its base and writes its own', async (door) => {
  const image = await open(door, 'origin', 3);
  const base = image.vid;
  await image.snapshot('base');
  const backing = await QemuImage.open(door.address(), 'origin', { tag: 'base' });
  await backing.close();
  const vdi = { name: 'clone', sizeBytes: 8 * MIB, blockSizeShift: 20, baseVid: base };
  const { vid } = ok(await qemuCreate(door.address(1), vdi));
  const clone = await QemuImage.open(door.address(1), 'clone');
  assert.equal([clone.vid, clone.header.parentVid, clone.header.snapId], [vid, base, 1]);
  assert.equal([...clone.index.subarray(0, 4)], [base, base, base, 0]);
  await clone.write(MIB, pattern(95, 8 * KIB));
  same(await clone.read(0, 8 * KIB), pattern(0, 8 * KIB));
  same(await clone.read(MIB, 8 * KIB), pattern(95, 8 * KIB));
  same(await image.read(MIB, 8 * KIB), pattern(1, 8 * KIB));
  await clone.close();
  await image.close();
});

it('shared data lives until the last of its family is deleted', async (door) => {
  // The worked example of 6.7.
  const image = await open(door, 'family', 3);
  const { fresh } = image;
  const s1 = image.vid;
  await image.snapshot('s1');
  await image.write(0, pattern(40, KIB));
  await image.write(MIB, pattern(41, KIB));
  const s2 = image.vid;
  await image.snapshot('s2');
  ok(await fresh.newVdi({ name: 'family-clone', sizeBytes: 8 * MIB, baseVid: s2, blockSizeShift: 20 }));
  await image.close();
  const there = () => fresh.readObj(dataOid(s1, 2), 0, 8 * KIB);
  const gone = (vid: number, index: number) => untilGone(door, dataOid(vid, index));
  ok(await fresh.delVdi({ name: 'family', tag: 's1' }));
  await gone(s1, 0);
  await gone(s1, 1);
  same(ok(await there()).payload, pattern(2, 8 * KIB));
  ok(await fresh.delVdi({ name: 'family', tag: 's2' }));
  same(ok(await there()).payload, pattern(2, 8 * KIB));
  ok(await fresh.delVdi({ name: 'family' }));
  same(ok(await there()).payload, pattern(2, 8 * KIB));
  const clone = await QemuImage.open(door.address(2), 'family-clone');
  same(await clone.read(0, KIB), pattern(40, KIB));
  same(await clone.read(2 * MIB, 8 * KIB), pattern(2, 8 * KIB));
  await clone.close();
  ok(await fresh.delVdi({ name: 'family-clone' }));
  await gone(s1, 2);
  await gone(s2, 0);
});

it('rolling back as dog does: delete, then create from the snapshot', async (door) => {
  const image = await open(door, 'rolled', 2);
  const base = image.vid;
  await image.snapshot('s');
  await image.write(0, pattern(45, 8 * KIB));
  await image.close();
  const fresh = door.fresh(1);
  ok(await fresh.delVdi({ name: 'rolled' }));
  is(await fresh.getVdiInfo({ name: 'rolled' }), Result.NO_VDI);
  ok(await fresh.getVdiInfo({ name: 'rolled', tag: 's' }));
  const { vid } = ok(
    await fresh.newVdi({ name: 'rolled', sizeBytes: 8 * MIB, baseVid: base, blockSizeShift: 20 }),
  );
  same(await fresh.readData(vid, 0, 0, 8 * KIB), pattern(0, 8 * KIB));
  assert.is(ok(await fresh.getVdiInfo({ name: 'rolled' })).vid, vid);
});

it('the original tags while it works: 256 bytes at 256', async (door) => {
  const image = await open(door, 'dog-tags', 1);
  const tag = Buffer.alloc(256);
  tag.write('by-dog');
  ok(await image.fresh.writeObj(inodeOid(image.vid), 256, tag));
  ok(await image.fresh.newVdi({ name: 'dog-tags', sizeBytes: 8 * MIB, baseVid: image.vid, snapId: 1 }));
  ok(await image.fresh.getVdiInfo({ name: 'dog-tags', tag: 'by-dog' }));
  const { snapshot } = await door.cluster.call('vdi.info', { name: 'dog-tags', tag: 'by-dog' });
  assert.is(snapshot, true);
  await image.close();
});

test.run();
