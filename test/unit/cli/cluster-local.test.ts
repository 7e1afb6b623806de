import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { bringDown } from '../../../src/cli/local/down.js';
import { ClusterHome, clusterDirectory } from '../../../src/cli/local/home.js';
import { freePorts } from '../../helpers/launcher.js';
import { type DogResult, dog } from '../../helpers/run-dog.js';

/** Real processes on loopback: fake sheep, started, found again and stopped by dog. */
const fakeSheep = fileURLToPath(new URL('../../helpers/fake-sheep.js', import.meta.url));

interface Bench {
  parent: string;
  directory: string;
  ports: string[];
  run: (words: string[], options?: { env?: Record<string, string>; stdin?: string }) => Promise<DogResult>;
}

const test = suite<Bench>('cluster up');

test.before.each(async (bench) => {
  bench.parent = mkdtempSync(join(tmpdir(), 'fold-'));
  bench.directory = join(bench.parent, 'home');
  const base = await freePorts(9);
  bench.ports = ['-p', `${base}`, '--nbd-port', `${base + 3}`, '--http-port', `${base + 6}`];
  bench.run = (words, options = {}) =>
    dog(words, {
      stdin: options.stdin ?? '',
      env: { SHEEPFOLD_SHEEP: fakeSheep, SHEEPFOLD_HOME: bench.directory, ...options.env },
      deadlineMs: 45_000,
    });
});

test.after.each((bench) => {
  for (const pid of pids(bench)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended already.
    }
  }
  rmSync(bench.parent, { recursive: true, force: true });
});

function pids(bench: Bench): number[] {
  if (!existsSync(bench.directory)) return [];
  return readdirSync(bench.directory)
    .map((name) => join(bench.directory, name, 'pid'))
    .filter((path) => existsSync(path))
    .map((path) => Number(readFileSync(path, 'utf8')));
}

function tryListen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

function alive(pid: number): boolean {
  return existsSync(`/proc/${pid}/cmdline`) && readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== '';
}

test('up starts and formats, a second up changes nothing, down and destroy clean up', async (bench) => {
  const first = await bench.run(['cluster', 'up', ...bench.ports]);
  assert.is(first.stderr, '');
  assert.is(first.exit, 0);
  assert.match(first.stdout, /^The cluster runs: 3 sheep, 3 copies, in /);
  const before = pids(bench);
  assert.is(before.length, 3);
  assert.match(readFileSync(join(bench.directory, 'coordinator', 'formatted'), 'utf8'), /"copies":3/);

  const second = await bench.run(['cluster', 'up', ...bench.ports]);
  assert.match(second.stdout, /^The cluster runs already/);
  assert.equal(pids(bench), before);

  const down = await bench.run(['cluster', 'down']);
  assert.is(down.exit, 0, down.stderr);
  assert.match(down.stdout, /^Stopped 3 sheep\./);
  assert.ok(before.every((pid) => !alive(pid)));
  assert.match((await bench.run(['cluster', 'down'])).stdout, /is not running/);

  writeFileSync(join(bench.directory, 'mine.txt'), 'not made by dog');
  const destroyed = await bench.run(['cluster', 'destroy', '--yes']);
  assert.is(destroyed.exit, 0, destroyed.stderr);
  assert.equal(readdirSync(bench.directory), ['mine.txt']);
});

test('a dead sheep is restarted and the others are left alone', async (bench) => {
  await bench.run(['cluster', 'up', ...bench.ports, '--sheep', '2']);
  const before = pids(bench);
  process.kill(before[1]!, 'SIGKILL');
  while (alive(before[1]!)) await new Promise((resolve) => setTimeout(resolve, 5));
  const again = await bench.run(['cluster', 'up']);
  assert.is(again.exit, 0, again.stderr);
  assert.match(again.stdout, /runs again \(sheep 1 restarted\): 2 sheep, 2 copies/);
  assert.is(pids(bench)[0], before[0]);
  assert.is.not(pids(bench)[1], before[1]);
  const destroyed = await bench.run(['cluster', 'destroy'], { stdin: 'yes\n' });
  assert.is(destroyed.exit, 0, destroyed.stderr);
  assert.not.ok(existsSync(bench.directory));
});

test('a sheep that ends at start is told with the end of its log and what to do', async (bench) => {
  const result = await bench.run(['cluster', 'up', ...bench.ports], { env: { FAKE_SHEEP_FAULT: 'crash' } });
  assert.is(result.exit, 2);
  assert.match(result.stderr, /Sheep 0 ended at once \(exit code 3\)\. The end of its log:/);
  assert.match(result.stderr, /EADDRINUSE/);
  assert.match(result.stderr, /A port is in use: choose others with --port/);
});

test('a port that somebody else holds is found before anything starts', async (bench) => {
  const taken = await tryListen(Number(bench.ports[3]) + 1);
  const result = await bench.run(['cluster', 'up', ...bench.ports]);
  taken?.close();
  assert.is(result.exit, 1);
  assert.match(
    result.stderr,
    /Port \d+ is in use by another program\nStop that program, or choose other ports: --nbd-port/,
  );
  assert.equal(pids(bench), []);
});

test('a first start that found a port in use leaves nothing, so that the next may choose others', async (bench) => {
  const taken = await tryListen(Number(bench.ports[3]) + 1);
  const others = [...bench.ports, '--sheep', '1'];
  await bench.run(['cluster', 'up', ...bench.ports]);
  assert.not.ok(existsSync(bench.directory));
  const result = await bench.run(['cluster', 'up', ...others]);
  taken?.close();
  assert.is(result.exit, 0, result.stderr);
});

test('options that differ from those of the cluster are refused', async (bench) => {
  await bench.run(['cluster', 'up', ...bench.ports, '--sheep', '1']);
  const result = await bench.run(['cluster', 'up', '--sheep', '3']);
  assert.is(result.exit, 1);
  assert.match(result.stderr, /was made with --sheep 1/);
  await bench.run(['cluster', 'destroy', '-y']);
});

test('a stubborn sheep is killed in the end', async (bench) => {
  await bench.run(['cluster', 'up', ...bench.ports, '--sheep', '1'], {
    env: { FAKE_SHEEP_FAULT: 'stubborn' },
  });
  const [pid] = pids(bench);
  const home = new ClusterHome(bench.directory);
  const result = await bringDown(home, home.read()!, { cleanMs: 200, termMs: 200, killMs: 3000 });
  assert.equal(result, { stopped: 1, killed: 1 });
  assert.not.ok(alive(pid!));
});

test('a stale pid file that names a stranger does not get the stranger stopped', async (bench) => {
  await bench.run(['cluster', 'up', ...bench.ports, '--sheep', '1']);
  const [pid] = pids(bench);
  process.kill(pid!, 'SIGKILL');
  while (alive(pid!)) await new Promise((resolve) => setTimeout(resolve, 5));
  // The stranger is this very process: it would not survive the mistake.
  writeFileSync(join(bench.directory, 'sheep0', 'pid'), `${process.pid}\n`);
  assert.match((await bench.run(['cluster', 'down'])).stdout, /is not running/);
  rmSync(join(bench.directory, 'sheep0', 'pid'));
});

test('a sheep whose pid file is lost is still found', async (bench) => {
  await bench.run(['cluster', 'up', ...bench.ports, '--sheep', '1']);
  const [pid] = pids(bench);
  rmSync(join(bench.directory, 'sheep0', 'pid'));
  assert.match((await bench.run(['cluster', 'up'])).stdout, /runs already/);
  await bench.run(['cluster', 'destroy', '-y']);
  assert.not.ok(alive(pid!));
});

test('destroy asks, and a no keeps everything', async (bench) => {
  await bench.run(['cluster', 'up', ...bench.ports, '--sheep', '1']);
  const [pid] = pids(bench);
  const result = await bench.run(['cluster', 'destroy'], { stdin: 'no\n' });
  assert.is(result.exit, 1);
  assert.match(result.stdout, /every volume in it/);
  assert.ok(alive(pid!));
  await bench.run(['cluster', 'destroy', '-y']);
  assert.not.ok(alive(pid!));
});

test('directories that are not ours are neither used nor removed', async (bench) => {
  mkdirSync(bench.directory);
  writeFileSync(join(bench.directory, 'precious'), 'x');
  for (const command of ['up', 'down', 'destroy']) {
    const result = await bench.run(['cluster', command, ...(command === 'up' ? bench.ports : [])], {
      stdin: 'yes\n',
    });
    assert.is(result.exit, 1, command);
    assert.match(
      result.stderr,
      command === 'up' ? /not empty and holds no cluster/ : /There is no cluster in/,
    );
  }
  const evil = {
    kind: 'sheepfold-cluster',
    version: 1,
    sheep: 1,
    port: 1,
    nbdPort: 1,
    httpPort: 1,
    copies: 1,
  };
  writeFileSync(join(bench.directory, 'cluster.json'), JSON.stringify({ ...evil, directories: ['../..'] }));
  const result = await bench.run(['cluster', 'destroy', '-y']);
  assert.match(result.stderr, /was not written by 'dog cluster up'/);
  assert.ok(existsSync(join(bench.directory, 'precious')));
});

test('a directory too deep for a unix socket is refused before it is made', async (bench) => {
  const deep = join(bench.parent, 'x'.repeat(100));
  const result = await bench.run(['cluster', 'up', '--dir', deep, ...bench.ports]);
  assert.match(result.stderr, /too long a path for a unix socket/);
  assert.not.ok(existsSync(deep));
});

test('more copies than sheep are refused', async (bench) => {
  const result = await bench.run(['cluster', 'up', '--sheep', '2', '--copies', '3', ...bench.ports]);
  assert.is(result.exit, 64);
  assert.not.ok(existsSync(bench.directory));
});

test('the default directory follows the environment', () => {
  assert.is(clusterDirectory('/a', { SHEEPFOLD_HOME: '/b' }), '/a');
  assert.is(clusterDirectory(undefined, { SHEEPFOLD_HOME: '/b' }), '/b');
  const usual = process.getuid?.() === 0 ? '/var/lib/sheepfold' : '/home/u/.local/state/sheepfold';
  assert.is(clusterDirectory(undefined, { HOME: '/home/u' }), usual);
});

test.run();
