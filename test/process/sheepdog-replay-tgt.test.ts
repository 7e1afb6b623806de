/** tgt's messages replayed: shared locks, and the coherence of inodes between two gateways (reference 6.9, 9.1). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { INODE_CLIENT_BYTES } from '../../src/wire/inode.js';
import { dataOid, inodeOid } from '../../src/wire/oid.js';
import { vdiState } from '../../src/wire/records.js';
import { Flag, LockType, nameOfResult, Op, Result } from '../../src/wire/sheepdog.js';
import { ok, type Plain, type SheepdogCalls } from '../helpers/sheepdog-calls.js';
import { doorTests, pattern, type SheepdogDoor } from '../helpers/sheepdog-door.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const VDI_STATES_BYTES = 1428 * 512;
const it = doorTests(test);
const flags = Flag.TGT;
const type = LockType.shared;

const is = (answer: { result: number }, wanted: number, message?: string) =>
  assert.is(nameOfResult(answer.result), nameOfResult(wanted), message);

interface Tgt {
  readonly calls: SheepdogCalls;
  refresh(): Promise<Plain>;
  /** The data object, then its index entry. */
  write(index: number, seed: number): Promise<Plain>;
}

async function tgtOn(door: SheepdogDoor, sheep: number, vid: number): Promise<Tgt> {
  const { calls } = await door.connect(sheep);
  return {
    calls,
    refresh: () => calls.readObj(inodeOid(vid), 0, INODE_CLIENT_BYTES, { flags }),
    async write(index, seed) {
      const made = await calls.createObj(dataOid(vid, index), 0, pattern(seed, 4 * KIB), { flags });
      return made.result === Result.SUCCESS ? calls.writeIndex(vid, index, [vid], { flags }) : made;
    },
  };
}

async function create(door: SheepdogDoor, name: string): Promise<number> {
  return ok(await door.fresh().newVdi({ name, sizeBytes: 8 * MIB, blockSizeShift: 20 })).vid;
}

it('one tgt opens, writes, reads and releases', async (door) => {
  const vid = await create(door, 'alone');
  const { calls, refresh, write } = await tgtOn(door, 0, vid);
  assert.is(ok(await calls.lock({ name: 'alone', type })).vid, vid);
  assert.is(ok(await refresh()).payload.length, INODE_CLIENT_BYTES);
  ok(await write(0, 1));
  const read = ok(await calls.readObj(dataOid(vid, 0), 0, 4 * KIB, { flags }));
  assert.ok(read.payload.equals(pattern(1, 4 * KIB)));
  ok(await calls.flush(vid));
  ok(await calls.release(vid, { type }));
});

it('several nodes share a volume, and one that asks again has it already', async (door) => {
  // The original answers VDI_LOCKED to the same node; tgt asks again when its volume has gone on as another version.
  const vid = await create(door, 'shared');
  const [one, two] = [await tgtOn(door, 0, vid), await tgtOn(door, 1, vid)];
  for (const { calls } of [one, two, one]) {
    const locked = await calls.lock({ name: 'shared', type });
    is(locked, Result.SUCCESS);
    assert.is(locked.vid, vid);
  }
  assert.is((await statesOf(door, vid)).length, 2);
  for (const { calls } of [one, two]) ok(await calls.release(vid, { type }));
  assert.is((await statesOf(door, vid)).length, 0);
});

it('an index write by one makes the other refresh its inode first', async (door) => {
  const vid = await create(door, 'coherent');
  const [one, two] = [await tgtOn(door, 0, vid), await tgtOn(door, 1, vid)];
  for (const { calls } of [one, two]) ok(await calls.lock({ name: 'coherent', type }));
  for (const { refresh } of [one, two]) ok(await refresh());
  ok(await one.write(0, 1));
  const data = dataOid(vid, 0);
  // Data needs no index here: where the original refuses it, it is right at once.
  const seen = ok(await two.calls.readObj(data, 0, 4 * KIB, { flags }));
  assert.ok(seen.payload.equals(pattern(1, 4 * KIB)));
  is(await two.calls.writeIndex(vid, 1, [vid], { flags }), Result.INODE_INVALIDATED);
  is(await two.calls.readObj(inodeOid(vid), 0, 4664, { flags }), Result.INODE_INVALIDATED, 'no refresh');
  is(await two.calls.readObj(inodeOid(vid), 8, INODE_CLIENT_BYTES, { flags }), Result.INODE_INVALIDATED);
  // Without the flag nobody asks.
  is(await two.calls.readObj(data, 0, 4 * KIB), Result.SUCCESS);
  const inode = ok(await two.refresh()).payload;
  assert.is(inode.readUInt32LE(4664), vid);
  const read = ok(await two.calls.readObj(data, 0, 4 * KIB, { flags }));
  assert.ok(read.payload.equals(pattern(1, 4 * KIB)));
  ok(await two.write(1, 2));
  // The other way round. Its sheep hears of it a moment later (until then all data is right, too).
  const refused = async () => {
    const { result } = await one.calls.readObj(inodeOid(vid), 0, 512, { flags });
    return result === Result.INODE_INVALIDATED;
  };
  for (let i = 0; i < 100 && !(await refused()); i++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(await refused());
  ok(await one.refresh());
  is(await one.calls.readObj(dataOid(vid, 1), 0, 512, { flags }), Result.SUCCESS);
  for (const { calls } of [one, two]) ok(await calls.release(vid, { type }));
});

/** The participants' states as GET_VDI_COPIES tells them: 1 modified, 2 shared, 3 invalidated. */
async function statesOf(door: SheepdogDoor, vid: number): Promise<number[]> {
  const { client } = await door.connect(2);
  const { result, payload } = await client.request({
    opcode: Op.GET_VDI_COPIES,
    dataLength: VDI_STATES_BYTES,
  });
  is({ result }, Result.SUCCESS);
  for (let at = 0; at < payload.length; at += vdiState.sizeBytes) {
    const state = vdiState.decode(payload, at);
    if (state.vid !== vid) continue;
    return Array.from({ length: state.participantCount }, (_, i) =>
      state.participantStates.readUInt32LE(4 * i),
    );
  }
  throw new Error(`no state of vid ${vid.toString(16)}`);
}

it('the states of two tgt go as the reference saw them', async (door) => {
  const vid = await create(door, 'states');
  const [one, two] = [await tgtOn(door, 0, vid), await tgtOn(door, 1, vid)];
  ok(await one.calls.lock({ name: 'states', type }));
  assert.equal(await statesOf(door, vid), [1]);
  ok(await two.calls.lock({ name: 'states', type }));
  assert.equal(await statesOf(door, vid), [1, 3]);
  ok(await two.refresh());
  assert.equal(await statesOf(door, vid), [2, 2]);
  ok(await two.write(0, 1));
  assert.equal(await statesOf(door, vid), [3, 1]);
  for (const { calls } of [one, two]) ok(await calls.release(vid, { type }));
});

it('discard by tgt is an index write like any other', async (door) => {
  const vid = await create(door, 'unmapped');
  const { calls, refresh, write } = await tgtOn(door, 0, vid);
  ok(await calls.lock({ name: 'unmapped', type }));
  ok(await refresh());
  ok(await write(0, 1));
  ok(await calls.writeIndex(vid, 0, [0], { flags }));
  assert.equal(await calls.readIndex(vid, 0, 1), [0]);
  const nbd = await door.nbd('unmapped', 1).catch((error: Error) => error);
  if (!(nbd instanceof Error)) assert.ok((await nbd.read(0, 4 * KIB)).every((byte) => byte === 0));
  ok(await calls.release(vid, { type }));
});

test.run();
