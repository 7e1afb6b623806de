import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AuthorityHistory, defaultMinCopies } from '../../../src/cluster/epochs/authority.js';
import type { Change } from '../../../src/cluster/epochs/changes.js';
import type { EpochRecord, Registration } from '../../../src/cluster/epochs/epoch.js';
import { firstEpoch, nextEpoch } from '../../../src/cluster/epochs/next-epoch.js';
import { defaultSettings } from '../../../src/cluster/epochs/settings.js';
import { ClusterView } from '../../../src/cluster/epochs/view.js';
import type { Estimate } from '../../../src/cluster/recovery/estimate.js';
import type { RecoveryProgress } from '../../../src/cluster/recovery-meter.js';
import type { NodeFigures } from '../../../src/control/cluster-calls.js';
import type { MemberChange } from '../../../src/control/member-api.js';
import { movePlan } from '../../../src/control/move-plan.js';
import { nodeRows } from '../../../src/control/node-rows.js';
import { recoveryStatus } from '../../../src/control/recovery-status.js';

/** What people are told of members: rows, plans, why recovery waits. All pure. */
const GIB = 2 ** 30;
const ids = ['a', 'b', 'c', 'd'];

function registration(id: string): Registration {
  return {
    id,
    host: 'h',
    port: 7000 + ids.indexOf(id),
    nbdPort: 0,
    httpPort: 0,
    zone: ids.indexOf(id),
    vnodes: 128,
    hostId: id,
    bootId: 'boot',
    incarnation: `${id}-1`,
    pid: 1,
    lease: id,
    lossy: false,
  };
}

class World {
  readonly registrations = new Map<string, Registration>();
  readonly records: EpochRecord[];
  figures = new Map<string, NodeFigures>();
  settings = defaultSettings;

  constructor(readonly members = ['a', 'b', 'c']) {
    for (const id of members) this.up(id);
    this.records = [firstEpoch(this.registrations.values(), 1000)];
    for (const id of ids)
      this.figures.set(id, { totalBytes: 100 * GIB, usedBytes: GIB, freeBytes: 99 * GIB });
  }

  get record(): EpochRecord {
    return this.records[this.records.length - 1]!;
  }

  get view(): ClusterView {
    const history = new AuthorityHistory(this.records.filter((r) => r.epoch >= this.record.base));
    return new ClusterView(history, 'a', defaultMinCopies);
  }

  up(id: string): void {
    this.registrations.set(id, registration(id));
  }

  step(change?: Change): EpochRecord {
    const step = { wallMs: 2000, ran: true, ...(change !== undefined && { change }) };
    const next = nextEpoch(this.record, this.registrations, step);
    assert.ok(next, 'an epoch follows');
    this.records.push(next);
    return next;
  }

  down(id: string): void {
    this.registrations.delete(id);
    this.step();
  }

  rows() {
    const { record, registrations, figures } = this;
    return nodeRows({ record, registrations, figures });
  }

  status(copies = 3) {
    const { view, settings } = this;
    return recoveryStatus({ view, settings, copiesInUse: [copies], nodes: this.rows(), moveSinceWallMs: 5 });
  }

  plan(change: MemberChange & Change, estimates: Estimate[], copiesMax = 3) {
    const { record, registrations } = this;
    const next = nextEpoch(record, registrations, { wallMs: 0, ran: true, change })!;
    return movePlan({
      record,
      next,
      estimates,
      unasked: [],
      nodes: this.rows(),
      copiesMax,
      awaited: [],
    });
  }
}

function progress(world: World, fields: Partial<RecoveryProgress>): RecoveryProgress {
  return {
    doing: 'moving',
    key: `${world.record.move ?? 0}/1`,
    done: 30,
    remaining: 70,
    movedBytes: 2 ** 24,
    objectsPerS: 10,
    bytesPerS: 2 ** 20,
    ...fields,
  };
}

test('an ordinary member has nothing special in its row', () => {
  const [row] = new World().rows();
  for (const key of ['outBy', 'empty', 'maintenance', 'incomplete', 'behind', 'moving', 'progress']) {
    assert.not.ok(key in row!, key);
  }
  assert.equal([row!.up, row!.in, row!.syncing], [true, true, false]);
});

test('a row shows a member that joins, one that is down and behind, and one that is out', () => {
  const world = new World();
  world.up('d');
  world.step();
  world.down('b');
  world.step({ kind: 'out', id: 'c', by: 'admin' });
  const [, b, c, d] = world.rows();
  assert.equal([b!.up, b!.behind, b!.syncing, b!.progress], [false, true, false, undefined]);
  assert.equal([c!.in, c!.outBy, c!.empty, c!.moving], [false, 'admin', undefined, undefined]);
  assert.equal([d!.in, d!.empty, d!.moving, d!.progress?.doing], [true, true, true, 'moving']);
});

test('progress counts only when it is about what the epoch wants', () => {
  const world = new World();
  world.up('d');
  world.step();
  const figures = world.figures.get('d')!;
  world.figures.set('d', { ...figures, recovery: progress(world, { key: `${world.record.move}/2` }) });
  const of = () => world.rows().find((row) => row.id === 'd')!.progress!;
  assert.equal([of().done, of().total, of().etaMs], [30, 100, 7000]);
  world.figures.set('d', { ...figures, recovery: progress(world, { key: '1/1' }) });
  assert.equal([of().done, of().total, of().etaMs], [0, 0, undefined]);
});

test('a plan adds up what the sheep say, and takes its time from the one that is given most', () => {
  const world = new World(['a', 'b', 'c', 'd']);
  const one: Estimate = { objects: 50, single: 1, bytesPerObject: 1000, gains: { a: 4 }, losses: { d: 4 } };
  const two: Estimate = {
    objects: 50,
    single: 0,
    bytesPerObject: 3000,
    gains: { a: 2, b: 5 },
    losses: { d: 7 },
  };
  const plan = world.plan({ kind: 'out', id: 'd', by: 'admin' } as never, [one, two]);
  assert.equal(plan.refusals, []);
  assert.equal([plan.movedObjects, plan.movedBytes, plan.singleObjects, plan.objects], [11, 25_000, 1, 100]);
  assert.equal(
    plan.nodes.map((n) => [n.id, n.gainBytes, n.lossBytes]),
    [
      ['a', 10_000, 0],
      ['b', 15_000, 0],
      ['d', 0, 25_000],
    ],
  );
  assert.is(plan.durationMs, Math.round((15_000 / plan.bytesPerS) * 1000));
});

test('a plan is refused when it does not fit, leaves too few, or waits for a sheep that is down', () => {
  const out = { kind: 'out', id: 'd', by: 'admin' } as never;
  const big: Estimate = {
    objects: 1,
    single: 0,
    bytesPerObject: 98 * GIB,
    gains: { a: 1 },
    losses: { d: 1 },
  };
  const codes = (world: World, estimate: Estimate, copiesMax: number) =>
    world.plan(out, [estimate], copiesMax).refusals.map(({ code }) => code);
  const world = new World(['a', 'b', 'c', 'd']);
  assert.equal(codes(world, big, 3), ['no-space']);
  const small = { ...big, bytesPerObject: 1 };
  assert.equal(codes(world, small, 3), []);
  assert.equal(codes(world, small, 4), ['few-nodes']);
  world.down('b');
  assert.equal(codes(world, small, 3), ['down']);
});

test('a sheep whose figures are not known yet is not taken for a full one', () => {
  const world = new World();
  world.figures.delete('a');
  const estimate: Estimate = { objects: 1, single: 0, bytesPerObject: 1, gains: { a: 1 }, losses: { c: 1 } };
  assert.equal(world.plan({ kind: 'weight', id: 'a', vnodes: 256 }, [estimate], 2).refusals, []);
});

test('nothing waits while all is well, nor while a sheep is merely down', () => {
  const world = new World();
  assert.equal(world.status().waiting, []);
  world.down('c');
  assert.equal(world.status().waiting, []);
  assert.match(world.status().down.join(), /h:7002 is down; it is waited for: without it too few/);
  assert.match(world.status(2).down.join(), /when it has been down for 600 s it is given up/);
});

test('a move that waits for a sheep that is down says which, and the two choices', () => {
  const world = new World();
  world.up('d');
  world.step();
  world.down('b');
  const { waiting, move } = world.status();
  assert.equal(move, { epoch: 2, sinceWallMs: 5 });
  assert.equal(waiting, [
    "h:7001 is down, and objects shall lie on it: start it, or go on without it: 'dog node out h:7001'",
  ]);
});

test('what only sheep that are down have is said, alone or together', () => {
  const world = new World();
  world.down('c');
  world.down('b');
  assert.match(world.status(2).waiting.join('\n'), /h:7001 .*only they have|h:7001 is down and alone has/);
  world.down('a');
  const lines = world.status(1).waiting.join('\n');
  for (const port of [7000, 7001, 7002]) assert.match(lines, new RegExp(`h:${port} is down and alone has`));
});

test('what is lost for good points to accept-loss', () => {
  const world = new World(['a', 'b']);
  world.down('b');
  world.step({ kind: 'lost', id: 'b' });
  assert.equal(world.status(2).waiting, []);
  assert.match(world.status(1).waiting.join('\n'), /is lost; 'dog cluster accept-loss'/);
});

test('a pause is a reason only while there is something to do', () => {
  const world = new World();
  world.settings = { ...defaultSettings, recoveryPaused: true };
  assert.equal(world.status().waiting, []);
  world.up('d');
  world.step();
  assert.match(world.status().waiting.join(), /recovery is paused; 'dog cluster recover enable'/);
});

test('a sheep that is full is named', () => {
  const world = new World();
  world.up('d');
  world.step();
  const recovery = progress(world, { key: `${world.record.move}/2`, waiting: 'no-space' });
  world.figures.set('d', { ...world.figures.get('d')!, recovery });
  assert.match(world.status().waiting.join(), /h:7003 has no room/);
});

test.run();
