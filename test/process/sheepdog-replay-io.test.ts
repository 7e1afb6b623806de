/** Captured sequences replayed: a guest's reads, writes, flushes, discards, and resizing (2.3, 6.7, 6.11). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { dataOid, inodeOid } from '../../src/wire/oid.js';
import { Flag, nameOfResult, Op, Result } from '../../src/wire/sheepdog.js';
import { ok, type SheepdogCalls } from '../helpers/sheepdog-calls.js';
import { doorTests, pattern, type SheepdogDoor, untilGone } from '../helpers/sheepdog-door.js';
import { QemuImage, qemuCreate } from '../helpers/sheepdog-qemu.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const OBJECT_BYTES = MIB;
const it = doorTests(test);

const is = (answer: { result: number }, wanted: number, message?: string) =>
  assert.is(nameOfResult(answer.result), nameOfResult(wanted), message);
const same = (found: Buffer, wanted: Buffer, message = 'the same bytes') =>
  assert.ok(found.equals(wanted), message);

/** A volume of eight objects of 1 MiB, opened. */
async function open(door: SheepdogDoor, name: string, options = {}): Promise<QemuImage> {
  ok(await qemuCreate(door.address(), { name, sizeBytes: 8 * OBJECT_BYTES, blockSizeShift: 20 }));
  return QemuImage.open(door.address(), name, options);
}

it('a write into a hole, a read, and the index that QEMU writes behind it', async (door) => {
  const image = await open(door, 'hole');
  const data = pattern(1, 20 * KIB);
  await image.write(3 * OBJECT_BYTES + 4 * KIB, data);
  same(await image.read(3 * OBJECT_BYTES + 4 * KIB, data.length), data);
  const around = await image.read(3 * OBJECT_BYTES, OBJECT_BYTES);
  assert.ok(around.subarray(0, 4 * KIB).every((byte) => byte === 0));
  assert.ok(around.subarray(24 * KIB).every((byte) => byte === 0));
  assert.equal(await door.fresh(1).readIndex(image.vid, 0, 8), [0, 0, 0, image.vid, 0, 0, 0, 0]);
  await image.close();
});

it('a guest request over several objects writes their index entries with one message', async (door) => {
  const image = await open(door, 'several');
  const data = pattern(2, 3 * OBJECT_BYTES);
  await image.write(OBJECT_BYTES / 2, data);
  const again = await QemuImage.open(door.address(1), 'several');
  same(await again.read(OBJECT_BYTES / 2, data.length), data);
  const { vid } = image;
  assert.equal(await door.fresh(2).readIndex(vid, 0, 5), [vid, vid, vid, vid, 0]);
  await image.close();
  again.drop();
});

it('entries between those that changed are written again with what they had', async (door) => {
  const image = await open(door, 'between');
  await image.write(OBJECT_BYTES, pattern(3, KIB));
  const data = pattern(4, 3 * OBJECT_BYTES);
  await image.write(0, data);
  same(await image.read(0, data.length), data);
  const fresh = await QemuImage.open(door.address(2), 'between');
  same(await fresh.read(0, data.length), data);
  await image.close();
  fresh.drop();
});

it('an allocated object is written in place, to the byte', async (door) => {
  const image = await open(door, 'allocated');
  const wanted = pattern(5, 64 * KIB);
  await image.write(0, wanted);
  for (const [at, bytes] of [
    [1, 1],
    [511, 2],
    [4095, 4098],
    [20_000, 7],
  ] as const) {
    const piece = pattern(at, bytes);
    piece.copy(wanted, at);
    await image.write(at, piece);
  }
  same(await image.read(0, wanted.length), wanted);
  await image.close();
});

it('requests that are outstanding together are all answered, each by its id', async (door) => {
  const image = await open(door, 'pipelined');
  await image.write(0, pattern(6, OBJECT_BYTES));
  const { client, calls } = await door.connect();
  const oid = dataOid(image.vid, 0);
  const answers = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const id = 1000 + i;
      if (i % 3 === 0) return calls.writeObj(oid, i * 4 * KIB, pattern(i, 4 * KIB), { id });
      if (i % 3 === 1) return calls.readObj(oid, i * KIB, 512, { id });
      return calls.readObj(inodeOid(image.vid), 0, 4664, { id });
    }),
  );
  assert.ok(answers.every(({ result }) => result === Result.SUCCESS));
  for (let i = 0; i < 200; i += 3) {
    same(ok(await calls.readObj(oid, i * 4 * KIB, 4 * KIB)).payload, pattern(i, 4 * KIB));
  }
  assert.ok(client.open);
  await image.close();
});

it('FLUSH_VDI succeeds, and writes through come without it', async (door) => {
  const image = await open(door, 'flushed');
  await image.write(0, pattern(7, 4 * KIB));
  assert.is(await image.flush(), Result.SUCCESS);
  await image.close();
  const through = await QemuImage.open(door.address(), 'flushed', { cacheNone: true });
  await through.write(0, pattern(8, 4 * KIB));
  assert.is(await through.flush(), undefined);
  same(await through.read(0, 4 * KIB), pattern(8, 4 * KIB));
  await through.close();
});

it('objects of volumes that are not there are NO_OBJ', async (door) => {
  const { calls } = await door.connect();
  const unknown = dataOid(0x123456, 0);
  is(await calls.readObj(unknown, 0, 4 * KIB), Result.NO_OBJ);
  is(await calls.writeObj(unknown, 0, pattern(9, KIB)), Result.NO_OBJ);
  is(await calls.createObj(unknown, 0, pattern(9, KIB)), Result.NO_OBJ);
  is(await calls.removeObj(unknown), Result.NO_OBJ);
});

it('a hole of a working volume reads as zeros and can be written, as another door may have filled it', async (door) => {
  // The original answers NO_OBJ: its clients' picture of the index is right, as nobody else writes.
  const image = await open(door, 'no-object');
  const oid = dataOid(image.vid, 2);
  is(await image.a.removeObj(oid), Result.NO_OBJ);
  const { payload } = ok(await image.a.readObj(oid, 0, 4 * KIB));
  assert.ok(payload.length === 4 * KIB && payload.every((byte) => byte === 0));
  ok(await image.a.writeObj(oid, 512, pattern(9, KIB)));
  same(ok(await image.a.readObj(oid, 512, KIB)).payload, pattern(9, KIB));
  await image.close();
});

it('reads and creations of no bytes succeed', async (door) => {
  const image = await open(door, 'nothing');
  const none = Buffer.alloc(0);
  is(await image.a.readObj(inodeOid(image.vid), 4664, 0), Result.SUCCESS);
  is(await image.a.createObj(dataOid(image.vid, 0), 0, none), Result.SUCCESS);
  ok(await image.a.writeIndex(image.vid, 0, [image.vid]));
  const { payload } = ok(await image.a.readObj(dataOid(image.vid, 0), 0, OBJECT_BYTES));
  assert.is(payload.length, OBJECT_BYTES);
  assert.ok(payload.every((byte) => byte === 0));
  await image.close();
});

it('what lies beyond the end of an object is refused, and the object stays as it is', async (door) => {
  const image = await open(door, 'beyond');
  const data = pattern(10, OBJECT_BYTES);
  await image.write(0, data);
  const oid = dataOid(image.vid, 0);
  const { a } = image;
  is(await a.writeObj(oid, OBJECT_BYTES, pattern(1, 1)), Result.INVALID_PARMS, 'right behind the end');
  is(await a.writeObj(oid, OBJECT_BYTES - 512, pattern(1, 513)), Result.INVALID_PARMS, 'across the end');
  is(await a.writeObj(oid, 0xffffffff, pattern(1, 4 * KIB)), Result.INVALID_PARMS, 'far behind');
  is(await a.createObj(dataOid(image.vid, 1), OBJECT_BYTES - 1, pattern(1, 2)), Result.INVALID_PARMS);
  assert.equal(await a.readIndex(image.vid, 0, 2), [image.vid, 0]);
  same(ok(await a.readObj(oid, 0, OBJECT_BYTES)).payload, data);
  await image.close();
});

it('a discarded object is a hole, and the server frees it', async (door) => {
  const image = await open(door, 'discarded');
  await image.write(0, pattern(11, 2 * OBJECT_BYTES));
  await image.discard(0);
  assert.equal(await door.fresh(1).readIndex(image.vid, 0, 2), [0, image.vid]);
  await untilGone(door, dataOid(image.vid, 0));
  const nbd = await door.nbd('discarded', 1);
  assert.ok((await nbd.read(0, OBJECT_BYTES)).every((byte) => byte === 0));
  // And it can be written again.
  await image.write(KIB, pattern(12, KIB));
  same(await image.read(KIB, KIB), pattern(12, KIB));
  assert.ok((await image.read(0, KIB)).every((byte) => byte === 0));
  await image.close();
});

it('DISCARD_OBJ empties the index entry and removes the object', async (door) => {
  const image = await open(door, 'discard-obj');
  await image.write(0, pattern(13, 4 * KIB));
  const oid = dataOid(image.vid, 0);
  is(await image.fresh.discardObj(oid), Result.SUCCESS);
  assert.equal(await image.fresh.readIndex(image.vid, 0, 1), [0]);
  await untilGone(door, oid);
  is(await image.fresh.discardObj(oid), Result.SUCCESS, 'a hole stays a hole');
  is(await image.fresh.discardObj(dataOid(0x123456, 0)), Result.NO_OBJ, 'no such inode');
  await image.close();
});

it('resizing is a header write, which every door sees', async (door) => {
  const image = await open(door, 'grown');
  await image.write(0, pattern(14, 4 * KIB));
  await image.resize(16 * OBJECT_BYTES);
  assert.is((await door.fresh(1).readHeader(image.vid)).vdiSize, BigInt(16 * OBJECT_BYTES));
  assert.is((await door.cluster.call('vdi.info', { name: 'grown' })).sizeBytes, 16 * OBJECT_BYTES);
  await image.write(15 * OBJECT_BYTES, pattern(15, 4 * KIB));
  const nbd = await door.nbd('grown', 2);
  assert.is(nbd.sizeBytes, 16 * OBJECT_BYTES);
  same(await nbd.read(15 * OBJECT_BYTES, 4 * KIB), pattern(15, 4 * KIB));
  await image.close();
});

it('a write beyond the end of the volume resizes first', async (door) => {
  const image = await open(door, 'append');
  await image.write(8 * OBJECT_BYTES, pattern(16, 4 * KIB));
  same(await image.read(8 * OBJECT_BYTES, 4 * KIB), pattern(16, 4 * KIB));
  assert.is((await door.fresh().readHeader(image.vid)).vdiSize, BigInt(8 * OBJECT_BYTES + 4 * KIB));
  await image.close();
});

it('a size that another has changed is not taken back by an old header', async (door) => {
  const image = await open(door, 'old-header');
  await door.cluster.call('vdi.resize', { name: 'old-header', sizeBytes: 32 * OBJECT_BYTES });
  await image.snapshot('s1');
  assert.is((await door.cluster.call('vdi.info', { name: 'old-header' })).sizeBytes, 32 * OBJECT_BYTES);
  await image.close();
});

it('what one door writes the other reads, at once and both ways', async (door) => {
  const image = await open(door, 'two-doors');
  const nbd = await door.nbd('two-doors', 1);
  await image.write(0, pattern(17, 64 * KIB));
  same(await nbd.read(0, 64 * KIB), pattern(17, 64 * KIB));
  await nbd.write(4 * KIB, pattern(18, 8 * KIB));
  same(await image.read(4 * KIB, 8 * KIB), pattern(18, 8 * KIB));
  await nbd.write(5 * OBJECT_BYTES, pattern(19, 8 * KIB));
  const late = await QemuImage.open(door.address(2), 'two-doors');
  same(await late.read(5 * OBJECT_BYTES, 8 * KIB), pattern(19, 8 * KIB));
  await image.close();
  late.drop();
});

it('a creation from a stale index keeps what another door has put there', async (door) => {
  const image = await open(door, 'stale-index');
  const nbd = await door.nbd('stale-index', 1);
  await nbd.write(0, pattern(20, 4 * KIB));
  // QEMU still takes the object for a hole.
  await image.write(8 * KIB, pattern(21, 4 * KIB));
  for (const read of [(at: number) => image.read(at, 4 * KIB), (at: number) => nbd.read(at, 4 * KIB)]) {
    same(await read(0), pattern(20, 4 * KIB), 'what NBD wrote');
    same(await read(8 * KIB), pattern(21, 4 * KIB), 'what QEMU wrote');
  }
  await image.close();
});

it('requests that a broken connection left open are sent again with their ids', async (door) => {
  const image = await open(door, 'resent');
  const oid = dataOid(image.vid, 0);
  const data = pattern(22, 64 * KIB);
  const first = await door.connect();
  // Sent, and gone before the answer.
  void first.calls.createObj(oid, 0, data, { id: 7, flags: Flag.CACHE }).catch(() => {});
  first.client.close();
  const second = await door.connect(1);
  ok(await second.calls.createObj(oid, 0, data, { id: 7, flags: Flag.CACHE }));
  ok(await second.calls.writeIndex(image.vid, 0, [image.vid], { id: 8 }));
  ok(await second.calls.writeIndex(image.vid, 0, [image.vid], { id: 8 }));
  same(ok(await second.calls.readObj(oid, 0, data.length)).payload, data);
  await image.reconnect();
  image.index[0] = image.vid;
  await image.write(KIB, pattern(23, KIB));
  same(await image.read(KIB, KIB), pattern(23, KIB));
  await image.close();
});

it('connections that say nothing, or leave with a reset, disturb nobody', async (door) => {
  const image = await open(door, 'quiet');
  for (let i = 0; i < 20; i++) {
    const { client } = await door.connect();
    if (i % 2 === 0) client.reset();
    else client.close();
  }
  await image.write(0, pattern(24, KIB));
  same(await image.read(0, KIB), pattern(24, KIB));
  await image.close();
});

async function objectOf(calls: SheepdogCalls, vid: number, index: number, shift: number): Promise<void> {
  const bytes = 2 ** shift;
  const oid = dataOid(vid, index);
  ok(await calls.createObj(oid, bytes - 512, pattern(shift, 512)));
  ok(await calls.writeIndex(vid, index, [vid]));
  same(ok(await calls.readObj(oid, bytes - 512, 512)).payload, pattern(shift, 512));
  is(await calls.writeObj(oid, bytes - 511, pattern(1, 512)), Result.INVALID_PARMS);
}

it('objects are as large as the shift says', async (door) => {
  const { calls } = await door.connect();
  for (const shift of [20, 21, 22, 24, 26, 31]) {
    const vdi = { name: `shift-${shift}`, sizeBytes: 2 ** (shift + 2), blockSizeShift: shift };
    const { vid } = ok(await calls.newVdi(vdi));
    await objectOf(calls, vid, 1, shift);
  }
});

it('a shift out of range is refused', async (door) => {
  for (const blockSizeShift of [1, 19, 32, 64, 255]) {
    const made = await door.fresh().newVdi({ name: `bad-${blockSizeShift}`, sizeBytes: MIB, blockSizeShift });
    is(made, Result.INVALID_PARMS);
  }
  is(await door.fresh().getVdiInfo({ name: 'bad-19' }), Result.NO_VDI);
});

it('payload is taken only with the WRITE flag, whatever the operation', async (door) => {
  const { client, calls } = await door.connect();
  // Without the flag nothing follows: the next header comes at once.
  const wrong = client.request({ opcode: Op.WRITE_OBJ, flags: 0, dataLength: 4096 });
  assert.is.not((await wrong).result, Result.SUCCESS);
  const { vid } = ok(await calls.newVdi({ name: 'flagged', sizeBytes: MIB }));
  // With it something follows, though a read needs nothing.
  const payload = Buffer.alloc(100);
  await client.request({ opcode: Op.READ_OBJ, version: 0, flags: Flag.WRITE, payload });
  ok(await calls.readObj(inodeOid(vid), 0, 512));
});

test.run();
