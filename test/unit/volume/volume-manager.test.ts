import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { systemClock } from '../../../src/base/clock.js';
import { AppError } from '../../../src/base/errors.js';
import { silentLogger } from '../../../src/base/log.js';
import { SeededRandom } from '../../../src/base/random.js';
import type { ClusterView } from '../../../src/cluster/epochs/view.js';
import type { TxnResult } from '../../../src/coord/coordinator.js';
import { DeviceOp, deviceRequest } from '../../../src/volume/remote-codec.js';
import { VolumeManager, type VolumeManagerOptions } from '../../../src/volume/volume-manager.js';
import { createVersion, FakeClient, versionRecord } from './fake-client.js';

const LINE = '000000000001';
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A gateway with one volume, and a coordinator of which the test says what it answers. */
async function gateway() {
  const fake = new FakeClient(new SeededRandom(1));
  const record = versionRecord(1, 1024);
  await createVersion(fake, record);
  const asked: ((outcome: TxnResult | AppError) => void)[] = [];
  const txn = () =>
    new Promise<TxnResult>((resolve, reject) => {
      asked.push((outcome) => (outcome instanceof AppError ? reject(outcome) : resolve(outcome)));
    });
  const membership = {
    incarnation: '1',
    leaseId: 'lease',
    leaseValid: () => true,
    view: { epoch: 1, nodes: new Map() },
  };
  const parts = {
    cluster: { client: fake, objects: { selfId: 'self', options: {} } },
    membership,
    coordinator: { txn },
    directory: {
      line: () => ({ id: LINE, name: 'volume', vid: 1 }),
      vdi: () => record,
      owner: () => undefined,
    },
    clock: systemClock,
    log: silentLogger,
    released: async () => {},
    onReleased: () => {},
  };
  return { manager: new VolumeManager(parts as unknown as VolumeManagerOptions), asked };
}

const silence = () => new AppError('network', 'no answer from the coordinator');
const done: TxnResult = { ok: true, revision: 1 };

/** What another gateway asks that believes this one to be the owner. */
async function askedByOther(manager: VolumeManager): Promise<string> {
  const origin = { nodeId: 'other', incarnation: '1', closed: false };
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
  const { manager, asked } = await gateway();
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
  const enter = (incarnation: string) =>
    manager.enter({ nodes: new Map([['other', { up: true, incarnation }]]) } as unknown as ClusterView);
  await write('processA1111', 1n);
  assert.is(owned?.forwarded.size, 1);
  enter('processA2222');
  assert.is(owned?.forwarded.size, 1, 'it has only registered anew, and may ask again');
  enter('processB1111');
  assert.is(owned?.forwarded.size, 0);
  await write('processB1111', 1n);
  manager.stopped = true;
});

test.run();
