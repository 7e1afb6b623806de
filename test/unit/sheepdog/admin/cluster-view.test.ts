import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Op, Result } from '../../../../src/wire/sheepdog.js';
import { ask, fakeFacts, hexOf, node, nodeHex, u32, u64, zeros } from './fixture.js';

const CTIME = u32(250_000_000) + u32(1_700_000_000);
/** cluster.nodes_nr, at offset 40. */
const room = (nodes: number) => zeros(24) + u32(nodes);

test('GET_NODE_LIST gives nodes by address and port, and their number', async () => {
  const { facts } = fakeFacts();
  const answer = await ask(facts, Op.GET_NODE_LIST, { dataLength: 491_520 });
  assert.is(answer.result, Result.SUCCESS);
  assert.is(hexOf(answer.payload), nodeHex(7000) + nodeHex(7001));
  assert.is(hexOf(answer.header?.subarray(20)), u32(2) + zeros(24));
});

test('GET_NODE_LIST gives whole nodes only, as many as the client has room for (P3)', async () => {
  const { facts } = fakeFacts();
  for (const [dataLength, count] of [
    [0, 0],
    [8, 0],
    [79, 0],
    [80, 1],
    [159, 1],
    [160, 2],
    [2 ** 31, 2],
  ] as const) {
    const answer = await ask(facts, Op.GET_NODE_LIST, { dataLength });
    assert.is(answer.payload?.length, count * 80);
    assert.is(answer.header?.readUInt32LE(20), count);
  }
});

test('a node with a second network, a node without an IP address, a gateway', async () => {
  const { facts, cluster } = fakeFacts();
  cluster.nodes = [
    node(7000, { host: 'nowhere.invalid', vnodes: 0, spaceBytes: 0 }),
    node(7000, { host: 'fe80::1', io: { host: '10.0.0.1', port: 7100 } }),
  ];
  const { payload } = await ask(facts, Op.GET_NODE_LIST, { dataLength: 160 });
  const bytes = payload!;
  assert.is(hexOf(bytes.subarray(24, 40)), zeros(16));
  assert.is(hexOf(bytes.subarray(64, 80)), zeros(16));
  assert.is(hexOf(bytes.subarray(104, 144)), `fe80${zeros(13)}01581b${zeros(12)}0a000001bc1b${zeros(4)}`);
});

test('STAT_CLUSTER without room for nodes gives records alone', async () => {
  const { facts } = fakeFacts();
  const answer = await ask(facts, Op.STAT_CLUSTER, { dataLength: 48, fields: room(0) });
  assert.is(answer.result, Result.SUCCESS);
  assert.is(
    hexOf(answer.payload),
    `${CTIME}${u64(1_700_000_002)}${u32(2)}${u32(0)}000300${zeros(3)}0c006c6f63616c${zeros(11)}`,
  );
});

test('STAT_CLUSTER gives epochs newest first, with settings in the first record only', async () => {
  const { facts } = fakeFacts();
  const stride = 48 + 3 * 80;
  const { payload } = await ask(facts, Op.STAT_CLUSTER, { dataLength: 5 * stride, fields: room(3) });
  const first = `${CTIME}${u64(1_700_000_002)}${u32(2)}${u32(2)}000300${zeros(3)}0c006c6f63616c${zeros(11)}`;
  const second = `${u64(0)}${u64(1_700_000_001)}${u32(1)}${u32(1)}${zeros(24)}`;
  assert.is(
    hexOf(payload),
    first + nodeHex(7000) + nodeHex(7001) + zeros(80) + second + nodeHex(7000) + zeros(160),
  );
});

test('STAT_CLUSTER gives as many epochs as fit', async () => {
  const { facts } = fakeFacts();
  for (const [dataLength, records] of [
    [0, 0],
    [1, 0],
    [207, 0],
    [208, 1],
    [209, 1],
    [415, 1],
    [416, 2],
    [2 ** 31, 2],
    [2 ** 32 - 1, 2],
  ] as const) {
    const answer = await ask(facts, Op.STAT_CLUSTER, { dataLength, fields: room(2) });
    assert.is(answer.result, Result.SUCCESS);
    assert.is(answer.payload?.length, records * 208);
  }
});

test('STAT_CLUSTER asks for more room when an epoch has more nodes than there is', async () => {
  const { facts } = fakeFacts();
  const answer = await ask(facts, Op.STAT_CLUSTER, { dataLength: 256, fields: room(1) });
  assert.is(answer.result, Result.BUFFER_SMALL);
  assert.is(answer.payload, undefined);
});

test('STAT_CLUSTER sets no gigabytes aside for nodes that cannot be', async () => {
  const { facts } = fakeFacts();
  for (const nodes of [12_289, 50_000_000, 2 ** 32 - 1]) {
    const answer = await ask(facts, Op.STAT_CLUSTER, { dataLength: 2 ** 32 - 1, fields: room(nodes) });
    assert.is(answer.result, Result.INVALID_PARMS);
  }
});

test('the result of STAT_CLUSTER is the state of the cluster, and the records come with it', async () => {
  const { facts, cluster } = fakeFacts();
  for (const [state, result] of [
    ['wait-for-format', Result.WAIT_FOR_FORMAT],
    ['wait-for-join', Result.WAIT_FOR_JOIN],
    ['shutdown', Result.SHUTDOWN],
    ['killed', Result.KILLED],
  ] as const) {
    cluster.state = state;
    const answer = await ask(facts, Op.STAT_CLUSTER, { dataLength: 48 });
    assert.is(answer.result, result);
    assert.is(answer.payload?.length, 48);
  }
  cluster.epochs = [];
  assert.is((await ask(facts, Op.STAT_CLUSTER, { dataLength: 48 })).payload?.length, 0);
});

test('CLUSTER_INFO has its bytes', async () => {
  const { facts } = fakeFacts();
  const { payload, result } = await ask(facts, Op.CLUSTER_INFO, { dataLength: 491_568 });
  assert.is(result, Result.SUCCESS);
  assert.is(payload?.length, 491_568);
  const head = `0a000200${u32(2)}${CTIME}0c0003000116${zeros(3)}${Buffer.from('plain').toString('hex')}${zeros(18)}`;
  assert.is(hexOf(payload?.subarray(0, 208)), head + nodeHex(7000) + nodeHex(7001));
  assert.ok(payload?.subarray(208).every((byte) => byte === 0));
});

test('CLUSTER_INFO of a cluster that is not formatted', async () => {
  const { facts, cluster } = fakeFacts();
  Object.assign(cluster, { state: 'wait-for-format', createdMs: 0, copies: 0, blockSizeShift: 0, flags: 0 });
  cluster.epochs = [];
  const { payload } = await ask(facts, Op.CLUSTER_INFO, { dataLength: 48 });
  assert.is(hexOf(payload), `0a${zeros(19)}02${zeros(27)}`);
});

test('GET_EPOCH gives the members and the time, all or nothing', async () => {
  const { facts } = fakeFacts();
  const epoch = (value: number) => zeros(20) + u32(value);
  const answer = await ask(facts, Op.GET_EPOCH, { dataLength: 168, fields: epoch(2) });
  assert.is(hexOf(answer.payload), nodeHex(7000) + nodeHex(7001) + u64(1_700_000_002));
  for (const dataLength of [0, 1, 167]) {
    const small = await ask(facts, Op.GET_EPOCH, { dataLength, fields: epoch(2) });
    assert.is(small.result, Result.BUFFER_SMALL);
  }
  for (const unknown of [0, 3, 2 ** 32 - 1]) {
    const missing = await ask(facts, Op.GET_EPOCH, { dataLength: 2 ** 31, fields: epoch(unknown) });
    assert.is(missing.result, Result.NO_TAG);
  }
});

test('GET_STORE_LIST ends with NUL, also when it is cut', async () => {
  const { facts } = fakeFacts();
  const text = async (dataLength: number) =>
    (await ask(facts, Op.GET_STORE_LIST, { dataLength })).payload?.toString();
  assert.is(await text(512), 'tree plain \0');
  assert.is(await text(13), 'tree plain \0');
  assert.is(await text(12), 'tree plain \0');
  assert.is(await text(11), 'tree plain\0');
  assert.is(await text(1), '\0');
  assert.is(await text(0), '');
});

test.run();
