// deadline: 180 s
/** Clusters that go away and come back, sheep that die, a daemon that dies, a cluster that is full. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PoolDaemon, poolXml } from '../helpers/pool-daemon.js';
import { type RealCluster, withCluster, within } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';

const MIB = 1024 * 1024;
const DEADLINE_MS = 40_000;
const withVirsh = requires(test, 'virsh');

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sheepfold-pools-'));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function definePool(daemon: PoolDaemon, cluster: RealCluster): Promise<void> {
  const file = join(daemon.folder, 'pool.xml');
  writeFileSync(file, poolXml('vms', cluster.sheep[0]!.port));
  await daemon.ok('pool-define', file);
  await daemon.ok('pool-start', 'vms');
}

const shows = (daemon: PoolDaemon, state: RegExp) =>
  within(DEADLINE_MS, `the pool shows ${state}`, async () =>
    state.test(await daemon.ok('pool-list', '--all')),
  );

async function sheepDie(cluster: RealCluster, daemon: PoolDaemon): Promise<void> {
  await daemon.ok('vol-create-as', 'vms', 'disk', '8M');
  const path = await daemon.ok('vol-path', 'disk', 'vms');
  const [first, ...others] = cluster.sheep;
  await first!.kill();
  // The pool's own sheep is gone, its cluster is not: any other one answers.
  assert.match(await daemon.ok('vol-list', 'vms'), 'disk');
  assert.is(await daemon.ok('vol-path', 'disk', 'vms'), path);
  for (const one of others) await one.kill();
  await shows(daemon, /vms +inactive/);
  assert.match(await daemon.refused('vol-list', 'vms'), /storage pool 'vms' is not active/);
  assert.match(await daemon.refused('pool-start', 'vms'), /Connection refused/);
  for (const one of cluster.sheep) one.spawn();
  await Promise.all(cluster.sheep.map((one) => one.waitUp()));
  await shows(daemon, /vms +active/);
  assert.match(await daemon.ok('vol-list', 'vms'), 'disk');
}

async function daemonDies(daemon: PoolDaemon): Promise<void> {
  await daemon.ok('pool-autostart', 'vms');
  await daemon.end('SIGKILL');
  await daemon.start();
  await shows(daemon, /vms +active +yes/);
  await daemon.ok('pool-destroy', 'vms');
  await daemon.end('SIGKILL');
  await daemon.start();
  // It was stopped, and nothing was rebooted since.
  assert.match(await daemon.ok('pool-list', '--all'), /vms +inactive +yes/);
  await daemon.ok('pool-start', 'vms');
  assert.match(await daemon.ok('vol-list', 'vms'), 'disk');
}

withVirsh('a pool shows whether its cluster is there, and outlives its sheep and its daemon', () =>
  inFolder((folder) =>
    withCluster({ deadlineMs: 90_000 }, (cluster) =>
      PoolDaemon.with(folder, [], async (daemon) => {
        await definePool(daemon, cluster);
        await sheepDie(cluster, daemon);
        await daemonDies(daemon);
      }),
    ),
  ),
);

function mountSmall(path: string): boolean {
  try {
    mkdirSync(path, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=260m', 'tmpfs', path], { stdio: 'ignore' });
    return true;
  } catch {
    // Not root, or a container that may not mount.
    return false;
  }
}

withVirsh('a full cluster says so; what was there stays, and room that is freed is used again', () =>
  inFolder(async (folder) => {
    const disk = join(folder, 'disk');
    if (!mountSmall(disk)) {
      process.stderr.write('skipped: no small disk can be mounted here\n');
      return;
    }
    try {
      const dirOf = (index: number, own: string) => (index === 2 ? disk : join(own, `sheep${index}`));
      await withCluster({ dirOf, deadlineMs: 80_000 }, (cluster) =>
        PoolDaemon.with(folder, [], async (daemon) => {
          await definePool(daemon, cluster);
          const [small, large] = ['small', 'large'].map((name) => join(folder, name)) as [string, string];
          writeFileSync(small, Buffer.alloc(4 * MIB, 's'));
          writeFileSync(large, Buffer.alloc(200 * MIB, 'l'));
          await daemon.ok('vol-create-as', 'vms', 'small', '4M');
          await daemon.ok('vol-upload', 'small', small, '--pool', 'vms');
          await daemon.ok('vol-create-as', 'vms', 'large', '200M');
          assert.match(
            await daemon.refused('vol-upload', 'large', large, '--pool', 'vms'),
            /No space left on device/,
          );
          const full = ['vol-create-as', 'vms', 'solid', '200M', '--allocation', '200M'];
          assert.match(await daemon.refused(...full), /No space left on device/);
          assert.not.match(await daemon.ok('vol-list', 'vms'), /solid/);
          const out = join(folder, 'out');
          await daemon.ok('vol-download', 'small', out, '--pool', 'vms');
          execFileSync('cmp', [small, out]);
          await daemon.ok('vol-wipe', 'large', 'vms');
          await daemon.ok('vol-create-as', 'vms', 'again', '4M');
          await within(DEADLINE_MS, 'there is room again', async () => {
            const { exit } = await daemon.virsh('vol-upload', 'again', small, '--pool', 'vms');
            return exit === 0;
          });
        }),
      );
    } finally {
      execFileSync('umount', [disk]);
    }
  }),
);

test.run();
