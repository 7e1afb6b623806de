// deadline: 300 s
/**
 * What may happen to one of a sheep's two disks while clients write: its directory is deleted, a new one is plugged in,
 * one is taken out by command, one is not there at the start, its file system turns read-only.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type RealCluster, within } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';
import type { StampedVolume } from '../helpers/stamped-volume.js';
import {
  canMount,
  checkEverywhere,
  diskOf,
  disksOf,
  epochOf,
  isWhole,
  LOAD_MS,
  Load,
  loopDisk,
  losesDisk,
  VICTIM,
  withLoad,
} from './cluster-disks-run.js';

/** A new disk in the place of the old one gets its part, and is there after a restart. */
async function plugs(cluster: RealCluster, path: string): Promise<void> {
  const victim = cluster.sheep[VICTIM]!;
  mkdirSync(path);
  await victim.call('node.plug', { path });
  await within(30_000, 'objects move to it', async () => {
    const { disks } = await victim.call('node.disks', {});
    return disks.length === 2 && disks.every(({ usedBytes }) => usedBytes > 0);
  });
  await victim.kill();
  await victim.start();
  assert.equal((await disksOf(victim)).length, 2);
  await isWhole(cluster);
}

/** A disk is emptied and goes, and the other sheep do not notice. */
async function unplugs(cluster: RealCluster, volume: StampedVolume, path: string): Promise<void> {
  const victim = cluster.sheep[VICTIM]!;
  const epoch = await epochOf(cluster);
  const load = await Load.start(cluster.sheep[0]!, volume);
  await victim.call('node.unplug', { path });
  await within(60_000, 'it is empty and gone', async () => !(await disksOf(victim)).includes(path));
  await load.goesOn(LOAD_MS);
  await load.stop();
  assert.is(await epochOf(cluster), epoch);
  await checkEverywhere(cluster, load.volume);
}

test('a disk whose directory is deleted is missed by nobody; others are plugged in and out', () =>
  withLoad(undefined, async (cluster, load, path) => {
    await losesDisk(cluster, load, path, () => rmSync(path, { recursive: true }));
    await plugs(cluster, path);
    await checkEverywhere(cluster, load.volume);
    await unplugs(cluster, load.volume, path);
  }));

test('a disk that is not there at the start is missed in words, and can be given up', () =>
  withLoad(undefined, async (cluster, load, lost) => {
    await load.stop();
    const victim = cluster.sheep[VICTIM]!;
    await victim.kill();
    rmSync(lost, { recursive: true });
    mkdirSync(lost);
    victim.spawn();
    assert.is(await victim.end(), 2);
    assert.match(victim.output, /is its disk mounted\?.*--missing-disk drop/);
    victim.words = [...victim.words, '--missing-disk', 'drop'];
    await victim.start();
    await isWhole(cluster);
    assert.equal(await disksOf(victim), [diskOf(cluster.folder, VICTIM, 'a')]);
    await checkEverywhere(cluster, load.volume);
  }));

const READ_ONLY = 'a disk whose file system turns read-only is dropped, and clients notice nothing';
if (canMount()) {
  requires(test, 'mkfs.ext4')(READ_ONLY, () =>
    withLoad(loopDisk, (cluster, load, lost) =>
      // What the kernel does by itself (errors=remount-ro), with files open for writing.
      losesDisk(cluster, load, lost, () => void execFileSync('mount', ['-o', 'remount,abort', lost])),
    ),
  );
} else {
  process.stderr.write(`skipped: ${READ_ONLY} (needs the right to mount)\n`);
}

test.run();
