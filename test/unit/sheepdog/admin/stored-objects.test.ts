import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Flag, Op, Result } from '../../../../src/wire/sheepdog.js';
import { ask, fakeFacts, hexOf, OBJECT, OBJECT_BYTES, u32, u64, zeros } from './fixture.js';

const MISSING = 0x0000000200000000n;
const IMPOSSIBLE = 0xffffffffffffffffn;

test('EXIST and REPAIR_REPLICA say whether the cluster has the object', async () => {
  const { facts } = fakeFacts();
  for (const opcode of [Op.EXIST, Op.REPAIR_REPLICA]) {
    for (const dataLength of [0, 1, 8, 2 ** 31]) {
      const result = async (oid: bigint) =>
        (await ask(facts, opcode, { fields: u64(oid), dataLength })).result;
      assert.is(await result(OBJECT), Result.SUCCESS);
      assert.is(await result(MISSING), Result.NO_OBJ);
      assert.is(await result(IMPOSSIBLE), Result.NO_OBJ);
    }
  }
});

test('OIDS_EXIST lists the missing ones in their order', async () => {
  const { facts } = fakeFacts();
  const list = async (...oids: bigint[]) =>
    ask(facts, Op.OIDS_EXIST, { payload: Buffer.from(oids.map(u64).join(''), 'hex'), flags: Flag.PIGGYBACK });
  const some = await list(IMPOSSIBLE, OBJECT, MISSING, OBJECT);
  assert.is(some.result, Result.NO_OBJ);
  assert.is(hexOf(some.payload), u64(IMPOSSIBLE) + u64(MISSING));
  for (const oids of [[], [OBJECT], [OBJECT, OBJECT]]) {
    const all = await list(...oids);
    assert.is(all.result, Result.SUCCESS);
    assert.is(hexOf(all.payload), '');
  }
});

test('OIDS_EXIST needs whole ids, and a payload both ways (P6)', async () => {
  const { facts } = fakeFacts();
  for (const length of [1, 7, 9]) {
    const asked = { payload: Buffer.alloc(length), flags: Flag.PIGGYBACK };
    assert.is((await ask(facts, Op.OIDS_EXIST, asked)).result, Result.INVALID_PARMS);
  }
  assert.is((await ask(facts, Op.OIDS_EXIST, { payload: Buffer.alloc(8) })).result, Result.INVALID_PARMS);
  for (const flags of [0, Flag.PIGGYBACK]) {
    const answer = await ask(facts, Op.OIDS_EXIST, { dataLength: 2 ** 31, flags });
    assert.is(answer.result, Result.INVALID_PARMS);
  }
});

test('GET_HASH gives the digest in the header', async () => {
  const { facts } = fakeFacts();
  const answer = await ask(facts, Op.GET_HASH, { fields: u64(OBJECT) });
  assert.is(
    hexOf(answer.header?.subarray(20)),
    `${zeros(4)}0102030405060708090a0b0c0d0e0f1011121314${zeros(4)}`,
  );
  assert.is(answer.payload, undefined);
  assert.is((await ask(facts, Op.GET_HASH, { fields: u64(MISSING) })).result, Result.NO_OBJ);
});

const read = (oid: bigint, offset: number, offsetHigh = 0): string =>
  u64(oid) + zeros(16) + u32(offset) + u32(offsetHigh);

test('READ_PEER gives exactly the bytes that were asked for', async () => {
  const { facts } = fakeFacts();
  const { payload } = await ask(facts, Op.READ_PEER, { fields: read(OBJECT, 4), dataLength: 3 });
  assert.is(hexOf(payload), '040506');
  const all = await ask(facts, Op.READ_PEER, { fields: read(OBJECT, 0), dataLength: OBJECT_BYTES });
  assert.is(all.payload?.length, OBJECT_BYTES);
  const none = await ask(facts, Op.READ_PEER, { fields: read(OBJECT, OBJECT_BYTES), dataLength: 0 });
  assert.equal([none.result, none.payload?.length], [Result.SUCCESS, 0]);
});

test('READ_PEER does not leave the object (P7)', async () => {
  const { facts } = fakeFacts();
  for (const [offset, dataLength, offsetHigh] of [
    [0, OBJECT_BYTES + 1, 0],
    [1, OBJECT_BYTES, 0],
    [2 ** 32 - 1, 1, 0],
    [0, 2 ** 31, 0],
    [0, 1, 1],
  ] as const) {
    const answer = await ask(facts, Op.READ_PEER, { fields: read(OBJECT, offset, offsetHigh), dataLength });
    assert.is(answer.result, Result.INVALID_PARMS);
  }
  const missing = await ask(facts, Op.READ_PEER, { fields: read(MISSING, 0), dataLength: 2 ** 31 });
  assert.is(missing.result, Result.NO_OBJ);
});

test('GET_OBJ_LIST gives all ids or asks for more room', async () => {
  const { facts } = fakeFacts();
  for (const dataLength of [16, 17, 2 ** 31]) {
    const { payload } = await ask(facts, Op.GET_OBJ_LIST, { dataLength });
    assert.is(hexOf(payload), u64(OBJECT) + u64(0x8000000100000000n));
  }
  for (const dataLength of [0, 1, 8, 15]) {
    assert.is((await ask(facts, Op.GET_OBJ_LIST, { dataLength })).result, Result.BUFFER_SMALL);
  }
});

test.run();
