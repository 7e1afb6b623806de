import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type EpochNode,
  type EpochRecord,
  firstEpoch,
  formatEpoch,
  nextEpoch,
  parseEpoch,
  type Registration,
} from '../../../src/cluster/epoch.js';

function registration(id: string, fields: Partial<Registration> = {}): Registration {
  return {
    id,
    host: '127.0.0.1',
    port: 7000,
    nbdPort: 0,
    httpPort: 0,
    zone: 0,
    vnodes: 128,
    hostId: `host-${id}`,
    bootId: 'boot-1',
    incarnation: `${id}-1`,
    pid: 1,
    lease: `lease-${id}`,
    lossy: false,
    ...fields,
  };
}

function registered(...list: Registration[]): Map<string, Registration> {
  return new Map(list.map((r) => [r.id, r]));
}

const all = (): Registration[] => [registration('a'), registration('b'), registration('c')];
const healthy = (): EpochRecord => firstEpoch(all(), 0);

function node(record: EpochRecord | undefined, id: string): EpochNode {
  return record!.nodes.find((n) => n.id === id)!;
}

/** Applies a row of registrations, one epoch each; rows that change nothing are an error of the test. */
function history(...rows: Registration[][]): EpochRecord {
  let record = healthy();
  for (const row of rows) {
    const next = nextEpoch(record, registered(...row), 0);
    assert.ok(next, `nothing to do after epoch ${record.epoch}`);
    record = next;
  }
  return record;
}

test('the first epoch has every registered node as a full member, in the order of ids', () => {
  const record = firstEpoch([registration('c'), registration('a')], 5);
  assert.equal(
    record.nodes.map((n) => n.id),
    ['a', 'c'],
  );
  assert.equal([record.epoch, record.base, record.wallMs], [1, 1, 5]);
  assert.ok(record.nodes.every((n) => n.up && n.in && n.upSince === 1 && n.behindSince === undefined));
});

test('nothing to do gives no epoch', () => {
  assert.is(nextEpoch(healthy(), registered(...all()), 0), undefined);
  const [a, b] = all() as [Registration, Registration];
  const down = nextEpoch(healthy(), registered(a, b), 0)!;
  assert.is(nextEpoch(down, registered(a, b), 0), undefined);
});

test('the same record and registrations give the same epoch, in whatever order they were heard', () => {
  const [a, , c] = all() as [Registration, Registration, Registration];
  const one = nextEpoch(healthy(), registered(a, c), 7);
  const other = nextEpoch(healthy(), registered(c, a), 7);
  assert.equal(one, other);
});

test('a node without a registration goes down, stays in, and is behind since the last epoch', () => {
  const [a, b] = all() as [Registration, Registration];
  const record = history([a, b]);
  const c = node(record, 'c');
  assert.equal([c.up, c.in, c.behindSince, c.lossy], [false, true, 1, undefined]);
  assert.is(record.base, 1);
});

test('a node that returns is up, and still behind until it says that it has caught up', () => {
  const [a, b] = all() as [Registration, Registration];
  const back = registration('c', { incarnation: 'c-2' });
  const returned = history([a, b], [a, b, back]);
  assert.equal(
    [node(returned, 'c').up, node(returned, 'c').upSince, node(returned, 'c').behindSince],
    [true, 3, 1],
  );
  assert.is(returned.base, 1);
  const done = history([a, b], [a, b, back], [a, b, { ...back, caughtUp: 3 }]);
  assert.equal([node(done, 'c').behindSince, node(done, 'c').caughtUp, done.base], [undefined, true, 4]);
});

test('a declaration for an earlier time of being up is not believed', () => {
  const [a, b] = all() as [Registration, Registration];
  const back = registration('c', { incarnation: 'c-2' });
  const record = history([a, b], [a, b, back]);
  assert.is(nextEpoch(record, registered(a, b, { ...back, caughtUp: 2 }), 0), undefined);
});

test('a quick restart that nobody noticed and that lost nothing leaves a full member', () => {
  const [a, b] = all() as [Registration, Registration];
  const record = history([a, b, registration('c', { incarnation: 'c-2' })]);
  const c = node(record, 'c');
  assert.equal([c.up, c.upSince, c.behindSince, c.incarnation, record.base], [true, 2, undefined, 'c-2', 2]);
});

test('a quick restart with a loss is behind, and the loss shows in that step alone', () => {
  const [a, b] = all() as [Registration, Registration];
  const lossy = registration('c', { incarnation: 'c-2', lossy: true });
  const record = history([a, b, lossy]);
  assert.equal([node(record, 'c').lossy, node(record, 'c').behindSince], [true, 0]);
  const later = nextEpoch(record, registered(a, lossy), 0);
  assert.is(node(later, 'c').lossy, undefined);
});

test('a node whose machine has another boot id has lost power with it', () => {
  const shared = all().map((r) => ({ ...r, hostId: 'one-host' }));
  const record = firstEpoch(shared, 0);
  const back = { ...shared[0]!, bootId: 'boot-2', incarnation: 'a-2', lossy: true };
  const next = nextEpoch(record, registered(back), 0);
  assert.equal(
    next!.nodes.map((n) => [n.up, n.lossy, n.behindSince]),
    [
      [true, true, 0],
      [false, true, 0],
      [false, true, 0],
    ],
  );
});

test('a loss told again while the node is behind lowers nothing further', () => {
  const [a, b] = all() as [Registration, Registration];
  const first = registration('c', { incarnation: 'c-2', lossy: true });
  const second = registration('c', { incarnation: 'c-3', lossy: true });
  const record = history([a, b], [a, b, first], [a, b, second]);
  assert.is(node(record, 'c').behindSince, 0);
});

test('a loss reaches back to the last epoch the node certainly took part in, not the last that lists it', () => {
  // b and c lose power together in epoch 4, and b is noticed first: c is listed as up in epoch 5 but never entered it.
  const [a, b, c] = all() as [Registration, Registration, Registration];
  const again = { ...c, incarnation: 'c-2' };
  const full = history([a, b], [a, b, again], [a, b, { ...again, caughtUp: 3 }]);
  assert.is(full.epoch, 4);
  assert.ok(full.nodes.every((n) => n.sureEpoch === 3));
  const bGone = nextEpoch(full, registered(a, { ...again, caughtUp: 3 }), 0)!;
  const cGone = nextEpoch(bGone, registered(a), 0)!;
  const back = { ...c, incarnation: 'c-3', bootId: 'boot-2', lossy: true };
  const returned = nextEpoch(cGone, registered(a, back), 0)!;
  assert.is(node(returned, 'c').behindSince, 2, 'what was written in epoch 4 may be lost as well');
});

test('certainty needs that the node was up, by the same start, all the time the other caught up', () => {
  const [a, b, c] = all() as [Registration, Registration, Registration];
  const c2 = { ...c, incarnation: 'c-2' };
  const b2 = { ...b, incarnation: 'b-2' };
  const record = history([a, b], [a, b, c2], [a, b2, c2], [a, b2, { ...c2, caughtUp: 3 }]);
  assert.equal(
    record.nodes.map((n) => n.sureEpoch),
    [3, undefined, 3],
  );
});

test('going down and coming up in one step are both seen', () => {
  const [a, b] = all() as [Registration, Registration];
  const record = history([a, b], [a, registration('c', { incarnation: 'c-2' })]);
  assert.equal([node(record, 'b').up, node(record, 'c').up, node(record, 'b').behindSince], [false, true, 2]);
});

test('the address of a node that moved stays in the record, because it decides the placement', () => {
  const [a, b] = all() as [Registration, Registration];
  const record = history([a, b, registration('c', { incarnation: 'c-2', port: 9999 })]);
  assert.is(node(record, 'c').port, 7000);
});

test('a stranger is not taken in by an epoch', () => {
  assert.is(nextEpoch(healthy(), registered(...all(), registration('d')), 0), undefined);
});

test('a record survives its text; an unreadable one is refused', () => {
  const record = healthy();
  assert.equal(parseEpoch(JSON.stringify(record)), record);
  assert.throws(() => parseEpoch('{"epoch":"1"}'), /not readable/);
  assert.is(formatEpoch(record), 'epoch 1 base 1: a+, b+, c+');
});

test.run();
