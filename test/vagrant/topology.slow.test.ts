// deadline: 400 s
/** The machines of vagrant/ as namespaces, brought up by the scripts that bring the virtual ones up. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GuestDomain } from '../helpers/guest-domain.js';
import { requiresGuest } from '../helpers/guest-files.js';
import { requiresLibvirtd } from '../helpers/libvirtd.js';
import { canMakeHosts } from '../helpers/netns.js';
import { type RunResult, runWords } from '../helpers/private-host.js';
import { within } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';
import { MigrationLoad } from '../interop/migration-load.js';
import { type Machine, machineRows, withFarm } from './farm.js';

const MIB = 1024 * 1024;
const UP_MS = 300_000;
const WAIT_MS = 90_000;
const POOLS = 'storage+unix:///system?socket=/run/sheepfold/pools-sock';

const tools = ['ip', 'etcd', 'etcdctl', 'setsid', 'setpriv', 'qemu-io'];
const farmTest = canMakeHosts() ? requiresLibvirtd(test, ...tools) : requires(test, 'ip netns');

/** `vagrant/namespaces.sh` with a place of its own for what it notes. */
class Script {
  readonly state = join(mkdtempSync(join(tmpdir(), 'sheepfold-vagrant-')), 'state');

  run(...words: string[]): Promise<RunResult> {
    return runWords(['env', `SHEEPFOLD_NAMESPACES=${this.state}`, 'vagrant/namespaces.sh', ...words], UP_MS);
  }

  async must(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...words);
    assert.is(code, 0, `namespaces.sh ${words.join(' ')}: ${stderr}${stdout}`);
    return stdout.trim();
  }

  on(machine: string, command: string): Promise<string> {
    return this.must('shell', machine, ...command.split(' '));
  }

  /** First process of each machine. */
  pids(): number[] {
    const lines = readFileSync(join(this.state, 'machines'), 'utf8').trim().split('\n');
    return lines.map((line) => Number(line.split(' ')[1]));
  }

  async end(): Promise<void> {
    await this.run('down');
    rmSync(join(this.state, '..'), { recursive: true, force: true });
  }
}

/** Processes that run in these process namespaces, each by its id and the time of its start: ids are used again. */
function processesIn(spaces: readonly string[]): string[] {
  return readdirSync('/proc').flatMap((pid) => {
    try {
      return spaces.includes(readlinkSync(`/proc/${pid}/ns/pid`)) ? [startOf(pid)] : [];
    } catch {
      // Not a process, or one that has just ended.
      return [];
    }
  });
}

function startOf(pid: string): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return `${pid} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
}

function stillRuns(process: string): boolean {
  try {
    return startOf(process.split(' ')[0]!) === process;
  } catch {
    // It has ended.
    return false;
  }
}

/** Networks, folders and mounts with a mark in their names. */
function namesWith(mark: string): string[] {
  const networks = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' }).split('\n');
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return [...networks, ...readdirSync(tmpdir()), ...mounts].filter((name) => name.includes(mark));
}

/** How the sheep of that machine sees the cluster: nothing bad, nothing at risk. */
async function isWell(on: (command: string) => Promise<string>): Promise<boolean> {
  return /^All is well: 5 of 5 sheep up/.test(await on('dog doctor').catch(() => ''));
}

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

requiresGuest(farmTest)(
  'a guest started on one hypervisor moves to the other with virsh, and does not notice that a sheep is killed',
  (files) =>
    withFarm('in turn', async (farm) => {
      const [from, to] = [farm.machine('hyper1'), farm.machine('hyper2')];
      await from.must('dog', 'vdi', 'create', 'disk', '64M');
      for (const host of [from, to])
        assert.match(await host.must('virsh', '-q', '-c', POOLS, 'vol-list', 'farm'), /disk +nbd/);

      const guest = new GuestDomain({ name: 'vm', volume: 'disk', files });
      const console = await guest.start(from);
      await console.must('echo kept | dd of=/dev/vda bs=512 seek=65536 conv=sync oflag=direct');
      await MigrationLoad.start(console);
      console.close();

      await from.mustVirsh('migrate', '--live', 'vm', 'qemu+tcp://hyper2/system');
      assert.is(await from.mustVirsh('list', '--name'), '');
      assert.match(await to.mustVirsh('list', '--name'), /^vm$/m);
      const moved = await guest.console(to);
      await passesGoOn(moved);

      await killSheep(farm.machine('sheep2'));
      await within(WAIT_MS, 'it is missed', async () => !(await isWell((command) => doctor(to, command))));
      await passesGoOn(moved);
      await farm.machine('sheep2').bringUp();
      await within(WAIT_MS, 'all is well again', () => isWell((command) => doctor(to, command)));

      const passes = await MigrationLoad.stop(moved);
      await MigrationLoad.check(moved);
      assert.ok(passes.every(({ status }) => status === 0));
      assert.match(await moved.must('dd if=/dev/vda bs=512 skip=65536 count=1 iflag=direct'), /^kept/);
      moved.close();
      await guest.destroy(to);
    }),
);

function doctor(host: Machine, command: string): Promise<string> {
  return host.must(...command.split(' '));
}

/** Work that began now is done. */
async function passesGoOn(console: Parameters<typeof MigrationLoad.passes>[0]): Promise<void> {
  const before = (await MigrationLoad.passes(console)).length;
  await within(WAIT_MS, 'the guest goes on', async () => {
    await MigrationLoad.check(console);
    return (await MigrationLoad.passes(console)).length > before + 1;
  });
}

async function killSheep(machine: Machine): Promise<void> {
  const pid = await machine.must('cat', '/var/lib/sheepfold/sheep0/pid');
  await machine.must('kill', '-9', pid);
}

test.run();
