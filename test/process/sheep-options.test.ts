// deadline: 300 s
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { within } from '../helpers/real-cluster.js';
import { OriginalCluster } from './dog-transcripts-runner.js';

/** Start scripts and shell tests of the original's users, as they are. */
async function withSheep(body: (cluster: OriginalCluster) => Promise<void>): Promise<void> {
  const cluster = await OriginalCluster.make();
  try {
    await body(cluster);
  } finally {
    await cluster.stop();
  }
}

const START = 'for i in 0 1 2; do sheep /store/$i -z $i -p 700$i -c local || exit 1; done';

async function ok(cluster: OriginalCluster, line: string): Promise<string> {
  const { exit, stdout, stderr } = await cluster.shell(line);
  assert.is(exit, 0, `${line}\n${stdout}${stderr}`);
  return stdout;
}

/** Polls: what a signal does takes a moment. */
function becomes(cluster: OriginalCluster, line: string, wanted: RegExp): Promise<true> {
  return within(20_000, `${line} says ${wanted}`, async () => {
    const { stdout, stderr } = await cluster.shell(line);
    if (wanted.test(stdout + stderr)) return true;
    throw new Error(stdout + stderr);
  });
}

/** Ports with a variable in their name escape the runner's translation. */
function script(cluster: OriginalCluster, text: string): string {
  return text.replaceAll('700$i', `$((${cluster.port} + $i))`);
}

test('a shell test of the original runs: start, format, write, kill, restart, wipe, start anew', () =>
  withSheep(async (cluster) => {
    await ok(cluster, script(cluster, START));
    await ok(cluster, 'dog cluster format -c 3');
    await ok(cluster, 'dog vdi create test 16M; echo precious | dog vdi write test');
    // One sheep by its number, one by its command line, as both are done.
    await ok(cluster, 'dog node kill 2');
    await becomes(cluster, 'dog node list -r | wc -l', /^2\n/);
    await ok(cluster, 'sheep /store/2 -z 2 -p 7002 -c local');
    await becomes(cluster, 'dog node list -r | wc -l', /^3\n/);
    await becomes(cluster, 'dog node recovery -r | wc -l', /^0\n/);
    await ok(cluster, 'pkill -9 -f "sheep /store/0"');
    assert.is(await ok(cluster, 'dog vdi read test 0 9 -p 7001'), 'precious\n');
    await becomes(cluster, 'dog node list -r -p 7001 | wc -l', /^2\n/);
    // Somebody who was away without a word is asked for by nobody else's start.
    await ok(cluster, 'sheep /store/0 -z 0 -p 7000 -c local');
    assert.is(await ok(cluster, 'dog vdi read test 0 9'), 'precious\n');
    await ok(cluster, 'pkill -9 -f "sheep /store/"; sleep 1; rm -rf /store/*');
    await ok(cluster, script(cluster, START));
    assert.match(
      await ok(cluster, 'dog cluster info'),
      /^Cluster status: Waiting for cluster to be formatted/,
    );
    await ok(cluster, 'dog cluster format -c 2');
    assert.is(await ok(cluster, 'dog vdi list -r'), '');
    const kept = readdirSync(join(cluster.folder, 'home', 'local')).filter((name) =>
      /^coordinator\.\d+$/.test(name),
    );
    assert.is(kept.length, 1, 'the coordinator of the stores that are gone is kept');
  }));

test('all sheep killed at once go on where they were', () =>
  withSheep(async (cluster) => {
    await ok(cluster, script(cluster, START));
    await ok(cluster, 'dog cluster format -c 3; dog vdi create test 16M; echo precious | dog vdi write test');
    await ok(cluster, 'pkill -9 -f "sheep /store/"; sleep 1');
    await ok(cluster, script(cluster, START));
    await becomes(cluster, 'dog vdi read test 0 9', /^precious\n/);
  }));

test('a sheep is named after its command line, and has its files where the original had them', () =>
  withSheep(async (cluster) => {
    await ok(cluster, 'sheep -p 7003 -z 9 /store/0 -P /files/pid -l dir=/files/log,level=debug -j size=64M');
    const pid = readFileSync(join(cluster.files, 'pid'), 'utf8').trim();
    const title = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0]!;
    assert.ok(title.startsWith(`sheep -p ${cluster.port + 3} -z 9 ${cluster.folder}/store/0`), title);
    assert.is(readFileSync(`/proc/${pid}/comm`, 'utf8'), 'sheep\n');
    for (const name of ['sock', 'nbd.sock', 'node.json']) {
      assert.ok(existsSync(join(cluster.folder, 'store', '0', name)), name);
    }
    assert.is(await ok(cluster, 'dog node log level get -p 7003 2>&1'), 'debug (7)\n');
    assert.is(await ok(cluster, 'dog node list -r -p 7003'), `0 127.0.0.1:${cluster.port + 3} 128 9\n`);
    const log = join(cluster.files, 'log', 'sheep.log');
    renameSync(log, `${log}.1`);
    process.kill(Number(pid), 'SIGHUP');
    await within(5000, 'the log is opened anew', () => existsSync(log));
    await ok(cluster, 'kill $(cat /files/pid)');
    await within(10_000, 'SIGTERM ends it', () => !existsSync(join(cluster.files, 'pid')));
  }));

test('objects lie on the disk that is named after the directory', () =>
  withSheep(async (cluster) => {
    await ok(cluster, 'mkdir -p /files/disk; sheep /store/0,/files/disk -p 7000; dog cluster format -c 1');
    await ok(cluster, 'dog vdi create test 16M; echo there | dog vdi write test');
    assert.not(existsSync(join(cluster.folder, 'store', '0', 'store')));
    assert.match(await ok(cluster, 'dog node md info -r'), new RegExp(` ${cluster.files}/disk\n$`));
    await ok(cluster, 'pkill -9 -f "sheep /store/0"; sleep 1; sheep /store/0,/files/disk -p 7000');
    await becomes(cluster, 'dog vdi read test 0 6', /^there\n/);
    await ok(cluster, 'pkill -9 -f "sheep /store/0"; sleep 1; mv /files/disk /files/away');
    // A disk that is not mounted is no empty store.
    const unmounted = await cluster.shell('sheep /store/0,/files/disk -p 7000');
    assert.is(unmounted.exit, 1);
    assert.match(unmounted.stderr, /is its disk mounted\?/);
  }));

test('a gateway holds no objects', () =>
  withSheep(async (cluster) => {
    await ok(cluster, script(cluster, START));
    await ok(cluster, 'sheep -g /store/3 -z 3 -p 7003 -c local');
    await ok(cluster, 'dog cluster format -c 3');
    assert.match(await ok(cluster, 'dog node list -r'), / 0 3\n$/);
    await ok(cluster, 'dog vdi create test 16M; echo through | dog vdi write test -p 7003');
    assert.is(await ok(cluster, 'dog vdi read test 0 8 -p 7001'), 'through\n');
    const where = await ok(cluster, 'dog vdi object location test -i 0 | tail -1');
    assert.not.match(where, new RegExp(`:${cluster.port + 3}\\b`));
  }));

test('a start that fails is told where it was asked for', () =>
  withSheep(async (cluster) => {
    await ok(cluster, 'sheep /store/0 -p 7000');
    const cases: [string, number, RegExp][] = [
      ['sheep /store/0 -p 7000', 1, /did not start: .*in use by another process/],
      ['sheep /store/1 -p 7000', 1, /did not start: .*port \d+ is in use/],
      ['sheep -f /store/1 -p 7000', 2, /port \d+ is in use/],
      ['sheep -q', 64, /^sheep: invalid option -- 'q'\nTry 'sheep --help'/],
      ['sheep --nosuch', 64, /^sheep: unrecognized option '--nosuch'\n/],
      ['sheep /store/1 -p', 64, /option requires an argument -- 'p'/],
      ['sheep /store/1 -p 99999', 64, /invalid port number '99999'/],
      ['sheep /store/1 -c zookeeper:127.0.0.1:2181', 64, /'zookeeper' is not available: use '-c local'/],
      ['sheep', 64, /no directory for the store/],
    ];
    for (const [line, exit, text] of cases) {
      const result = await cluster.shell(line);
      assert.is(result.exit, exit, `${line}: ${result.stderr}`);
      assert.match(result.stderr, text);
      assert.is(result.stdout, '');
    }
    rmSync(join(cluster.folder, 'store', '1'), { recursive: true, force: true });
  }));

test.run();
