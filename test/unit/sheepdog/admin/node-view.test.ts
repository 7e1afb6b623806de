import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Op, Result } from '../../../../src/wire/sheepdog.js';
import { ask, fakeFacts, hexOf, u32, u64, zeros } from './fixture.js';

const i32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
};

test('STAT_SHEEP gives the size of the store and its free room, zeros for a gateway', async () => {
  const { facts } = fakeFacts();
  const answer = await ask(facts, Op.STAT_SHEEP);
  assert.is(answer.payload, undefined);
  assert.is(hexOf(answer.header?.subarray(20)), zeros(12) + u64(0x2_0000_0100) + u64(0x2_0000_0000));
  facts.disks = async () => [];
  assert.is(hexOf((await ask(facts, Op.STAT_SHEEP)).header?.subarray(20)), zeros(28));
});

test('STAT_RECOVERY has its bytes', async () => {
  const { facts } = fakeFacts();
  assert.is(hexOf((await ask(facts, Op.STAT_RECOVERY, { dataLength: 24 })).payload), zeros(24));
  facts.recovery = async () => ({ finished: 3, total: 10 });
  const { payload } = await ask(facts, Op.STAT_RECOVERY, { dataLength: 24 });
  assert.is(hexOf(payload), u32(1) + u32(1) + u64(3) + u64(10));
});

test('STAT has its bytes', async () => {
  const { facts } = fakeFacts();
  const { payload } = await ask(facts, Op.STAT, { dataLength: 120 });
  // Active, total, bytes in and out, by side; then remove, read, write, flush of clients; remove, read, write of peers.
  const values = [0x10, 0x20, 0x11, 0x21, 0x16, 0x17, 0x26, 0x27, 0x14, 0x12, 0x13, 0x15, 0x24, 0x22, 0x23];
  assert.is(hexOf(payload), values.map(u64).join(''));
});

test('MD_INFO has its bytes, and no other length than its own (P2)', async () => {
  const { facts } = fakeFacts();
  const { payload, result } = await ask(facts, Op.MD_INFO, { dataLength: 263_688 });
  assert.is(result, Result.SUCCESS);
  const bytes = payload!;
  assert.is(bytes.length, 263_688);
  assert.is(hexOf(bytes.subarray(0, 32)), `${u64(0)}${u64(0x2_0000_0000)}${u64(0x100)}2f643000${zeros(4)}`);
  assert.ok(bytes.subarray(27, 263_680).every((byte) => byte === 0));
  assert.is(hexOf(bytes.subarray(263_680)), u32(1) + zeros(4));
  for (const dataLength of [0, 1, 263_687, 263_689, 2 ** 31])
    assert.is((await ask(facts, Op.MD_INFO, { dataLength })).result, Result.INVALID_PARMS);
});

test('MD_INFO shows at most 64 disks', async () => {
  const { facts } = fakeFacts();
  facts.disks = async () =>
    Array.from({ length: 70 }, (_, i) => ({ path: `/d${i}`, usedBytes: i, freeBytes: 0 }));
  const { payload } = await ask(facts, Op.MD_INFO, { dataLength: 263_688 });
  const bytes = payload!;
  assert.is(bytes.readUInt32LE(263_680), 64);
  assert.is(bytes.readUInt32LE(63 * 4120), 63);
});

test('the log level is read and set within its bounds', async () => {
  const { facts, told } = fakeFacts();
  assert.is(hexOf((await ask(facts, Op.GET_LOGLEVEL, { dataLength: 4 })).payload), '06000000');
  const set = async (payload: Uint8Array) => (await ask(facts, Op.SET_LOGLEVEL, { payload })).result;
  assert.is(await set(i32(7)), Result.SUCCESS);
  assert.is(await set(i32(0)), Result.SUCCESS);
  for (const level of [-1, 8, 2 ** 31 - 1]) assert.is(await set(i32(level)), Result.INVALID_PARMS);
  assert.equal(told.levels, [7, 0]);
});

test('recovery has no throttle: taking it off succeeds, setting one does not', async () => {
  const { facts } = fakeFacts();
  assert.is(hexOf((await ask(facts, Op.GET_RECOVERY, { dataLength: 24 })).payload), zeros(24));
  const set = async (max: number, intervalMs: number) => {
    const payload = Buffer.from(`${u32(max)}${zeros(4)}${u64(intervalMs)}${zeros(8)}`, 'hex');
    return (await ask(facts, Op.SET_RECOVERY, { payload })).result;
  };
  assert.is(await set(0, 0), Result.SUCCESS);
  assert.is(await set(10, 0), Result.SUCCESS);
  assert.is(await set(10, 100), Result.NO_SUPPORT);
});

test('vnodes can be read; setting them says why not', async () => {
  const { facts, cluster } = fakeFacts();
  assert.is(hexOf((await ask(facts, Op.GET_VNODES, { dataLength: 4 })).payload), '80000000');
  const set = async (value: number, length = 8) => {
    const payload = Buffer.concat([i32(value), Buffer.alloc(length - 4)]);
    return (await ask(facts, Op.SET_VNODES, { payload })).result;
  };
  assert.is(await set(64), Result.INVALID_VNODES_STRATEGY);
  cluster.flags = 0;
  assert.is(await set(64), Result.NO_SUPPORT);
  assert.is(await set(64, 4), Result.NO_SUPPORT);
  for (const value of [0, -1, 65_536]) assert.is(await set(value), Result.INVALID_PARMS);
  facts.vnodes = 0;
  assert.is(await set(64), Result.GATEWAY_MODE);
});

test('there are no tracers', async () => {
  const { facts } = fakeFacts();
  for (const opcode of [Op.TRACE_STATUS, Op.TRACE_READ_BUF]) {
    const answer = await ask(facts, opcode, { dataLength: 4096 });
    assert.equal([answer.result, answer.payload?.length], [Result.SUCCESS, 0]);
  }
  for (const opcode of [Op.TRACE_ENABLE, Op.TRACE_DISABLE]) {
    const payload = Buffer.from('thread_checker\0');
    assert.is((await ask(facts, opcode, { payload })).result, Result.NO_SUPPORT);
    assert.is((await ask(facts, opcode, { dataLength: 15 })).result, Result.INVALID_PARMS);
  }
});

test.run();
