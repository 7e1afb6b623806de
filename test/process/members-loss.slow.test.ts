// deadline: 240 s
/** Sheep that never come back, and commands that wait while sheep do: nothing is lost without having been said. */
import { rmSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { LossReport } from '../../src/control/member-api.js';
import { dogDone, dogOf } from '../helpers/dog-of.js';
import { type RealSheep, withCluster, within } from '../helpers/real-cluster.js';
import { checkEqual, Load, pause, rowOf, waitSettled } from './members-run.js';

const MIB = 2 ** 20;

async function fill(sheep: RealSheep, name: string, mib: number, byte: number): Promise<void> {
  for (let i = 0; i < mib; i++) {
    await sheep.call('vdi.write', { name, offset: i * MIB }, Buffer.alloc(MIB, byte));
  }
}

function isDown(asked: RealSheep, sheep: RealSheep): Promise<true> {
  return within(
    10_000,
    'it is known to be down',
    async () => (await rowOf(asked, sheep))?.up === false || undefined,
  );
}

test('a sheep whose directory is gone is given up, and loses nothing that has another copy', () =>
  withCluster({ sheep: 4, copies: 2, deadlineMs: 100_000 }, async (cluster) => {
    const [first, , , last] = cluster.sheep as [RealSheep, RealSheep, RealSheep, RealSheep];
    const name = `127.0.0.1:${last.port}`;
    const load = await Load.start(cluster, first);
    try {
      await pause(800);
      await last.kill();
      rmSync(last.dir, { recursive: true });
      await isDown(first, last);
      const said = await dogOf(first, `node lost ${name}`);
      assert.equal([said.exit, said.stdout], [1, 'No volume loses anything.\n']);
      assert.is((await rowOf(first, last))?.in, true, 'nothing was done');
      await dogDone(first, `node lost ${name} --yes`);
      await within(
        60_000,
        'nothing lies on it',
        async () => (await rowOf(first, last))?.empty === true || undefined,
      );
      await dogDone(first, `node remove ${name}`);
      await load.finish(cluster.sheep.slice(0, 3));
      await checkEqual(first);
      assert.match((await dogDone(first, 'cluster accept-loss')).stderr, /^Nothing is lost/);
    } finally {
      load.close();
    }
  }));

test('what a lost sheep alone had is named, waits, and goes back to older content when that is accepted', () =>
  withCluster({ sheep: 2, copies: 2, deadlineMs: 100_000 }, async (cluster) => {
    const [first, last] = cluster.sheep as [RealSheep, RealSheep];
    await dogDone(first, 'vdi create old 16M');
    await dogDone(first, 'vdi create both 16M');
    await fill(first, 'old', 8, 1);
    await fill(first, 'both', 8, 1);
    await first.kill();
    await isDown(last, first);
    await fill(last, 'both', 4, 2);
    await last.kill();
    rmSync(last.dir, { recursive: true });
    first.spawn();
    // The first one alone: what the other one has newer is awaited, and it says so.
    await within(20_000, 'it says whom it waits for', async () => {
      const { waiting } = await first.call('cluster.recovery', {});
      return (
        waiting.join().includes(`127.0.0.1:${last.port} is down and alone has the newest content`) ||
        undefined
      );
    });
    const name = `127.0.0.1:${last.port}`;
    const asked = await dogOf(first, `node lost ${name} --json`);
    const { report } = JSON.parse(asked.stdout) as { report: LossReport };
    assert.is(asked.exit, 1);
    assert.ok(report.versions.some((version) => version.name === 'both'));
    await dogDone(first, `node lost ${name} --yes`);
    const before = await dogOf(first, 'cluster accept-loss');
    assert.equal([before.exit, /lose data/.test(before.stdout)], [1, true], before.stdout + before.stderr);
    await dogDone(first, 'cluster accept-loss --yes');
    await waitSettled(first);
    for (const volume of ['old', 'both']) {
      const { stdoutBytes } = await dogDone(first, `vdi read ${volume} 0 8388608`);
      assert.ok(stdoutBytes.equals(Buffer.alloc(8 * MIB, 1)), `${volume} is what the first one had`);
    }
    await dogDone(first, `node remove ${name}`);
    await fill(first, 'both', 1, 3);
    await checkEqual(first);
  }));

test('a drain that waits survives a restart of the sheep it asked, and says which sheep it waits for', () =>
  withCluster({ sheep: 4, copies: 2, deadlineMs: 100_000 }, async (cluster) => {
    const [first, second, third, last] = cluster.sheep as [RealSheep, RealSheep, RealSheep, RealSheep];
    await dogDone(first, 'vdi create disk 64M');
    await fill(first, 'disk', 32, 1);
    await dogDone(first, 'cluster recover disable');
    const draining = dogOf(second, `node drain 127.0.0.1:${last.port}`);
    await within(
      20_000,
      'the drain has begun',
      async () => (await rowOf(first, last))?.in === false || undefined,
    );
    await pause(3500);
    await second.kill();
    await third.kill();
    await isDown(first, third);
    await second.start();
    await dogDone(first, 'cluster recover enable');
    await pause(6000);
    await third.start();
    const { exit, stderr } = await draining;
    assert.is(exit, 0, stderr);
    assert.match(stderr, /Waiting: recovery is paused; 'dog cluster recover enable'/);
    assert.match(
      stderr,
      new RegExp(`Waiting: 127.0.0.1:${third.port} is down, and objects shall lie on it: start it`),
    );
    assert.match(stderr, /No object lies on/);
    await waitSettled(first);
    await checkEqual(first);
  }));

test.run();
