/** Captured sequences of clients replayed: opening, creating, looking up (reference 2.4, 6.1 to 6.3, 6.11, A.3). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { HEADER_BYTES } from '../../src/wire/headers.js';
import { INODE_BYTES, INODE_CLIENT_BYTES, INODE_HEADER_BYTES, inodeHeader } from '../../src/wire/inode.js';
import { inodeOid } from '../../src/wire/oid.js';
import { nameOfResult, Op, Result } from '../../src/wire/sheepdog.js';
import { mustBe, namePayload, ok, type VdiAnswer } from '../helpers/sheepdog-calls.js';
import { doorTests } from '../helpers/sheepdog-door.js';
import { QemuImage, qemuCreate } from '../helpers/sheepdog-qemu.js';

const MIB = 1024 * 1024;
const it = doorTests(test);

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
const is = (answer: { result: number }, wanted: number) =>
  assert.is(nameOfResult(answer.result), nameOfResult(wanted));

it('the defaults of the cluster are answered', async (door) => {
  const { reply, ...defaults } = ok(await door.fresh().clusterDefault());
  assert.is(defaults.copies, 3);
  assert.is(defaults.copyPolicy, 0);
  assert.is(defaults.blockSizeShift, 22);
  assert.is(reply.dataLength, 0);
});

it('a new volume gets the vid that its name hashes to', async (door) => {
  for (const [name, vid] of [
    ['test', 0x7c2b25],
    ['alice', 0xa03907],
    ['with space', 0xeceaa7],
    ['tést', 0xb2c8d4],
  ] as const) {
    const made = ok(await qemuCreate(door.address(), { name, sizeBytes: MIB }));
    assert.is(made.vid, vid);
    assert.is(made.copies, 3);
    assert.is(made.blockSizeShift, 22);
  }
});

it('LOCK_VDI as QEMU sends it is answered byte for byte as the original did', async (door) => {
  ok(await qemuCreate(door.address(), { name: 'v1', sizeBytes: MIB, copies: 2 }));
  const { client } = await door.connect();
  const request = hex(`01 12 0100 00000000 00000000 00020000 ${'00'.repeat(32)}`);
  const answer = client.expect({ opcode: Op.LOCK_VDI, flags: 1 }, 0, request);
  client.send(Buffer.concat([request, namePayload('v1', '')]));
  const { header } = await answer;
  const { epoch } = await door.cluster.call('cluster.info', {});
  const wanted = hex(
    `00 12 0000 01000000 00000000 00000000 00000000 00000000 28917000 00000000 02 16 0000 ${'00'.repeat(12)}`,
  );
  wanted.writeUInt32LE(epoch, 4);
  assert.is(header.length, HEADER_BYTES);
  assert.is(header.toString('hex'), wanted.toString('hex'));
});

it('the answer repeats opcode and id, and tells the epoch, on every connection', async (door) => {
  const { client } = await door.connect(1);
  const { epoch } = await door.cluster.call('cluster.info', {});
  for (const id of [0, 1, 0x7fffffff, 0xffffffff]) {
    const reply = await client.request({ opcode: Op.GET_CLUSTER_DEFAULT, version: 0, id });
    assert.equal([reply.opcode, reply.id, reply.epoch], [Op.GET_CLUSTER_DEFAULT, id, epoch]);
  }
});

it('both protocol versions and version 0 are served, newer ones are not', async (door) => {
  const { client } = await door.connect();
  for (const version of [0, 1, 2]) {
    is(await client.request({ opcode: Op.GET_CLUSTER_DEFAULT, version }), Result.SUCCESS);
  }
  for (const version of [3, 0x0a, 255]) {
    is(await client.request({ opcode: Op.GET_CLUSTER_DEFAULT, version }), Result.VER_MISMATCH);
  }
});

it('names that meet on the same hash get the next vids, and are told apart', async (door) => {
  const fresh = door.fresh();
  const first = ok(await fresh.newVdi({ name: 'w1f91', sizeBytes: MIB }));
  const second = ok(await fresh.newVdi({ name: 'w24s0', sizeBytes: 2 * MIB }));
  assert.equal([first.vid, second.vid], [0x3e6443, 0x3e6444]);
  assert.is(ok(await fresh.getVdiInfo({ name: 'w24s0' })).vid, second.vid);
  assert.is(ok(await fresh.getVdiInfo({ name: 'w1f91' })).vid, first.vid);
});

it('vids go on from 1 behind the last one, and 0 is never used', async (door) => {
  const fresh = door.fresh();
  const last = ok(await fresh.newVdi({ name: 'w1gbg4', sizeBytes: MIB }));
  const wrapped = ok(await fresh.newVdi({ name: 'w1gbg4', sizeBytes: MIB, snapId: 1, baseVid: last.vid }));
  assert.equal([last.vid, wrapped.vid], [0xffffff, 1]);
  const zero = ok(await fresh.newVdi({ name: 'weq7dk', sizeBytes: MIB }));
  assert.is(zero.vid, 2);
  assert.is(ok(await fresh.getVdiInfo({ name: 'w1gbg4' })).vid, 1);
});

it('a name that is in use is not created again', async (door) => {
  const fresh = door.fresh();
  ok(await fresh.newVdi({ name: 'twice', sizeBytes: MIB }));
  const again = await fresh.newVdi({ name: 'twice', sizeBytes: MIB });
  is(again, Result.VDI_EXIST);
  assert.is(again.vid, 0, 'no memory of the server leaks');
});

it('a snapshot of an unknown name is NO_VDI', async (door) => {
  is(await door.fresh().newVdi({ name: 'unknown', sizeBytes: MIB, snapId: 1 }), Result.NO_VDI);
});

it('names and tags are found as the original finds them', async (door) => {
  const image = await (async () => {
    ok(await qemuCreate(door.address(), { name: 'found', sizeBytes: MIB }));
    return QemuImage.open(door.address(), 'found');
  })();
  const first = image.vid;
  await image.snapshot('one');
  const second = image.vid;
  await image.snapshot('two');
  const fresh = door.fresh();
  const vidOf = async (answer: Promise<VdiAnswer>) => ok(await answer).vid;
  const name = 'found';
  assert.is(await vidOf(fresh.getVdiInfo({ name })), image.vid);
  assert.is(await vidOf(fresh.getVdiInfo({ name, tag: 'one' })), first);
  assert.is(await vidOf(fresh.getVdiInfo({ name, snapId: 1 })), first);
  assert.is(await vidOf(fresh.getVdiInfo({ name, tag: 'two' })), second);
  assert.is(await vidOf(fresh.getVdiInfo({ name, snapId: 2 })), second);
  // Either is enough.
  assert.is(await vidOf(fresh.getVdiInfo({ name, tag: 'one', snapId: 9 })), first);
  assert.is(await vidOf(fresh.getVdiInfo({ name, tag: 'nine', snapId: 1 })), first);
  is(await fresh.getVdiInfo({ name, tag: 'three' }), Result.NO_TAG);
  // The working VDI has snap_id 3, and is no snapshot.
  is(await fresh.getVdiInfo({ name, snapId: 3 }), Result.NO_TAG);
  is(await fresh.getVdiInfo({ name: 'foun', tag: 'one' }), Result.NO_VDI);
  is(await fresh.getVdiInfo({ name: 'foun' }), Result.NO_VDI);
  await image.close();
});

it('a look-up may leave out the field of the tag', async (door) => {
  const { client } = await door.connect();
  const short = (name: string) =>
    client.request({ opcode: Op.GET_VDI_INFO, version: 1, payload: namePayload(name) });
  ok(await door.fresh().newVdi({ name: 'short', sizeBytes: MIB }));
  is(await short('short'), Result.SUCCESS);
  is(await short('shorter'), Result.NO_VDI);
});

it('a tag without NUL that fills its field is kept and found', async (door) => {
  ok(await qemuCreate(door.address(), { name: 'full-tag', sizeBytes: MIB }));
  const image = await QemuImage.open(door.address(), 'full-tag');
  const tag = 't'.repeat(256);
  await image.snapshot(tag);
  assert.is((await image.listSnapshots())[0]?.tag, tag);
  ok(await door.fresh().getVdiInfo({ name: 'full-tag', tag }));
  await image.close();
});

it('a fresh inode is what QEMU expects, byte for byte', async (door) => {
  const before = BigInt(Math.floor(Date.now() / 1000));
  const sizeBytes = 5 * MIB;
  const { vid } = ok(await qemuCreate(door.address(), { name: 'fresh', sizeBytes, blockSizeShift: 20 }));
  const { header, bytes, index } = await door.fresh().readInode(vid);
  const after = BigInt(Math.floor(Date.now() / 1000));
  const { createTime } = header;
  assert.ok(createTime >> 32n >= before && createTime >> 32n <= after);
  assert.ok((createTime & 0xffffffffn) < 1_000_000_000n);
  const wanted = inodeHeader.encode({
    name: 'fresh',
    createTime,
    vdiSize: BigInt(sizeBytes),
    copies: 3,
    blockSizeShift: 20,
    snapId: 1,
    vid,
  });
  assert.is(bytes.subarray(0, INODE_HEADER_BYTES).toString('hex'), wanted.toString('hex'));
  assert.ok(index.every((owner) => owner === 0));
});

it('an inode can be read in every piece that clients ask for', async (door) => {
  const fresh = door.fresh();
  const { vid } = ok(await fresh.newVdi({ name: 'pieces', sizeBytes: MIB }));
  for (const length of [0, 1, 568, INODE_HEADER_BYTES, 4672, INODE_CLIENT_BYTES]) {
    const { payload } = ok(await fresh.readObj(inodeOid(vid), 0, length));
    assert.is(payload.length, length);
    if (length > 6) assert.is(payload.toString('utf8', 0, 6), 'pieces');
  }
  const whole = ok(await fresh.readObj(inodeOid(vid), 0, INODE_BYTES)).payload;
  assert.is(whole.length, INODE_BYTES);
  assert.ok(
    whole.subarray(INODE_CLIENT_BYTES).every((byte) => byte === 0),
    'reference counts are zero',
  );
});

it('the inode of a vid that was never used is NO_OBJ', async (door) => {
  is(await door.fresh().readObj(inodeOid(0x123456), 0, INODE_HEADER_BYTES), Result.NO_OBJ);
});

it('RELEASE_VDI succeeds, whatever is released', async (door) => {
  const fresh = door.fresh();
  const { vid } = ok(await fresh.newVdi({ name: 'released', sizeBytes: MIB }));
  for (const type of [0, 1]) {
    mustBe(await fresh.release(vid, { type, name: 'released' }), Result.SUCCESS);
    mustBe(await fresh.release(vid, { type }), Result.SUCCESS);
    mustBe(await fresh.release(0x123456, { type }), Result.SUCCESS);
    mustBe(await fresh.release(0, { type }), Result.SUCCESS);
  }
});

it('a volume that was just deleted can be created at once', async (door) => {
  const fresh = door.fresh();
  const { vid } = ok(await fresh.newVdi({ name: 'again', sizeBytes: MIB }));
  for (let i = 0; i < 3; i++) {
    assert.is(ok(await fresh.delVdi({ name: 'again' })).reply.payload.length, 0);
    is(await fresh.getVdiInfo({ name: 'again' }), Result.NO_VDI);
    is(await fresh.delVdi({ name: 'again' }), Result.NO_VDI);
    ok(await fresh.newVdi({ name: 'again', sizeBytes: (2 + i) * MIB }));
  }
  assert.type(vid, 'number');
});

it('DEL_VDI tells the vid of what it deleted', async (door) => {
  const fresh = door.fresh();
  const { vid } = ok(await fresh.newVdi({ name: 'told', sizeBytes: MIB }));
  assert.is(ok(await fresh.delVdi({ name: 'told' })).vid, vid);
});

it('sizes are kept to the byte, up to the largest', async (door) => {
  const fresh = door.fresh();
  for (const [name, sizeBytes, blockSizeShift] of [
    ['size-512', 512n, 22],
    ['size-odd', 1_000_001n, 22],
    ['size-4t', 1n << 42n, 22],
    ['size-1t', 1n << 40n, 20],
    ['size-2p', 1n << 51n, 31],
  ] as const) {
    const { vid } = ok(await fresh.newVdi({ name, sizeBytes, blockSizeShift }));
    const { vdiSize, blockSizeShift: shift } = await fresh.readHeader(vid);
    assert.equal([vdiSize, shift], [sizeBytes, blockSizeShift]);
  }
});

it('READ_VDIS has the bits of what is in use, READ_DEL_VDIS a part of them', async (door) => {
  const fresh = door.fresh();
  const { vid } = ok(await fresh.newVdi({ name: 'bits', sizeBytes: MIB }));
  const bit = (bitmap: Buffer, n: number) => (bitmap[n >> 3]! >> (n & 7)) & 1;
  const used = ok(await fresh.readVdis()).payload;
  assert.equal([bit(used, vid), bit(used, 0x123456), bit(used, 0)], [1, 0, 0]);
  assert.is(bit(ok(await fresh.readVdis(Op.READ_DEL_VDIS)).payload, vid), 0);
  for (const opcode of [Op.READ_VDIS, Op.READ_DEL_VDIS]) {
    is(await fresh.readVdis(opcode, 4096), Result.INVALID_PARMS);
  }
});

test.run();
