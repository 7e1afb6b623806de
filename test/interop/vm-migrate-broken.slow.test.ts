// deadline: 900 s
/** Migrations that end in the middle: the guest runs on where it was, with its disk as it left it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { requiresGuest } from '../helpers/guest-files.js';
import { requiresLibvirtd, withLibvirtds } from '../helpers/libvirtd.js';
import { ownedProcess, type RealCluster, withCluster, within } from '../helpers/real-cluster.js';
import { hostOf, withDoors } from './guest-setup.js';
import { migrate, migrateWords, type Place, stateOn, WorkingGuest } from './vm-migrate-setup.js';

const MIDWAY_DEADLINE_MS = 60_000;
const END_DEADLINE_MS = 90_000;
/** The guest's memory takes longer than any of these tests does before it breaks the migration. */
const SLOWLY = ['--bandwidth', '1'];
const DOG = new URL('../../src/cli/main.js', import.meta.url).pathname;

/** Memory is on its way: libvirt counts it. */
async function midway({ host }: Place): Promise<void> {
  await within(MIDWAY_DEADLINE_MS, 'memory is on its way', async () => {
    const { stdout } = await host.virsh('domjobinfo', 'web', '--rawstats');
    return Number(/^data_processed: (\d+)$/m.exec(stdout)?.[1] ?? 0) > 1024 * 1024;
  });
}

function spawnDog(words: readonly string[]): { child: ChildProcess; end: Promise<[number | null, string]> } {
  const child = ownedProcess(
    spawn(process.execPath, [DOG, ...words], { stdio: ['ignore', 'ignore', 'pipe'] }),
  );
  let stderr = '';
  child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk));
  const end = new Promise<[number | null, string]>((resolve) => {
    child.once('exit', (code) => resolve([code, stderr]));
  });
  return { child, end };
}

class Broken {
  constructor(
    private readonly cluster: RealCluster,
    private readonly guest: WorkingGuest,
    private readonly here: Place,
    private readonly there: Place,
  ) {}

  async all(): Promise<void> {
    await this.stays('its QEMU at the destination is killed', /^Failed to move web: .+\nweb runs on/, () => {
      this.there.host.killGuest('web');
    });
    await this.stays(
      'the daemon of the destination is killed',
      /^Failed to move web: .+\nweb runs on/,
      () => {
        this.there.host.killDaemon();
      },
    );
    await this.there.host.startDaemon();
    await within(END_DEADLINE_MS, 'nothing is left of it there', async () => {
      return (await stateOn(this.there, 'web')) === 'absent';
    });
    await this.givenUp();
    await this.interrupted();
    // Nothing that failed is in the way of what comes after it.
    const { exit, stderr } = await migrate(this.cluster, 'web', this.here, this.there);
    assert.is(exit, 0, stderr);
    await this.guest.worksAt(this.there);
    await this.guest.rest(this.there);
  }

  private async stays(what: string, says: RegExp, breakIt: () => void): Promise<void> {
    const moving = migrate(this.cluster, 'web', this.here, this.there, ...SLOWLY);
    await midway(this.here);
    breakIt();
    const { exit, stderr } = await moving;
    process.stdout.write(`${what}: ${stderr}`);
    assert.is(exit, 1);
    assert.match(stderr.slice(stderr.indexOf('Failed')), says);
    await this.isHere();
  }

  private async givenUp(): Promise<void> {
    const words = [...SLOWLY, '--timeout', '3s'];
    const { exit, stderr } = await migrate(this.cluster, 'web', this.here, this.there, ...words);
    assert.is(exit, 1);
    assert.match(stderr, /Failed to move web: it took longer than --timeout\nweb runs on where it was/);
    await this.isHere();
  }

  private async interrupted(): Promise<void> {
    const { child, end } = spawnDog([...migrateWords(this.cluster, 'web', this.here, this.there), ...SLOWLY]);
    await midway(this.here);
    child.kill('SIGINT');
    const [code, stderr] = await end;
    assert.is(code, 1, stderr);
    assert.match(stderr, /Failed to move web: interrupted\nweb runs on where it was/);
    await this.isHere();
  }

  private async isHere(): Promise<void> {
    assert.is(await stateOn(this.here, 'web'), 'running');
    assert.is.not(await stateOn(this.there, 'web'), 'running');
    await this.guest.worksAt(this.here);
  }
}

requiresGuest(requiresLibvirtd(test))(
  'a guest whose migration ends in the middle runs on where it was',
  (files) =>
    withCluster({ ...withDoors, deadlineMs: 800_000 }, (cluster) =>
      withLibvirtds([hostOf(cluster, 0, 'alpha'), hostOf(cluster, 1, 'beta')], async (alpha, beta) => {
        const here = { host: alpha!, sheep: 0 };
        const guest = await WorkingGuest.start(cluster, here, files, { name: 'web' });
        await new Broken(cluster, guest, here, { host: beta!, sheep: 1 }).all();
      }),
    ),
);

test.run();
