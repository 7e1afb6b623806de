import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { LogLevel } from '../../../../src/base/log-level.js';
import type { ClusterInfo as ControlClusterInfo, ControlResult } from '../../../../src/control/api.js';
import type { DiskFacts } from '../../../../src/sheepdog/admin/cluster-facts.js';
import {
  type ClusterInfo,
  type SheepFactsSources,
  sheepFacts,
  type VolumeSources,
} from '../../../../src/sheepdog/admin/sheep-facts.js';
import type { LockHolder } from '../../../../src/volume/locks.js';
import type { VdiRecord } from '../../../../src/volume/records.js';
import { ClusterFlag } from '../../../../src/wire/sheepdog.js';
import { fakeFacts } from './fixture.js';

/** The control interface lies above this folder, so that only here the compiler can see that both still agree. */
const agrees: {
  info(real: ControlClusterInfo): ClusterInfo;
  disks(real: ControlResult<'node.disks'>): { disks: readonly DiskFacts[] };
  recovery(real: ControlResult<'node.recovery'>): { recovering: boolean; done: number; total: number };
  level(real: ControlResult<'node.loglevel'>): { level: LogLevel };
  counters(real: ControlResult<'node.stat'>): { counters: Record<string, number> };
} = {
  info: (real) => real,
  disks: (real) => real,
  recovery: (real) => real,
  level: (real) => real,
  counters: (real) => real,
};
assert.is(Object.keys(agrees).length, 5);

const member = (id: string, port: number, up: boolean) => ({
  id,
  host: '127.0.0.1',
  port,
  vnodes: 128,
  zone: port - 7000,
  up,
  usedBytes: 10,
  freeBytes: 90,
});

const info: ClusterInfo = {
  status: 'running',
  createdMs: 5000,
  copies: 2,
  blockSizeShift: 23,
  epochs: [{ epoch: 4, wallMs: 7000, nodes: [{ host: '127.0.0.1', port: 7009, vnodes: 64 }] }],
  nodes: [member('a', 7000, true), member('b', 7001, false)],
};

const record = (vid: number, more: Partial<VdiRecord> = {}): VdiRecord => ({
  vid,
  line: 'line',
  tag: '',
  snapId: 1,
  parent: 0,
  root: vid,
  sizeBytes: 1,
  copies: 2,
  blockSizeShift: 22,
  createdMs: 1,
  snapshotMs: 0,
  state: 'live',
  ...more,
});

function volumesOf(records: VdiRecord[], holders: Partial<LockHolder>[], exclusive: boolean): VolumeSources {
  const directory = { vdis: () => records, line: (id: string) => ({ id, name: 'n', vid: 2 }) };
  const locks = { exclusive, holders: () => holders, catchUp: async () => {} };
  return { directory, locks, objects: fakeFacts().facts.objects } as unknown as VolumeSources;
}

function factsOf(more: Partial<SheepFactsSources> = {}) {
  const calls: [method: string, params: object][] = [];
  const results: Record<string, unknown> = {
    'node.loglevel': { level: 'debug' },
    'node.disks': { disks: [{ path: '/d', usedBytes: 1, freeBytes: 2 }] },
    'node.recovery': { recovering: true, done: 3, total: 4 },
    'node.stat': { counters: { 'client.read': 5, 'peer.writeBytes': 6 } },
  };
  const call = async (method: string, params: object) => {
    calls.push([method, params]);
    return { result: results[method] };
  };
  const sources = { vnodes: 128, driverName: 'local', info: () => info, volumes: () => undefined, call };
  return { calls, results, facts: sheepFacts({ ...sources, ...more }) };
}

test('only nodes that are up are shown; a past member has what the epoch knows of it', () => {
  const { nodes, epochs } = factsOf().facts.describe();
  assert.equal(nodes, [{ host: '127.0.0.1', port: 7000, vnodes: 128, zone: 0, spaceBytes: 100 }]);
  const past = { host: '127.0.0.1', port: 7009, vnodes: 64, zone: 0, spaceBytes: 0 };
  assert.equal(epochs, [{ epoch: 4, wallMs: 7000, nodes: [past] }]);
});

test('flags say how locks are', () => {
  const always = ClusterFlag.AUTO_VNODES | ClusterFlag.AVOID_DISKFULL;
  const flags = (volumes: VolumeSources | undefined) =>
    factsOf({ volumes: () => volumes }).facts.describe().flags;
  assert.is(flags(undefined), 0);
  assert.is(flags(volumesOf([], [], false)), always);
  assert.is(flags(volumesOf([], [], true)), always | ClusterFlag.USE_LOCK);
});

test('what a node knows of itself is asked of it', async () => {
  const { facts, results } = factsOf();
  assert.is(await facts.logLevel(), 7);
  assert.equal(await facts.disks(), [{ path: '/d', usedBytes: 1, freeBytes: 2 }]);
  assert.equal(await facts.recovery(), { finished: 3, total: 4 });
  results['node.recovery'] = { recovering: false, done: 0, total: 0 };
  assert.is(await facts.recovery(), undefined);
  const { gateway, peer } = await facts.counters();
  assert.equal([gateway.read, gateway.write, peer.writeBytes, peer.readBytes], [5, 0, 6, 0]);
});

test('acts are control calls', async () => {
  const { facts, calls } = factsOf();
  const { acts } = facts;
  await acts.format({ copies: 3, blockSizeShift: 22, strict: false, useLock: false });
  await acts.format({ copies: 3, blockSizeShift: 22, strict: true, useLock: true });
  await acts.shutdown();
  await acts.kill();
  await acts.setDefaultCopies(2);
  await acts.setRecovery(false);
  await acts.setLogLevel(4);
  assert.equal(calls, [
    ['cluster.format', { copies: 3, blockSizeShift: 22, force: true }],
    ['cluster.format', { copies: 3, blockSizeShift: 22, minCopies: 3, useLock: true, force: true }],
    ['cluster.shutdown', {}],
    ['node.kill', {}],
    ['cluster.alter-copy', { copies: 2 }],
    ['cluster.settings', { recoveryPaused: true }],
    ['node.loglevel', { level: 'warning' }],
  ]);
});

test('versions are shown unless they are still being made; a lock shows at the working one', async () => {
  const records = [
    record(1, { snapshotMs: 9 }),
    record(2, { parent: 1 }),
    record(3, { state: 'deleted' }),
    record(4, { state: 'pending' }),
  ];
  const lockOf = async (holders: Partial<LockHolder>[]) => {
    const { facts } = factsOf({ volumes: () => volumesOf(records, holders, false) });
    const vdis = await facts.vdis();
    assert.equal(
      vdis.map(({ vid, parentVid, snapshot, deleted }) => [vid, parentVid, snapshot, deleted]),
      [
        [1, 0, true, false],
        [2, 1, false, false],
        [3, 0, false, true],
      ],
    );
    assert.equal([vdis[0]?.lock, vdis[2]?.lock], [undefined, undefined]);
    return vdis[1]?.lock;
  };
  assert.is(await lockOf([]), undefined);
  assert.equal(await lockOf([{ nodeId: 'a', shared: false }]), {
    kind: 'locked',
    owners: [{ host: '127.0.0.1', port: 7000 }],
  });
  assert.equal(
    await lockOf([
      { nodeId: 'a', shared: true, state: 'modified' },
      { nodeId: 'unknown', shared: true, state: 'invalidated' },
    ]),
    {
      kind: 'shared',
      owners: [
        { host: '127.0.0.1', port: 7000, copy: 'modified' },
        { host: '', port: 0, copy: 'invalidated' },
      ],
    },
  );
});

test('a cluster that is not formatted has no volumes and no objects', async () => {
  const { facts } = factsOf();
  assert.equal(await facts.vdis(), []);
  assert.is(await facts.objects.sizeOf(1n), undefined);
  assert.is(await facts.objects.hash(1n), undefined);
  assert.is(await facts.objects.read(1n, 0, 1), undefined);
  for await (const oid of facts.objects.stored()) assert.unreachable(String(oid));
});

test.run();
