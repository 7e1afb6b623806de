// deadline: 180 s
/**
 * All sheep are killed at once in the middle of writes and come back in each order: nothing acknowledged is lost
 * (I-1: kill -9 leaves the page cache), nobody waits for another to be up (I-5), and each block has one outcome (I-2).
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { seeded } from '../helpers/mirror-oracle.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { type RealCluster, withCluster } from '../helpers/real-cluster.js';
import { BLOCK_BYTES, StampedVolume } from '../helpers/stamped-volume.js';

const VOLUME_BLOCKS = 4096;
const DEPTH = 8;
const ORDERS = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
] as const;

async function writeAndKillAll(
  cluster: RealCluster,
  volume: StampedVolume,
  gateway: number,
  below: (below: number) => number,
): Promise<void> {
  const client = await NbdClient.open(cluster.sheep[gateway]!.nbd, 'disk');
  const broken = volume.writeUntilBroken(client, below, DEPTH);
  await sleep(systemClock, 300 + below(1000));
  await Promise.all(cluster.sheep.map((one) => one.kill()));
  await broken;
  client.close();
}

test('everything acknowledged is there after all three are killed and return in any of the six orders', () =>
  withCluster({ deadlineMs: 150_000 }, async (cluster) => {
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
    const below = seeded(seed);
    const volume = new StampedVolume(VOLUME_BLOCKS);
    await cluster.call('vdi.create', { name: 'disk', sizeBytes: VOLUME_BLOCKS * BLOCK_BYTES });
    for (const [round, order] of ORDERS.entries()) {
      const writesBefore = volume.acknowledgedWrites;
      await writeAndKillAll(cluster, volume, round % 3, below);
      const startMs = performance.now();
      for (const index of order) {
        cluster.sheep[index]!.spawn();
        await sleep(systemClock, below(3) === 0 ? 0 : below(1500));
      }
      const spawnedMs = performance.now();
      await Promise.all(cluster.sheep.map((one) => one.waitUp()));
      for (const one of cluster.sheep) {
        const client = await NbdClient.open(one.nbd, 'disk');
        await volume.check(client, `sheep ${one.index}, order ${order.join('')}, seed ${seed}`);
        client.close();
      }
      const readMs = Math.round(performance.now() - spawnedMs);
      await cluster.waitHealthy();
      const writes = volume.acknowledgedWrites - writesBefore;
      const lastMs = Math.round(spawnedMs - startMs);
      process.stdout.write(
        `${order.join('')}: ${writes} writes, started over ${lastMs} ms, all read ${readMs} ms later\n`,
      );
      assert.ok(writes > 0);
    }
  }));

test('one sheep alone starts, says whom it waits for, and serves when a second one is there', () =>
  withCluster({ deadlineMs: 90_000 }, async (cluster) => {
    const below = seeded(1);
    const volume = new StampedVolume(1024);
    await cluster.call('vdi.create', { name: 'disk', sizeBytes: 1024 * BLOCK_BYTES });
    await writeAndKillAll(cluster, volume, 0, below);
    const [, second, third] = cluster.sheep as [never, RealCluster['sheep'][0], RealCluster['sheep'][0]];
    third.spawn();
    await third.waitUp();
    await sleep(systemClock, 3000);
    const { waiting } = await third.call('cluster.info', {});
    assert.ok(waiting.length > 0, 'nothing is said about whom it waits for');
    await second.start();
    const client = await NbdClient.open(third.nbd, 'disk');
    await volume.check(client, 'the third sheep');
    await volume.writeSomewhere(client, below);
    client.close();
  }));

test.run();
