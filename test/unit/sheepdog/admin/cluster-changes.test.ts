import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../../src/base/errors.js';
import { ClusterFlag, Op, Result } from '../../../../src/wire/sheepdog.js';
import { type Asked, ask, fakeFacts, u32, zeros } from './fixture.js';

const byte = (value: number): string => u32(value).slice(0, 2);

/** MAKE_FS and ALTER_CLUSTER_COPY: copies at 32, policy at 33, flags at 34, shift at 44. */
const cluster = (copies: number, policy = 0, flags = 0, shift = 0): string =>
  zeros(16) + byte(copies) + byte(policy) + u32(flags).slice(0, 4) + zeros(8) + byte(shift) + zeros(3);

const format = (fields: string, store = 'plain\0'): Asked => ({ fields, payload: Buffer.from(store) });

test('MAKE_FS formats with what was asked, and with the defaults', async () => {
  const { facts, told } = fakeFacts();
  assert.is((await ask(facts, Op.MAKE_FS, format(cluster(0)))).result, Result.SUCCESS);
  const strict = cluster(2, 0, ClusterFlag.STRICT | ClusterFlag.USE_LOCK | ClusterFlag.AUTO_VNODES, 24);
  assert.is((await ask(facts, Op.MAKE_FS, format(strict, 'tree\0'))).result, Result.SUCCESS);
  assert.equal(told.formats, [
    { copies: 3, blockSizeShift: 22, strict: false, useLock: false },
    { copies: 2, blockSizeShift: 24, strict: true, useLock: true },
  ]);
});

test('MAKE_FS refuses what cannot be', async () => {
  const { facts, told } = fakeFacts();
  for (const [asked, result] of [
    [format(cluster(3), 'nosuch\0'), Result.NO_STORE],
    [format(cluster(3), '\0'), Result.NO_STORE],
    [format(cluster(3), 'plain'.repeat(1000)), Result.NO_STORE],
    [format(cluster(3), ''), Result.INVALID_PARMS],
    [{ fields: cluster(3), dataLength: 6 }, Result.INVALID_PARMS],
    [format(cluster(32)), Result.INVALID_PARMS],
    [format(cluster(3, 0, 0, 19)), Result.INVALID_PARMS],
    [format(cluster(3, 0, 0, 32)), Result.INVALID_PARMS],
    [format(cluster(0, 0x22)), Result.NO_SUPPORT],
    [format(cluster(3, 0, ClusterFlag.DISKMODE)), Result.NO_SUPPORT],
  ] as const) {
    assert.is((await ask(facts, Op.MAKE_FS, asked)).result, result);
  }
  assert.equal(told.formats, []);
});

test('a format that fails is not answered as a success', async () => {
  const { facts } = fakeFacts();
  facts.acts = {
    ...facts.acts,
    format: async () => {
      throw new AppError('again', 'this sheep has not joined yet');
    },
  };
  try {
    await ask(facts, Op.MAKE_FS, format(cluster(0)));
    assert.unreachable();
  } catch (error) {
    assert.ok(AppError.isCode(error, 'again'));
  }
});

test('SHUTDOWN and KILL_NODE are carried out, whatever comes with them', async () => {
  const { facts, told } = fakeFacts();
  for (const asked of [{}, { dataLength: 2 ** 31 }, { payload: Buffer.alloc(10) }]) {
    assert.is((await ask(facts, Op.SHUTDOWN, asked)).result, Result.SUCCESS);
    assert.is((await ask(facts, Op.KILL_NODE, asked)).result, Result.SUCCESS);
  }
  assert.equal([told.shutdowns, told.kills], [3, 3]);
});

test('CLEANUP has nothing to do, and is refused while the node catches up', async () => {
  const { facts } = fakeFacts();
  assert.is((await ask(facts, Op.CLEANUP)).result, Result.SUCCESS);
  facts.recovery = async () => ({ finished: 0, total: 1 });
  assert.is((await ask(facts, Op.CLEANUP)).result, Result.NODE_IN_RECOVERY);
});

test('FORCE_RECOVER is refused, by the state of the cluster', async () => {
  const { facts, cluster } = fakeFacts();
  const result = async () => (await ask(facts, Op.FORCE_RECOVER, { dataLength: 491_520 })).result;
  assert.is(await result(), Result.FORCE_RECOVER);
  cluster.state = 'wait-for-format';
  assert.is(await result(), Result.WAIT_FOR_FORMAT);
  cluster.state = 'wait-for-join';
  assert.is(await result(), Result.NO_SUPPORT);
});

test('recovery is paused and goes on', async () => {
  const { facts, told } = fakeFacts();
  assert.is((await ask(facts, Op.DISABLE_RECOVER)).result, Result.SUCCESS);
  assert.is((await ask(facts, Op.ENABLE_RECOVER)).result, Result.SUCCESS);
  assert.equal(told.recovery, [false, true]);
});

test('ALTER_CLUSTER_COPY changes the default', async () => {
  const { facts, told } = fakeFacts();
  const result = async (fields: string) => (await ask(facts, Op.ALTER_CLUSTER_COPY, { fields })).result;
  assert.is(await result(cluster(2)), Result.SUCCESS);
  assert.equal(told.copies, [2]);
  for (const fields of [cluster(0), cluster(32), cluster(255), cluster(2, 0x11)])
    assert.is(await result(fields), Result.INVALID_PARMS);
});

test.run();
