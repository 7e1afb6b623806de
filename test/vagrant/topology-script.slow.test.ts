// deadline: 300 s
/** The machines of vagrant/ as namespaces, all brought up at once by the script that people use. */
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { within } from '../helpers/real-cluster.js';
import { isWell, machineRows } from './farm.js';
import { farmTest } from './requires.js';
import { Script } from './script.js';
import { namesWith, processesIn, stillRuns } from './traces.js';

const MIB = 1024 * 1024;
const WAIT_MS = 90_000;

farmTest(
  'five machines come up by the script, stay as they are when it is done again, and leave nothing',
  async () => {
    const script = new Script();
    try {
      assert.match(await script.must('up'), /sheep1 +10\.77\.0\.11\n.*hyper2 +10\.77\.0\.15/s);
      await within(WAIT_MS, 'all is well', () => isWell((command) => script.on('hyper1', command)));
      const { nodes, epoch, minCopies } = JSON.parse(await script.on('hyper2', 'dog cluster info --json'));
      assert.equal(
        nodes.map((node: { vnodes: number }) => node.vnodes),
        [128, 128, 128, 0, 0],
      );
      assert.is(minCopies, 2);

      for (const { name } of machineRows()) await script.must('shell', name, 'vagrant/bring-up.sh');
      assert.is(JSON.parse(await script.on('hyper2', 'dog cluster info --json')).epoch, epoch);
      assert.is((await script.run('up')).code, 1, 'up twice');

      await copiesTakeTheIoNetwork(script);
      await firstHostAlone(script);

      const processes = processesIn(script.pids().map((pid) => readlinkSync(`/proc/${pid}/ns/pid`)));
      // The keeper's process id is in the names of all that it makes.
      const mark = `${readFileSync(join(script.state, 'pid'), 'utf8').trim()}x`;
      assert.ok(processes.length > 10 && namesWith(mark).length > 10, 'what is looked for is there');
      await script.must('down');
      assert.equal([processes.filter(stillRuns), namesWith(mark)], [[], []]);
      assert.not(existsSync(script.state));
    } finally {
      await script.end();
    }
  },
);

/** What a gateway writes for a client goes out three times by the cable between sheep, and not by the other. */
async function copiesTakeTheIoNetwork(script: Script): Promise<void> {
  await script.on('hyper1', 'dog vdi create disk 64M');
  const counters = async () => {
    const text = await script.on('hyper1', 'cat /proc/net/dev');
    return ['eth0', 'eth1'].map((device) =>
      Number(new RegExp(`${device}: *(?:\\d+ +){8}(\\d+)`).exec(text)?.[1]),
    );
  };
  const before = await counters();
  const uri = 'nbd+unix:///disk?socket=/run/sheepfold/nbd.sock';
  await script.must('shell', 'hyper1', 'qemu-io', '-f', 'raw', '-c', 'write -P 7 0 32M', uri);
  const [main, io] = (await counters()).map((bytes, index) => bytes - before[index]!);
  assert.ok(io! > 30 * MIB, `${io} bytes between sheep`);
  assert.ok(main! < 2 * MIB, `${main} bytes on the other network`);
  assert.not.match(
    await script.must('shell', 'hyper2', 'qemu-io', '-f', 'raw', '-c', 'read -P 7 0 32M', uri),
    /verification failed/,
  );
}

/** The host on which the cluster began goes down alone, and comes back by itself. */
async function firstHostAlone(script: Script): Promise<void> {
  await script.on('sheep1', 'dog cluster down');
  const up = async () => {
    const { nodes } = JSON.parse(await script.on('hyper1', 'dog cluster info --json'));
    return nodes.filter((node: { up: boolean }) => node.up).length;
  };
  await within(WAIT_MS, 'the others are left', async () => (await up()) === 4);
  await script.on('sheep1', 'dog cluster up');
  await within(WAIT_MS, 'all is well again', () => isWell((command) => script.on('hyper1', command)));
}

test.run();
