import type { Command } from 'commander';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { buildProgram } from '../../../src/cli/program.js';
import { ControlListener } from '../../helpers/control-pair.js';
import { DogBench, dog } from '../../helpers/run-dog.js';

async function freePort(): Promise<number> {
  const listener = await ControlListener.start(async () => ({ result: {} }));
  await listener.stop();
  return listener.port;
}

async function withBench(run: (bench: DogBench) => Promise<void>): Promise<void> {
  const bench = await DogBench.start();
  try {
    await run(bench);
  } finally {
    await bench.stop();
  }
}

test('dog alone, help and --help explain on standard output and exit 0', async () => {
  for (const argv of [[], ['help'], ['--help'], ['-h']]) {
    const result = await dog(argv);
    assert.is(result.exit, 0, argv.join(' '));
    assert.match(result.stdout, /First steps:/);
    assert.is(result.stderr, '');
  }
});

test('wrong usage exits 64 and says so on standard error', async () => {
  const cases: [string, RegExp][] = [
    ['nosuch', /^Invalid command 'nosuch'/],
    ['vdi nosuch', /^Invalid command 'nosuch'/],
    ['vdi', /Usage: dog vdi/],
    ['vdi write -s s1 a 0 2', /^dog: invalid option -- 's'\nTry 'dog --help' for more information\.\n$/],
    ['vdi list -o', /^dog: option requires an argument -- 'o'\nTry 'dog --help' for more information\.\n$/],
    ['vdi list --nosuch', /^dog: unrecognized option '--nosuch'/],
    ['vdi create a', /missing required argument/],
    ['vdi list a b', /too many arguments/],
    ['node list -p 99999', /^Invalid port number '99999'\n$/],
    ['node list -p 7x', /^Invalid port number '7x'\n$/],
  ];
  for (const [line, expected] of cases) {
    const result = await dog(line.split(' '));
    assert.is(result.exit, 64, line);
    assert.match(result.stderr, expected);
    assert.is(result.stdout, '', line);
  }
});

test('every option of every command is in its help, with a description, and every command has examples', async () => {
  const leaves: Command[] = [];
  const program = await buildProgram((command) => leaves.push(command));
  assert.ok(leaves.length >= 28);
  for (const leaf of leaves) {
    const words: string[] = [];
    for (let at: Command | null = leaf; at !== null && at !== program; at = at.parent)
      words.unshift(at.name());
    const { stdout, exit } = await dog([...words, '--help']);
    assert.is(exit, 0);
    for (const option of [...leaf.options, ...program.options]) {
      assert.ok(option.description.length > 3, `${words.join(' ')} ${option.flags}`);
      assert.ok(stdout.includes(option.flags), `${words.join(' ')} --help lacks ${option.flags}`);
    }
    assert.match(stdout, /Examples:\n {2}\S/);
    assert.ok(
      stdout.replace(/\s+/g, ' ').toLowerCase().includes(leaf.summary().toLowerCase()),
      words.join(' '),
    );
  }
});

test('no daemon: each attempt is told, the exit code is 2, and the next step is named', async () => {
  const port = await freePort();
  const refused = `failed to connect to 127.0.0.1:${port}: Connection refused\n`;
  for (const line of ['node list', 'cluster info', 'vdi create a 1G', 'node info']) {
    const words = [...line.split(' '), '-p', String(port)];
    const result = await dog(words, { terminal: true });
    assert.is(result.exit, 2, line);
    assert.ok(result.stderr.startsWith(`${refused}${refused}Failed to get node list\n`), result.stderr);
    assert.match(result.stderr, /dog cluster up/);
    // Programs read what the original wrote, and no more.
    assert.is((await dog(words)).stderr, `${refused}${refused}Failed to get node list\n`);
  }
  const list = await dog(['vdi', 'list', '-p', String(port)]);
  assert.match(list.stdout, /^ {2}Name {8}Id/);
  assert.is(list.exit, 2);
  assert.ok(list.stderr.startsWith(refused + refused));
});

test('a host that cannot be resolved is an invalid address', async () => {
  const result = await dog(['node', 'list', '-a', 'nosuch.invalid']);
  assert.is(result.exit, 1);
  assert.is(result.stderr, 'Invalid ip address nosuch.invalid\n');
});

test('-T prints the elapsed time after the output', () =>
  withBench(async (bench) => {
    const { stdout } = await bench.run('vdi list -r -T');
    assert.match(stdout, /^\nElapsed time: \d+\.\d{3} seconds\n$/);
  }));

test('node list, info and stat have the formats of the original', () =>
  withBench(async (bench) => {
    bench.cluster.add('alpha', 2 ** 40);
    assert.is(
      (await bench.run('node list')).stdout,
      `  Id   Host:Port         V-Nodes       Zone
   0   127.0.0.1:7000      \t128          0
   1   127.0.0.1:7001      \t128          1
   2   127.0.0.1:7002      \t128          2
`,
    );
    assert.is((await bench.run('node list -r')).stdout.split('\n')[1], '1 127.0.0.1:7001 128 1');
    const info = (await bench.run('node info')).stdout;
    assert.ok(info.startsWith('Id\tSize\tUsed\tAvail\tUse%\n 0\t74 GB\t112 MB\t74 GB\t  0%\n'), info);
    assert.ok(
      info.endsWith('Total\t221 GB\t336 MB\t221 GB\t  0%\n\nTotal virtual image size\t1.0 TB\n'),
      info,
    );
    const raw = (await bench.run('node info -r')).stdout.split('\n');
    assert.is(raw[0], '0 79219093504 117551104 79101542400 0%');
    assert.is(raw[3], 'Total 237657280512 352653312 237304627200 0% 1099511627776');
    assert.is(
      (await bench.run('node stat -r')).stdout,
      '0\t9\t4\t5\t0\t0\t4194304\t0\n0\t0\t0\t0\t0\t0\t0\t0\n',
    );
    assert.match((await bench.run('node stat')).stdout, /\nClient\t0\t9\t4\t5\t0\t0\t4\.0 MB\t0\.0 MB\n/);
  }));

test('a member that is down is not in the table but is told', () =>
  withBench(async (bench) => {
    bench.cluster.nodes[1]!.up = false;
    const result = await bench.run('node list', { terminal: true });
    assert.not.match(result.stdout, /7001/);
    assert.match(result.stderr, /127\.0\.0\.1:7001 is down/);
    assert.match((await bench.run('node list -v')).stderr, /127\.0\.0\.1:7001 is down/);
    assert.is((await bench.run('node list')).stderr, '');
    assert.is((await bench.run('node list -r')).stdout, '0 127.0.0.1:7000 128 0\n1 127.0.0.1:7002 128 2\n');
  }));

test('cluster info starts with the status other programs match', () =>
  withBench(async (bench) => {
    const info = (await bench.run('cluster info')).stdout;
    assert.match(
      info,
      /^Cluster status: running, auto-recovery enabled\n\nCluster created at \w{3} \w{3} .\d .* 2026\n\nEpoch Time /,
    );
    assert.match(info, /\nEpoch Time {11}Version \[Host:Port:V-Nodes,,,\]\n/);
    assert.match(
      info,
      /\n2026-\d\d-\d\d \d\d:\d\d:\d\d {6}2 \[127\.0\.0\.1:7000:128, 127\.0\.0\.1:7001:128, 127\.0\.0\.1:7002:128\]\n/,
    );
    const raw = (await bench.run('cluster info -r -v')).stdout;
    assert.ok(
      raw.startsWith(
        'running, auto-recovery enabled\nplain with 3 redundancy policy\nauto\nnode\n1795391748 2 [',
      ),
    );
    assert.match(
      (await bench.run('cluster info -d')).stdout,
      / 2 \[\+127\.0\.0\.1:7002:128\]\n.* 1 \[formated\]\n/,
    );
    bench.cluster.status = 'wait-for-format';
    const waiting = await bench.run('cluster info');
    assert.is(waiting.stdout, 'Cluster status: Waiting for cluster to be formatted\n\n');
    assert.is(waiting.exit, 0);
    bench.cluster.status = 'wait-for-join';
    bench.cluster.waiting = ['node 127.0.0.1:7002 is awaited'];
    const join = (await bench.run('cluster info')).stdout;
    assert.match(join, /^Cluster status: Waiting for other nodes to join cluster\n/);
    assert.match(join, /Note: node 127\.0\.0\.1:7002 is awaited\n/);
  }));

test('node info of an unformatted cluster fails as the original does', () =>
  withBench(async (bench) => {
    bench.cluster.status = 'wait-for-format';
    const result = await bench.run('node info');
    assert.is(result.exit, 2);
    assert.is(result.stdout, 'Id\tSize\tUsed\tAvail\tUse%\n');
    assert.match(
      result.stderr,
      /^(Response's result: Waiting for cluster to be formatted\n){3}Cannot get information/,
    );
  }));

test('format asks when there are volumes, and a no changes nothing', () =>
  withBench(async (bench) => {
    bench.cluster.add('alpha', 1);
    const declined = await bench.run('cluster format -c 3', { stdin: 'no\n' });
    assert.is(declined.exit, 1);
    assert.match(declined.stdout, /\(_\/\)|Caution! The cluster is not empty\./);
    assert.is(bench.cluster.formats.length, 0);
    const accepted = await bench.run('cluster format -c 3', { stdin: 'yes\n' });
    assert.is(accepted.exit, 0);
    assert.ok(accepted.stdout.endsWith('using backend plain store\n'));
    assert.equal(bench.cluster.formats, [{ copies: 3, force: true }]);
  }));

test('format of a new cluster does not ask, and checks its options first', () =>
  withBench(async (bench) => {
    bench.cluster.status = 'wait-for-format';
    assert.match((await bench.run('cluster format -c 0')).stderr, /^Invalid parameter 0\n/);
    assert.match((await bench.run('cluster format -z 40')).stderr, /^Object Size is limited to 2\^31/);
    const store = await bench.run('cluster format -b nosuch');
    assert.is(store.exit, 2);
    assert.is(
      store.stdout,
      `using backend nosuch store\nAvailable stores:\n${'-'.repeat(39)}\ntree plain \n`,
    );
    assert.is((await bench.run('cluster format -c 4', { stdin: 'no' })).exit, 1);
    assert.is(bench.cluster.formats.length, 0);
    assert.is((await bench.run('cluster format -c 3 -t')).exit, 0);
    assert.equal(bench.cluster.formats, [{ copies: 3, force: false, minCopies: 3 }]);
  }));

test('completion scripts know every command', async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { stdout, exit } = await dog(['completion', shell]);
    assert.is(exit, 0);
    for (const word of ['rollback', 'setattr', 'destroy', 'location', '--json']) {
      assert.ok(stdout.includes(word.replace('--', shell === 'fish' ? '-l ' : '--')), `${shell} ${word}`);
    }
  }
});

test.run();
