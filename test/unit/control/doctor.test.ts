/** Each rule of the doctor: silent when all is well, and what it says when its one thing is not. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { diagnose, summarise } from '../../../src/control/doctor.js';
import type { DoctorReport, DoctorState, Severity } from '../../../src/control/doctor-api.js';
import { listed, size, time } from '../../../src/control/doctor-words.js';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const HOUR_MS = 3_600_000;
const NOW_MS = Date.UTC(2026, 10, 23, 8);

type Loose<T> = { -readonly [K in keyof T]: T[K] };
type State = Loose<DoctorState>;

function report(): DoctorReport {
  return {
    wallMs: NOW_MS,
    version: '0.1.0',
    leaseTtlMs: 5000,
    reserveBytes: 2 * GIB,
    recoveryReserveBytes: 3 * GIB,
    incomplete: false,
    checksumErrors: 0,
  };
}

/** Four sheep on four machines in four zones, half full, with etcd: nothing to say. */
function healthy(): State {
  const ids = ['a', 'b', 'c', 'd'];
  const nodes = ids.map((id, index) => ({
    index,
    id,
    host: `10.0.0.${index + 1}`,
    port: 7000,
    nbdPort: 10809,
    httpPort: 0,
    vnodes: 128,
    zone: index + 1,
    up: true,
    in: true,
    syncing: false,
    syncingObjects: 0,
    storeBytes: 200 * GIB,
    usedBytes: 60 * GIB,
    freeBytes: 130 * GIB,
    pid: 1,
  }));
  return {
    situation: {
      host: '10.0.0.1',
      port: 7000,
      wallMs: NOW_MS,
      cluster: {
        status: 'running',
        clusterId: 'x',
        createdMs: 0,
        copies: 3,
        minCopies: 2,
        blockSizeShift: 22,
        epoch: 9,
        waiting: [],
        nodes,
        coordinator: { driver: 'etcd', address: 'etcd://10.0.0.1:2379/x' },
      },
      members: ids.map((id) => ({ id, hostId: `machine-${id}` })),
      downOutMs: 600_000,
      recoveryPaused: false,
      sets: [],
      volumes: [{ copies: 3, count: 2, names: ['disk', 'home'] }],
      scrub: { stopped: false, unrepairable: 0, places: [] },
      unreached: [],
      unfinished: [],
    },
    reports: Object.fromEntries(ids.map((id) => [id, report()])),
    clocksMs: { a: 3, b: -2, c: 0, d: 12 },
  };
}

interface Case {
  name: string;
  alter: (state: State) => void;
  rule: string;
  severity: Severity;
  text: RegExp;
  next?: RegExp;
}

const node = (state: State, id: string) => state.situation.cluster.nodes.find((n) => n.id === id)!;
const member = (state: State, id: string) => state.situation.members.find((m) => m.id === id)!;
const setOf = (fields: object) => ({ copies: 3, awaited: [], alone: [], ...fields });
const down = (state: State, id: string) => {
  Object.assign(node(state, id), { up: false });
  Object.assign(member(state, id), { downSinceWallMs: NOW_MS - 4 * 60_000 });
};

const cases: Case[] = [
  {
    name: 'a cluster that is not formatted',
    alter: (s) => Object.assign(s.situation.cluster, { status: 'wait-for-format' }),
    rule: 'not-formatted',
    severity: 'bad',
    text: /not formatted yet; 4 sheep are ready/,
    next: /^dog cluster format -c 3$/,
  },
  {
    name: 'a cluster that is being shut down',
    alter: (s) => Object.assign(s.situation.cluster, { status: 'shutdown' }),
    rule: 'shutdown',
    severity: 'bad',
    text: /shut down/,
  },
  {
    name: 'newest content on sheep that are down',
    alter: (s) => s.situation.sets.push(setOf({ awaited: [['b'], ['b', 'c']] })),
    rule: 'data-awaited',
    severity: 'bad',
    text: /on 10\.0\.0\.2:7000 and 10\.0\.0\.3:7000, which are down.*disk and home/,
    next: /^start the sheep 10\.0\.0\.2:7000/,
  },
  {
    name: 'newest content that is lost',
    alter: (s) => s.situation.sets.push(setOf({ awaited: [[]] })),
    rule: 'data-lost',
    severity: 'bad',
    text: /newest content of some objects is lost/,
    next: /^dog cluster accept-loss$/,
  },
  {
    name: 'too few copies for writes',
    alter: (s) => s.situation.sets.push(setOf({ blocked: { have: 1, needed: 2 }, alone: ['a'] })),
    rule: 'writes-wait',
    severity: 'bad',
    text: /need 2 copies up and in sync and have 1\. Reads go on/,
  },
  {
    name: 'objects with one copy left',
    alter: (s) => s.situation.sets.push(setOf({ alone: ['a', 'd'] })),
    rule: 'last-copy',
    severity: 'risk',
    text: /should have 3 copies have one.*on 10\.0\.0\.1:7000 and 10\.0\.0\.4:7000/,
  },
  {
    name: 'blocks that no replica has right',
    alter: (s) => {
      const place = {
        name: 'disk',
        tag: '',
        snapId: 0,
        deleted: false,
        part: 'data' as const,
        offsets: [4096],
      };
      s.situation.scrub = { stopped: false, unrepairable: 3, places: [place] };
    },
    rule: 'unrepairable',
    severity: 'bad',
    text: /3 objects are damaged on every sheep.*belong to disk/,
    next: /^dog cluster scrub status$/,
  },
  {
    name: 'a volume with one copy',
    alter: (s) => s.situation.volumes.push({ copies: 1, count: 1, names: ['scratch'] }),
    rule: 'single-copy',
    severity: 'risk',
    text: /^scratch is kept once/,
    next: /^dog vdi alter-copy -c 2 scratch$/,
  },
  {
    name: 'versions that were never finished',
    alter: (s) => s.situation.unfinished.push('disk'),
    rule: 'unfinished',
    severity: 'note',
    text: /^Of disk something was begun/,
  },
  {
    name: 'a sheep that is down',
    alter: (s) => down(s, 'b'),
    rule: 'node-down',
    severity: 'risk',
    text: /^10\.0\.0\.2:7000 is down, since 4 min\. What lies on a sheep that is down for 10 min is placed on others/,
    next: /^start the sheep 10\.0\.0\.2:7000$/,
  },
  {
    name: 'so many sheep down that none can be given up',
    alter: (s) => {
      down(s, 'b');
      down(s, 'c');
    },
    rule: 'node-down',
    severity: 'risk',
    text: /^10\.0\.0\.2:7000 and 10\.0\.0\.3:7000 are down, since 4 min\. They are waited for/,
  },
  {
    name: 'a gateway that is down',
    alter: (s) => {
      down(s, 'd');
      Object.assign(node(s, 'd'), { vnodes: 0, empty: true });
    },
    rule: 'node-down',
    severity: 'note',
    text: /No objects lie there/,
  },
  {
    name: 'a sheep that does not answer',
    alter: (s) => {
      s.reports.c = { error: 'no answer in 2000 ms' };
    },
    rule: 'node-silent',
    severity: 'risk',
    text: /10\.0\.0\.3:7000 is a member.*no answer in 2000 ms/,
  },
  {
    name: 'a sheep that keeps out',
    alter: (s) => {
      down(s, 'c');
      Object.assign(member(s, 'c'), { asideReason: 'it does not reach a' });
    },
    rule: 'node-aside',
    severity: 'risk',
    text: /keeps out of the cluster.*it does not reach a/,
  },
  {
    name: 'sheep that do not reach each other',
    alter: (s) => s.situation.unreached.push(['a', 'c']),
    rule: 'unreached',
    severity: 'risk',
    text: /10\.0\.0\.1:7000 does not reach 10\.0\.0\.3:7000/,
  },
  {
    name: 'a sheep that catches up',
    alter: (s) => {
      const progress = {
        doing: 'catching-up' as const,
        done: 5,
        total: 20,
        movedBytes: 0,
        bytesPerS: 0,
        etaMs: 90_000,
      };
      Object.assign(node(s, 'b'), { behind: true, syncing: true, progress });
    },
    rule: 'node-behind',
    severity: 'risk',
    text: /catches up with what it missed: 5 of about 20 objects, about 90 s left/,
    next: /^dog cluster recover status$/,
  },
  {
    name: 'a sheep that lost a disk',
    alter: (s) => Object.assign(node(s, 'b'), { incomplete: true, behind: true }),
    rule: 'node-incomplete',
    severity: 'risk',
    text: /lost objects \(a disk is gone\)/,
  },
  {
    name: 'a new sheep',
    alter: (s) => {
      s.situation.move = 9;
      Object.assign(node(s, 'd'), { empty: true, moving: true });
    },
    rule: 'node-moving',
    severity: 'note',
    text: /10\.0\.0\.4:7000 is given objects/,
  },
  {
    name: 'a move',
    alter: (s) => {
      s.situation.move = 9;
    },
    rule: 'move',
    severity: 'note',
    text: /Objects are being moved/,
  },
  {
    name: 'something that cannot be taken over',
    alter: (s) => {
      s.reports.d = { ...report(), waiting: '1 objects have to wait: the disk of b' };
    },
    rule: 'recovery-waits',
    severity: 'risk',
    text: /cannot take over some objects at present: 1 objects have to wait/,
  },
  {
    name: 'a maintenance with the sheep up',
    alter: (s) => Object.assign(node(s, 'b'), { maintenance: true }),
    rule: 'maintenance',
    severity: 'note',
    text: /is in maintenance and up/,
    next: /^dog node maintenance 10\.0\.0\.2:7000 --end$/,
  },
  {
    name: 'a maintenance that was forgotten',
    alter: (s) => {
      Object.assign(node(s, 'b'), { maintenance: true });
      Object.assign(member(s, 'b'), { maintenanceSinceWallMs: NOW_MS - 50 * HOUR_MS });
    },
    rule: 'maintenance',
    severity: 'risk',
    text: /has been in maintenance for 2 days.*forgotten/,
  },
  {
    name: 'a sheep that was given up',
    alter: (s) => {
      down(s, 'b');
      Object.assign(node(s, 'b'), { in: false, outBy: 'delay', empty: true });
    },
    rule: 'node-given-up',
    severity: 'note',
    text: /was down for too long: its objects lie elsewhere/,
  },
  {
    name: 'a sheep that is being emptied',
    alter: (s) => Object.assign(node(s, 'b'), { in: false, outBy: 'admin' }),
    rule: 'node-draining',
    severity: 'note',
    text: /is being emptied/,
  },
  {
    name: 'a sheep that is empty and down',
    alter: (s) => {
      down(s, 'b');
      Object.assign(node(s, 'b'), { in: false, outBy: 'admin', empty: true });
    },
    rule: 'node-empty',
    severity: 'note',
    text: /holds no objects any more/,
    next: /^dog node remove 10\.0\.0\.2:7000$/,
  },
  {
    name: 'different versions',
    alter: (s) => {
      s.reports.c = { ...report(), version: '0.2.0' };
    },
    rule: 'versions',
    severity: 'note',
    text: /0\.1\.0 on .*; 0\.2\.0 on 10\.0\.0\.3:7000/,
    next: /^dog cluster upgrade$/,
  },
  {
    name: 'clocks apart',
    alter: (s) => {
      s.clocksMs.b = 95_000;
    },
    rule: 'clocks',
    severity: 'note',
    text: /clock of 10\.0\.0\.2:7000 is 95 s ahead of that of 10\.0\.0\.3:7000/,
  },
  {
    name: 'a short lease',
    alter: (s) => {
      s.reports.a = { ...report(), leaseTtlMs: 500 };
    },
    rule: 'lease-short',
    severity: 'note',
    text: /lease of 10\.0\.0\.1:7000 is short/,
  },
  {
    name: 'another weight and zone on the command line',
    alter: (s) => Object.assign(member(s, 'a'), { startedWith: { zone: 9, vnodes: 64 } }),
    rule: 'started-with',
    severity: 'note',
    text: /was started with weight 64 \(128 counts\) and zone 9 \(1 counts\)/,
    next: /^dog node weight 10\.0\.0\.1:7000 64 --dry-run$/,
  },
  {
    name: 'no sheep that holds objects',
    alter: (s) => {
      for (const n of s.situation.cluster.nodes) Object.assign(n, { in: false, empty: true });
    },
    rule: 'no-holders',
    severity: 'bad',
    text: /No sheep holds objects/,
  },
  {
    name: 'a full sheep',
    alter: (s) => Object.assign(node(s, 'c'), { freeBytes: 2 * GIB }),
    rule: 'full',
    severity: 'bad',
    text: /10\.0\.0\.3:7000 is full \(2 GiB of 200 GiB free\)/,
  },
  {
    name: 'a nearly full sheep',
    alter: (s) => Object.assign(node(s, 'c'), { freeBytes: 15 * GIB }),
    rule: 'nearly-full',
    severity: 'risk',
    text: /nearly full \(15 GiB of 200 GiB free\)/,
  },
  {
    name: 'no room for what is to be taken over',
    alter: (s) => {
      const progress = {
        doing: 'moving' as const,
        done: 0,
        total: 9,
        movedBytes: 0,
        bytesPerS: 0,
        waiting: 'no-space',
      };
      Object.assign(node(s, 'd'), { moving: true, progress });
    },
    rule: 'recovery-no-space',
    severity: 'risk',
    text: /10\.0\.0\.4:7000 has no room/,
    next: /^dog vdi list$/,
  },
  {
    name: 'a loss that would not fit',
    alter: (s) => {
      for (const n of s.situation.cluster.nodes)
        Object.assign(n, { usedBytes: 160 * GIB, freeBytes: 38 * GIB });
    },
    rule: 'loss-does-not-fit',
    severity: 'risk',
    text: /Should 10\.0\.0\.1:7000 be lost, its 160 GiB would not fit/,
  },
  {
    name: 'an uneven load',
    alter: (s) => Object.assign(node(s, 'b'), { usedBytes: 120 * GIB }),
    rule: 'uneven',
    severity: 'note',
    text: /10\.0\.0\.2:7000 has 120 GiB, its part by weight is 75 GiB/,
    next: /^dog node weight 10\.0\.0\.2:7000 80 --dry-run$/,
  },
  {
    name: 'recovery paused with nothing to recover',
    alter: (s) => {
      s.situation.recoveryPaused = true;
    },
    rule: 'recovery-paused',
    severity: 'note',
    text: /should a sheep fail, nothing is copied/,
    next: /^dog cluster recover enable$/,
  },
  {
    name: 'recovery paused with something to recover',
    alter: (s) => {
      s.situation.recoveryPaused = true;
      down(s, 'a');
    },
    rule: 'recovery-paused',
    severity: 'risk',
    text: /there is something to recover/,
  },
  {
    name: 'sheep that are never given up',
    alter: (s) => {
      s.situation.downOutMs = 0;
    },
    rule: 'never-given-up',
    severity: 'note',
    text: /never given up by itself/,
  },
  {
    name: 'fewer sheep than copies',
    alter: (s) => {
      s.situation.volumes.push({ copies: 5, count: 1, names: ['safe'] });
    },
    rule: 'few-holders',
    severity: 'risk',
    text: /to have 5 copies, and 4 sheep hold objects/,
  },
  {
    name: 'all on one machine',
    alter: (s) => {
      for (const m of s.situation.members) m.hostId = 'same';
    },
    rule: 'one-machine',
    severity: 'note',
    text: /All 4 sheep run on one machine/,
  },
  {
    name: 'fewer zones than copies',
    alter: (s) => {
      for (const n of s.situation.cluster.nodes) n.zone = n.index % 2;
    },
    rule: 'few-zones',
    severity: 'note',
    text: /3 copies and there are 2 zones/,
  },
  {
    name: 'one zone for several machines',
    alter: (s) => {
      for (const n of s.situation.cluster.nodes) n.zone = 0;
    },
    rule: 'few-zones',
    severity: 'risk',
    text: /All sheep are in one zone/,
  },
  {
    name: 'a zone with most of the weight',
    alter: (s) => Object.assign(node(s, 'a'), { vnodes: 1000 }),
    rule: 'heavy-zone',
    severity: 'note',
    text: /Zone 1 has more than half of the weight/,
  },
  {
    name: 'the embedded coordinator for several machines',
    alter: (s) => {
      s.situation.cluster.coordinator = { driver: 'local', address: '/coordinator' };
    },
    rule: 'local-coordinator',
    severity: 'risk',
    text: /run on 4 machines/,
  },
  {
    name: 'writes with one copy',
    alter: (s) => {
      s.situation.cluster.minCopies = 1;
    },
    rule: 'min-copies',
    severity: 'note',
    text: /acknowledged with one copy in sync/,
  },
  {
    name: 'a scrub that is stopped',
    alter: (s) => {
      s.situation.scrub = { stopped: true, unrepairable: 0, places: [] };
    },
    rule: 'scrub-stopped',
    severity: 'note',
    text: /is stopped/,
  },
];

test('a healthy cluster has no findings', () => {
  assert.equal(diagnose(healthy()), []);
  assert.is(summarise(healthy(), []), 'All is well: 4 of 4 sheep up, everything in sync.');
});

for (const { name, alter, rule, severity, text, next } of cases) {
  test(`${name}: ${severity}`, () => {
    const state = healthy();
    alter(state);
    const found = diagnose(state).find((f) => f.rule === rule);
    assert.ok(found, `${rule} is not among ${diagnose(state).map((f) => f.rule)}`);
    assert.is(found.severity, severity);
    assert.match(found.text, text);
    if (next !== undefined) assert.match(found.next!.command, next);
  });
}

test('every sentence ends, and every step says what it does', () => {
  for (const { alter } of cases) {
    const state = healthy();
    alter(state);
    for (const { text, next, otherwise } of diagnose(state)) {
      assert.match(text, /^[A-Z0-9a-z].*[.?]$/);
      assert.not.match(text, /undefined|NaN|\[object/);
      for (const step of [next, otherwise]) {
        if (step === undefined) continue;
        assert.match(step.effect, /^[A-Z].*\.$/);
        assert.not.match(step.command, /undefined|NaN/);
      }
    }
  }
});

test('what is bad comes before what is at risk, and that before notes', () => {
  const state = healthy();
  state.situation.cluster.minCopies = 1;
  Object.assign(node(state, 'c'), { freeBytes: 15 * GIB });
  state.situation.sets.push(setOf({ awaited: [['b']] }));
  const severities = diagnose(state).map((f) => f.severity);
  assert.equal(severities, ['bad', 'risk', 'risk', 'note']);
  assert.match(
    summarise(state, diagnose(state)),
    /^Something is wrong \(4 of 4 sheep up\): 1 thing to see to first/,
  );
});

test('a sheep that says nothing of itself is judged by what others know', () => {
  const state = healthy();
  state.reports = {};
  state.clocksMs = {};
  assert.equal(diagnose(state), []);
});

test('before the format nothing is said of copies and zones', () => {
  const state = healthy();
  Object.assign(state.situation.cluster, { status: 'wait-for-format', copies: 0, minCopies: 0, epoch: 0 });
  for (const n of state.situation.cluster.nodes) Object.assign(n, { in: false, storeBytes: 0, freeBytes: 0 });
  state.situation.volumes = [];
  assert.equal(
    diagnose(state).map((f) => f.rule),
    ['not-formatted'],
  );
});

test('names, sizes and times are written for people', () => {
  assert.is(listed(['a']), 'a');
  assert.is(listed(['a', 'b', 'c']), 'a, b and c');
  assert.is(listed(['a', 'b', 'c', 'd', 'e']), 'a, b, c and 2 more');
  assert.is(listed(['a', 'b'], 40), 'a, b and 38 more');
  assert.is(size(1.5 * MIB), '1.5 MiB');
  assert.is(size(3000 * GIB), '2.9 TiB');
  assert.is(time(90_000), '90 s');
  assert.is(time(30 * HOUR_MS), '30 h');
});

test.run();
