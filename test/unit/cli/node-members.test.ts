import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { MovePlan } from '../../../src/control/member-api.js';
import { DogBench } from '../../helpers/run-dog.js';

/** Commands that change members: what they ask for, refuse and print. */
async function withBench(run: (bench: DogBench) => Promise<void>): Promise<void> {
  const bench = await DogBench.start();
  bench.cluster.nodes = bench.cluster.nodes.map((node) => ({ ...node, port: bench.port + node.index }));
  bench.cluster.nodes[0]!.port = bench.port;
  try {
    await run(bench);
  } finally {
    await bench.stop();
  }
}

const MIB = 2 ** 20;

function plan(bench: DogBench, extra: Partial<MovePlan> = {}): MovePlan {
  const [first, second] = bench.cluster.nodes.map(({ id, host, port, up }) => ({ id, host, port, up }));
  const none = { gainObjects: 0, gainBytes: 0, lossObjects: 0, lossBytes: 0, freeBytes: 2 ** 30, fits: true };
  return {
    changes: true,
    movedObjects: 12,
    movedBytes: 48 * MIB,
    durationMs: 1600,
    bytesPerS: 30 * MIB,
    measured: false,
    objects: 40,
    singleObjects: 0,
    nodes: [
      { ...first!, ...none, gainObjects: 12, gainBytes: 48 * MIB },
      { ...second!, ...none, lossObjects: 12, lossBytes: 48 * MIB },
    ],
    refusals: [],
    warnings: [],
    ...extra,
  };
}

test('drain --dry-run says what would be moved, on standard output, and changes nothing', () =>
  withBench(async (bench) => {
    bench.cluster.plan = plan(bench);
    const { exit, stdout, stderr } = await bench.run('node drain 1 --dry-run');
    assert.equal([exit, stderr, bench.cluster.changes.length], [0, '', 0]);
    const [from, to] = [bench.port + 1, bench.port];
    assert.is(
      stdout,
      `Moves about 48 MB in 12 objects:
  127.0.0.1:${to}  takes about 48 MB in 12 objects; 1.0 GB are free
  127.0.0.1:${from}  gives about 48 MB in 12 objects
That takes about 1.6 s at 30 MB/s for each sheep (assumed). Volumes stay in use.
No copy is removed before all new ones are complete. Every object has more than one copy now.
`,
    );
    const json = JSON.parse((await bench.run('node drain 1 -n --json')).stdout) as MovePlan;
    assert.is(json.movedObjects, 12);
  }));

test('drain changes the sheep that was named, and waits until nothing lies on it', () =>
  withBench(async (bench) => {
    bench.cluster.plan = plan(bench);
    for (const name of ['1', `127.0.0.1:${bench.port + 1}`, 'node1']) {
      bench.cluster.changes.length = 0;
      bench.cluster.looksToDo = 2;
      const { exit, stdout, stderr } = await bench.run(`node drain ${name}`);
      assert.equal([exit, stdout], [0, ''], stderr);
      assert.equal(bench.cluster.changes, [{ kind: 'out', id: 'node1' }]);
      assert.match(stderr, /No object lies on 127\.0\.0\.1:\d+ any more/);
      bench.cluster.nodes = bench.cluster.nodes.map(({ empty: _, ...node }) => ({ ...node, in: true }));
    }
  }));

test('what speaks against it is refused with the right exit code, unless it is forced', () =>
  withBench(async (bench) => {
    for (const [code, exit] of [
      ['no-space', 4],
      ['few-nodes', 1],
      ['down', 1],
    ] as const) {
      bench.cluster.plan = plan(bench, { refusals: [{ code, text: 'this speaks against it' }] });
      bench.cluster.changes.length = 0;
      const refused = await bench.run('node out 1');
      assert.equal([refused.exit, bench.cluster.changes.length], [exit, 0]);
      assert.match(refused.stderr, /Nothing was done: this speaks against it\n/);
      assert.is((await bench.run('node out 1 --force')).exit, 0);
      assert.is(bench.cluster.changes.length, 1);
    }
  }));

test('a sheep that is down is not drained but put out', () =>
  withBench(async (bench) => {
    bench.cluster.nodes[2]!.up = false;
    const name = `127.0.0.1:${bench.port + 2}`;
    const refused = await bench.run(`node drain ${name}`);
    assert.is(refused.exit, 1);
    assert.match(refused.stderr, new RegExp(`'dog node out ${name}'`));
    assert.is((await bench.run('node drain 2')).exit, 64, 'numbers are those of sheep that are up');
    bench.cluster.plan = plan(bench);
    assert.is((await bench.run(`node out ${name}`)).exit, 0);
    assert.equal(bench.cluster.changes, [{ kind: 'out', id: 'node2' }]);
  }));

test('weight, in, maintenance and remove ask for what they say', () =>
  withBench(async (bench) => {
    bench.cluster.plan = plan(bench, { movedObjects: 0, nodes: [] });
    bench.cluster.nodes[2] = { ...bench.cluster.nodes[2]!, up: false, empty: true };
    const name = `127.0.0.1:${bench.port + 2}`;
    for (const line of [
      'node weight 1 256',
      'node vnodes set 64',
      'node in 1',
      'node maintenance 1',
      `node maintenance ${name} --end`,
      `node remove ${name}`,
    ]) {
      const { exit, stderr } = await bench.run(line);
      assert.is(exit, 0, `${line}: ${stderr}`);
    }
    assert.equal(bench.cluster.changes, [
      { kind: 'weight', id: 'node1', vnodes: 256 },
      { kind: 'weight', id: 'node0', vnodes: 64 },
      { kind: 'in', id: 'node1' },
      { kind: 'maintenance', id: 'node1', on: true },
      { kind: 'maintenance', id: 'node2', on: false },
      { kind: 'remove', id: 'node2' },
    ]);
    assert.is((await bench.run('node weight 1 70000')).exit, 64);
  }));

test('a sheep that holds objects, or is up, is not removed', () =>
  withBench(async (bench) => {
    const holds = await bench.run('node remove 1');
    assert.is(holds.exit, 1);
    assert.match(holds.stderr, /objects lie on .*\nDrain it first: 'dog node drain/);
    bench.cluster.nodes[1]!.empty = true;
    assert.match((await bench.run('node remove 1')).stderr, /is up\nStop it first/);
    assert.equal(bench.cluster.changes, []);
  }));

test('lost needs a sheep that is down, and --yes; it says first what is lost', () =>
  withBench(async (bench) => {
    assert.is((await bench.run('node lost 1')).exit, 1);
    bench.cluster.nodes[1]!.up = false;
    const version = {
      name: 'alpha',
      tag: '',
      snapId: 0,
      objectBytes: 4 * MIB,
      inodeLost: false,
      unreadable: false,
    };
    bench.cluster.loss = {
      versions: [
        { ...version, objects: 10, lostObjects: 3, goneObjects: 1 },
        {
          ...version,
          name: 'beta',
          tag: 't',
          snapId: 2,
          objects: 0,
          lostObjects: 0,
          goneObjects: 0,
          inodeLost: true,
        },
      ],
      checked: 5,
    };
    const asked = await bench.run('node lost node1');
    assert.equal([asked.exit, bench.cluster.changes], [1, []]);
    assert.is(
      asked.stdout,
      `These lose data that was acknowledged:
  alpha: up to 12 MB, 3 of 10 objects (1 have no copy left, 2 go back to what a sheep has that was away)
  beta, snapshot t: its index; nothing of it, or only an older state, can be read
`,
    );
    assert.is((await bench.run('node lost node1 --yes')).exit, 0);
    assert.equal(bench.cluster.changes, [{ kind: 'lost', id: 'node1' }]);
  }));

test('accept-loss does nothing when nothing is lost, and needs --yes when something is', () =>
  withBench(async (bench) => {
    assert.match((await bench.run('cluster accept-loss --yes')).stderr, /^Nothing is lost/);
    assert.equal(bench.cluster.changes, []);
    bench.cluster.loss = { versions: [], checked: 4 };
    assert.is((await bench.run('cluster accept-loss')).exit, 1);
    assert.is((await bench.run('cluster accept-loss --yes')).exit, 0);
    assert.equal(bench.cluster.changes, [{ kind: 'accept-loss' }]);
  }));

test('settings are shown, and set with units', () =>
  withBench(async (bench) => {
    assert.match(
      (await bench.run('cluster settings')).stdout,
      /is given up after: 10 min\nRecovery: +enabled\n/,
    );
    assert.match((await bench.run('cluster settings --down-out never')).stdout, /after: never/);
    assert.is((await bench.run('cluster settings --down-out 10')).exit, 64);
    assert.is((await bench.run('cluster settings --down-out 1.5h')).exit, 0);
    assert.is(bench.cluster.settings.downOutMs, 5_400_000);
    assert.is((await bench.run('cluster recover disable')).stdout, 'Cluster recovery: disable\n');
    assert.is(bench.cluster.settings.recoveryPaused, true);
    assert.match(
      (await bench.run('cluster recover status')).stdout,
      /^Recovery is paused .*\nNothing is being/,
    );
  }));

test('node list -A shows all members and what is special about them', () =>
  withBench(async (bench) => {
    const { nodes } = bench.cluster;
    Object.assign(nodes[1]!, { up: false, behind: true, maintenance: true });
    Object.assign(nodes[2]!, { in: false, outBy: 'admin', moving: false });
    const { stdout } = await bench.run('node list -A -r');
    const states = stdout.split('\n').map((line) => line.split(' ').slice(6).join(' '));
    assert.equal(states, ['ok', 'down, maintenance, behind', 'draining', '']);
    assert.equal(
      stdout.split('\n').map((line) => line.split(' ')[0]),
      ['0', '-', '1', ''],
    );
  }));

test.run();
