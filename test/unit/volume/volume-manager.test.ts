import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { systemClock } from '../../../src/base/clock.js';
import { AppError } from '../../../src/base/errors.js';
import { silentLogger } from '../../../src/base/log.js';
import { SeededRandom } from '../../../src/base/random.js';
import type { ClusterView } from '../../../src/cluster/epochs/view.js';
import { encodeOids } from '../../../src/cluster/objects/oid-list.js';
import type { Compare, Op, TxnResult } from '../../../src/coord/coordinator.js';
import { DeviceOp, deviceRequest } from '../../../src/volume/remote-codec.js';
import { VolumeManager, type VolumeManagerOptions } from '../../../src/volume/volume-manager.js';
import { within } from '../../helpers/real-cluster.js';
import { createVersion, FakeClient, versionRecord } from './fake-client.js';

const LINE = '000000000001';
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A gateway with one volume, and a coordinator of which the test says what it answers. */
async function gateway({ inOrder = true }: { inOrder?: boolean } = {}) {
  const fake = new FakeClient(new SeededRandom(1));
  const record = versionRecord(1, 1024);
  await createVersion(fake, record);
  const asked: ((outcome: TxnResult | AppError) => void)[] = [];
  const ops: Op[][] = [];
  const txn = (_: Compare[], wanted: Op[]) =>
    new Promise<TxnResult>((resolve, reject) => {
      ops.push(wanted);
      asked.push((outcome) => (outcome instanceof AppError ? reject(outcome) : resolve(outcome)));
    });
  let view = viewWith('processA1111');
  const membership = {
    incarnation: '1',
    leaseId: 'lease',
    leaseValid: () => true,
    registrationText: () => '{}',
    get registrations() {
      return view.nodes;
    },
    get view() {
      return view;
    },
  };
  const parts = {
    cluster: { client: fake, objects: { selfId: 'self', options: {} } },
    membership,
    coordinator: { txn },
    directory: {
      line: () => ({ id: LINE, name: 'volume', vid: 1 }),
      vdi: () => record,
      owner: () => undefined,
      usage: () => (inOrder ? { own: 0, shared: 0 } : undefined),
    },
    clock: systemClock,
    log: silentLogger,
    released: async () => {},
    onReleased: () => {},
  };
  const manager = new VolumeManager(parts as unknown as VolumeManagerOptions);
  const enter = (incarnation: string) => {
    view = viewWith(incarnation);
    manager.enter(view);
  };
  return { fake, manager, asked, ops, enter };
}

/** Of an epoch in which the other gateway is a member as this registration of it. */
function viewWith(incarnation: string): ClusterView {
  return {
    epoch: 1,
    nodes: new Map([['other', { id: 'other', up: true, incarnation }]]),
  } as unknown as ClusterView;
}

const silence = () => new AppError('network', 'no answer from the coordinator');
const done: TxnResult = { ok: true, revision: 1 };

/** What another gateway asks that believes this one to be the owner. */
async function askedByOther(manager: VolumeManager): Promise<string> {
  const origin = { nodeId: 'other', incarnation: 'processA1111', closed: false };
  return manager.serve(deviceRequest(LINE, DeviceOp.info), origin).then(
    () => 'served',
    (error) => AppError.from(error).code,
  );
}

test('a claim that may stand is made anew for as long as others ask here, however often that fails', async () => {
  const { manager, asked } = await gateway();
  const first = manager.locate(LINE);
  asked[0]!(silence());
  await first.catch(() => {});
  for (let attempt = 1; attempt < 4; attempt++) {
    // The second one comes while the first one's attempt is under way.
    assert.equal([await askedByOther(manager), await askedByOther(manager)], ['again', 'again']);
    assert.is(asked.length, attempt + 1);
    asked[attempt]!(silence());
    await turn();
  }
  await askedByOther(manager);
  asked[4]!(done);
  await turn();
  assert.is(await askedByOther(manager), 'served');
  manager.stopped = true;
});

test('the claim of a deleted volume that could not be taken back is claimed anew', async () => {
  const { manager, asked } = await gateway();
  const located = manager.locate(LINE);
  asked[0]!(done);
  const target = await located;
  assert.is(target.kind, 'local');
  const dropped = target.kind === 'local' ? manager.drop(target.owned) : undefined;
  asked[1]!(silence());
  await dropped?.catch(() => {});
  await askedByOther(manager);
  assert.is(asked.length, 3);
  manager.stopped = true;
});

test('the ranges of a gateway that was started anew are unlocked, however soon it is back', async () => {
  const { manager, asked, enter } = await gateway();
  const located = manager.locate(LINE);
  asked[0]!(done);
  const target = await located;
  assert.is(target.kind, 'local');
  const owned = target.kind === 'local' ? target.owned : undefined;
  const write = (incarnation: string, id: bigint) => {
    const origin = { nodeId: 'other', incarnation, closed: false };
    return manager.serve(deviceRequest(LINE, DeviceOp.write, { ...range, parent: id }), origin);
  };
  const range = { offset: 0, length: 512, payload: new Uint8Array(512).fill(1) };
  await write('processA1111', 1n);
  assert.is(owned?.forwarded.size, 1);
  enter('processA2222');
  assert.is(owned?.forwarded.size, 1, 'it has only registered anew, and may ask again');
  enter('processB1111');
  assert.is(owned?.forwarded.size, 0);
  await write('processB1111', 1n);
  manager.stopped = true;
});

test('a gateway that this one does not know yet as it was started anew is not taken for the former one', async () => {
  const { manager, asked, enter } = await gateway();
  const located = manager.locate(LINE);
  asked[0]!(done);
  await located;
  const payload = new Uint8Array(512).fill(1);
  const write = (incarnation: string) => {
    const origin = { nodeId: 'other', incarnation, closed: false };
    const fields = { offset: 0, length: 512, payload, parent: 1n };
    return manager.serve(deviceRequest(LINE, DeviceOp.write, fields), origin).then(
      () => 'done',
      (error) => AppError.from(error).code,
    );
  };
  assert.is(await write('processA1111'), 'done');
  // Its first request has the number of the other's: the answer to that one would acknowledge a write never made.
  assert.is(await write('processB1111'), 'again');
  enter('processB1111');
  assert.is(await write('processA1111'), 'again');
  assert.is(await write('processB1111'), 'done');
  manager.stopped = true;
});

/** Another gateway's client that always has changes under way, one begun before the last one has its answer. */
function busyOther(manager: VolumeManager) {
  const origin = { nodeId: 'other', incarnation: 'processA1111', closed: false };
  const payload = new Uint8Array(512).fill(1);
  const refusals = new Set<string>();
  let [nextId, stopped] = [1n, false];
  const work = async (offset: number) => {
    while (!stopped) {
      const id = nextId++;
      const write = deviceRequest(LINE, DeviceOp.write, { offset, length: 512, payload, parent: id });
      // As over a network: the answer takes its time, and the confirmation goes with what comes next.
      await manager.serve(write, origin).catch((error) => refusals.add(AppError.from(error).code));
      await new Promise((resolve) => setTimeout(resolve, 2));
      const confirm = deviceRequest(LINE, DeviceOp.confirm, { payload: encodeOids([id]) });
      await manager.serve(confirm, origin);
    }
  };
  const workers = [0, 512, 0, 512].map(work);
  return { refusals, stop: () => Promise.all([...workers, (stopped = true)]) };
}

test('a volume that another gateway alone uses is given up, however busy that keeps it', async () => {
  const { manager, asked } = await gateway();
  const located = manager.locate(LINE);
  asked[0]!(done);
  const target = await located;
  assert.is(target.kind, 'local');
  const other = busyOther(manager);
  try {
    // What the volume uses is told, and the claim taken back, in one transaction.
    await within(5000, 'the volume is being given up', () => asked.length > 1);
    assert.equal([...other.refusals], ['again'], 'its client goes on at the next owner');
    asked[1]!(done);
    await within(5000, 'the claim is taken back', () => manager.ownedBy(LINE) === undefined);
    assert.is(asked.length, 2);
  } finally {
    await other.stop();
    manager.stopped = true;
  }
  manager.stopped = true;
});

test('a volume stays where it is when an answer is not confirmed, and others are served again', async () => {
  const { manager, asked } = await gateway();
  const located = manager.locate(LINE);
  asked[0]!(done);
  await located;
  const origin = { nodeId: 'other', incarnation: 'processA1111', closed: false };
  const fields = { offset: 0, length: 512, payload: new Uint8Array(512), parent: 1n };
  await manager.serve(deviceRequest(LINE, DeviceOp.write, fields), origin);
  await within(5000, 'it is about to be given up', async () => (await askedByOther(manager)) === 'again');
  await within(5000, 'it is served again', async () => (await askedByOther(manager)) === 'served');
  assert.is(asked.length, 1);
  manager.stopped = true;
});

/** What a transaction puts under a key that begins so, as an object. */
function putUnder(ops: readonly Op[], prefix: string): unknown {
  const op = ops.find(({ type, ...rest }) => type === 'put' && 'key' in rest && rest.key.startsWith(prefix));
  return op?.type === 'put' ? JSON.parse(op.value) : undefined;
}

test('a claim notes that the last owner did not end in good order, and only then', async () => {
  for (const inOrder of [true, false]) {
    const { manager, asked, ops } = await gateway({ inOrder });
    const located = manager.locate(LINE);
    asked[0]!(done);
    const target = await located;
    assert.is(putUnder(ops[0]!, 'v/vdi/') !== undefined, !inOrder);
    if (target.kind !== 'local') throw new Error('another gateway owns it');
    assert.is(target.owned.device.record.loose, inOrder ? undefined : true);
    manager.stopped = true;
  }
});

test('an owner that failed to make an object does not say that it ended in good order', async () => {
  for (const failing of [false, true]) {
    const { fake, manager, asked, ops } = await gateway();
    const located = manager.locate(LINE);
    asked[0]!(done);
    const target = await located;
    if (target.kind !== 'local') throw new Error('another gateway owns it');
    if (failing) fake.fault = () => new AppError('no-space', 'the disk is full');
    await target.owned.device.write(0, new Uint8Array(512)).catch(() => {});
    const given = manager.giveUp(target.owned);
    await within(5000, 'the volume is given up', () => asked.length > 1);
    asked[1]!(done);
    await given;
    assert.is(putUnder(ops[1]!, 'v/usage/') === undefined, failing);
  }
});

test.run();
