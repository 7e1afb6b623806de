import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type EpochNode,
  type EpochRecord,
  formatEpoch,
  parseEpoch,
  type Registration,
} from '../../../../src/cluster/epochs/epoch.js';
import { firstEpoch, nextEpoch as nextOf } from '../../../../src/cluster/epochs/next-epoch.js';

/** The present epoch was entered by all who are up, unless the test says otherwise. */
function nextEpoch(
  record: EpochRecord,
  registrations: ReadonlyMap<string, Registration>,
  wallMs: number,
  ran = true,
) {
  return nextOf(record, registrations, { wallMs, ran });
}

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
  assert.equal(
    bGone.nodes.map((n) => n.sureEpoch),
    [4, 4, 4],
  );
  const cGone = nextEpoch(bGone, registered(a), 0, false)!;
  const back = { ...c, incarnation: 'c-3', bootId: 'boot-2', lossy: true };
  const returned = nextEpoch(cGone, registered(a, back), 0)!;
  assert.is(node(returned, 'c').behindSince, 3, 'what was written in epoch 4 may be lost as well');
});

test('an epoch that not everybody entered proves nothing of anybody', () => {
  const [a, b] = all() as [Registration, Registration];
  const down = nextEpoch(healthy(), registered(a, b), 0, false)!;
  assert.equal(
    down.nodes.map((n) => n.sureEpoch),
    [undefined, undefined, undefined],
  );
  assert.is(down.ran, false);
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

test('who registers is taken in, holds nothing at first, and is given its part by a move', () => {
  const d = registration('d');
  const joined = nextEpoch(healthy(), registered(...all(), d), 0)!;
  const { up, in: isIn, placed } = node(joined, 'd');
  assert.equal([up, isIn, placed, joined.move, joined.base], [true, true, undefined, 2, 1]);
  const saying = [...all(), d].map((r) => ({ ...r, moved: 2 }));
  const most = nextEpoch(joined, registered(...saying.slice(1), all()[0]!), 0)!;
  assert.equal([most.move, node(most, 'd').placed], [2, undefined], 'not before everybody has everything');
  const switched = nextEpoch(most, registered(...saying), 0)!;
  assert.equal([switched.move, switched.base], [undefined, 4]);
  assert.equal(node(switched, 'd').placed, { zone: 0, vnodes: 128 });
  assert.ok(switched.nodes.every((n) => n.moved === undefined));
});

test('a gateway that registers moves nothing', () => {
  const joined = nextEpoch(healthy(), registered(...all(), registration('d', { vnodes: 0 })), 0)!;
  assert.equal([joined.move, joined.base], [undefined, 2]);
});

test('what was said about one move does not count for the next', () => {
  const [a, b, c] = all().map((r) => ({ ...r, moved: 2 })) as [Registration, Registration, Registration];
  const first = nextOf(healthy(), registered(a, b, c), {
    wallMs: 0,
    ran: true,
    change: { kind: 'weight', id: 'a', vnodes: 64 },
  })!;
  assert.is(first.move, 2);
  const half = nextEpoch(first, registered(a, b, registration('c')), 0)!;
  assert.equal([node(half, 'a').moved, node(half, 'c').moved], [2, undefined]);
  const second = nextOf(half, registered(a, b, registration('c')), {
    wallMs: 0,
    ran: true,
    change: { kind: 'weight', id: 'a', vnodes: 32 },
  })!;
  assert.equal([second.move, node(second, 'a').moved], [4, undefined]);
});

test('a node that was out for being away comes in again when it is back; one that was asked to go does not', () => {
  const [a, b, c] = all() as [Registration, Registration, Registration];
  for (const by of ['delay', 'admin'] as const) {
    const down = nextEpoch(healthy(), registered(a, b), 0)!;
    const out = nextOf(down, registered(a, b), {
      wallMs: 0,
      ran: true,
      change: { kind: 'out', id: 'c', by },
    })!;
    assert.equal([node(out, 'c').in, out.move], [false, 3]);
    const back = nextEpoch(out, registered(a, b, c), 0)!;
    assert.equal([node(back, 'c').in, back.move], by === 'delay' ? [true, undefined] : [false, 3]);
  }
});

test('a node is removed only when nothing lies on it and it is down', () => {
  const [a, b, c] = all() as [Registration, Registration, Registration];
  const change = (kind: 'out' | 'remove') =>
    kind === 'out' ? ({ kind, id: 'c', by: 'admin' } as const) : ({ kind, id: 'c' } as const);
  const step = (kind: 'out' | 'remove') => ({ wallMs: 0, ran: true, change: change(kind) });
  assert.throws(() => nextOf(healthy(), registered(a, b, c), step('remove')), /drain it first/);
  const moving = nextOf(healthy(), registered(a, b, c), step('out'))!;
  const saying = [a, b].map((r) => ({ ...r, moved: 2 }));
  const empty = nextEpoch(moving, registered(...saying, c), 0)!;
  assert.is(node(empty, 'c').placed, undefined);
  assert.throws(() => nextOf(empty, registered(a, b, c), step('remove')), /stop its sheep first/);
  const gone = nextOf(nextEpoch(empty, registered(a, b), 0)!, registered(a, b), step('remove'))!;
  assert.equal(
    gone.nodes.map((n) => n.id),
    ['a', 'b'],
  );
  assert.is(gone.base, gone.epoch);
});

test('copies of a family change at the switch', () => {
  const change = { kind: 'copies', root: 0xabc, present: 2, copies: 3 } as const;
  const moving = nextOf(healthy(), registered(...all()), { wallMs: 0, ran: true, change })!;
  assert.equal([moving.move, moving.families], [2, { abc: { copies: 2, next: 3 } }]);
  const done = nextEpoch(moving, registered(...all().map((r) => ({ ...r, moved: 2 }))), 0)!;
  assert.equal([done.move, done.families], [undefined, { abc: { copies: 3 } }]);
});

test('a record survives its text; an unreadable one is refused', () => {
  const record = healthy();
  assert.equal(parseEpoch(JSON.stringify(record)), record);
  assert.throws(() => parseEpoch('{"epoch":"1"}'), /not readable/);
  assert.is(formatEpoch(record), 'epoch 1 base 1: a+, b+, c+');
});

test.run();
