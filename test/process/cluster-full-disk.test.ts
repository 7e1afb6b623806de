// deadline: 180 s
/** One sheep's disk runs full: new data is refused, nothing else is, and room that is freed can be used again (I-8). */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NbdClient, NbdFailure } from '../helpers/nbd-client.js';
import { RealCluster, type RealSheep } from '../helpers/real-cluster.js';
import { dog } from '../helpers/run-dog.js';
import { BLOCK_BYTES, StampedVolume } from '../helpers/stamped-volume.js';

const MIB = 1024 * 1024;
const ENOSPC = 28;
/** Room for two journal segments, the reserve, and about 70 MiB of objects. */
const DISK_SIZE = '260m';
const VOLUME_BLOCKS = 128 * (MIB / BLOCK_BYTES);
const STEP_BLOCKS = MIB / BLOCK_BYTES;
const FULL = 2;

function mountSmall(folder: string): boolean {
  try {
    mkdirSync(folder, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_SIZE}`, 'tmpfs', folder], { stdio: 'ignore' });
    return true;
  } catch {
    // Not root, or a container that may not mount.
    return false;
  }
}

/** Writes 1 MiB after the other until one is refused; resolves with how many were not. */
async function fill(client: NbdClient, volume: StampedVolume, from: number): Promise<number> {
  for (let at = from; at < VOLUME_BLOCKS; at += STEP_BLOCKS) {
    try {
      await volume.writeAt(client, at, STEP_BLOCKS);
    } catch (error) {
      if (error instanceof NbdFailure && error.errno === ENOSPC) return (at - from) / STEP_BLOCKS;
      throw error;
    }
  }
  throw new Error('the disk did not run full');
}

async function checkThroughAll(sheep: readonly RealSheep[], volume: StampedVolume): Promise<void> {
  for (const one of sheep) {
    const client = await NbdClient.open(one.nbd, 'disk');
    await volume.check(client, `sheep ${one.index}`);
    client.close();
  }
}

async function run(cluster: RealCluster): Promise<void> {
  const volume = new StampedVolume(VOLUME_BLOCKS);
  await cluster.call('vdi.create', { name: 'disk', sizeBytes: VOLUME_BLOCKS * BLOCK_BYTES });
  const client = await NbdClient.open(cluster.sheep[0]!.nbd, 'disk');
  const filled = await fill(client, volume, 0);
  process.stdout.write(`full after ${filled} MiB\n`);
  assert.ok(filled >= 20, `refused after ${filled} MiB`);
  // What is there can be read, and written over.
  await checkThroughAll(cluster.sheep, volume);
  await volume.writeAt(client, 0, STEP_BLOCKS);
  await client.flush();
  // A node with a full disk starts, and serves.
  await cluster.sheep[FULL]!.kill();
  await cluster.sheep[FULL]!.start();
  await cluster.waitHealthy();
  await checkThroughAll(cluster.sheep, volume);
  // Room comes back with a discard, and is enough for as much again.
  const freed = 16 * STEP_BLOCKS;
  await client.trim(0, freed * BLOCK_BYTES);
  volume.acknowledged.fill(0, 0, freed);
  await client.flush();
  for (let at = 0; at < freed / 2; at += STEP_BLOCKS) await volume.writeAt(client, at, STEP_BLOCKS);
  await checkThroughAll(cluster.sheep, volume);
  // And with a deletion: another volume can be filled then.
  client.close();
  await cluster.call('vdi.delete', { name: 'disk' });
  const second = new StampedVolume(VOLUME_BLOCKS);
  await cluster.call('vdi.create', { name: 'next', sizeBytes: VOLUME_BLOCKS * BLOCK_BYTES });
  const next = await NbdClient.open(cluster.sheep[1]!.nbd, 'next');
  const filledAgain = await fill(next, second, 0);
  next.close();
  assert.ok(filledAgain >= filled - 12, `only ${filledAgain} MiB after the deletion, ${filled} before`);
  // An image that does not fit is refused, and leaves nothing.
  const port = String(cluster.sheep[0]!.port);
  const image = await dog(['image', 'add', '-', 'cd', '-p', port], {
    stdin: Buffer.alloc(32 * MIB, 'x'),
    deadlineMs: 30_000,
  });
  assert.match(image.stderr, /^Failed to add image cd: Server has no space for new objects/);
  assert.is(image.exit, 4);
  assert.is((await cluster.call('vdi.list', {})).length, 1);
}

function canMount(): boolean {
  const probe = mkdtempSync(join(tmpdir(), 'sheepfold-mount-'));
  const can = mountSmall(probe);
  if (can) execFileSync('umount', [probe]);
  rmdirSync(probe);
  return can;
}

const NAME =
  'a full disk refuses new data with no-space, keeps serving, and takes writes after room is freed';
if (canMount()) {
  test(NAME, async () => {
    let mounted: string | undefined;
    const dirOf = (index: number, folder: string): string => {
      const dir = join(folder, `sheep${index}`);
      if (index === FULL && mountSmall(dir)) mounted = dir;
      return dir;
    };
    // Ended by a deadline or by hand: the mount must not outlive the test either.
    process.once('exit', () => mounted !== undefined && execFileSync('umount', ['--lazy', mounted]));
    const cluster = await RealCluster.start({ dirOf });
    try {
      await run(cluster);
    } catch (error) {
      process.stderr.write(`${cluster.tails()}\n`);
      throw error;
    } finally {
      for (const one of cluster.sheep) await one.kill();
      if (mounted !== undefined) execFileSync('umount', [mounted]);
      mounted = undefined;
      await cluster.stop();
    }
  });
} else {
  process.stderr.write(`skipped: ${NAME} (needs the right to mount a tmpfs)\n`);
  test.skip(NAME, () => {});
}

test.run();
