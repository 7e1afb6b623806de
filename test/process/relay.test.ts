/** A client behind `dog relay` on a real cluster: its sheep is killed under load, and it sees pauses only. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { longestBetween } from '../helpers/mirror-oracle.js';
import { type RealCluster, withCluster } from '../helpers/real-cluster.js';
import { RelayLoad } from './relay-load.js';
import { startRelay } from './relay-process.js';

const CALM_MS = 500;
const VOLUME = { name: 'disk', objectBytes: 1024 * 1024, objectCount: 8 };

async function underLoad(
  cluster: RealCluster,
  sheepOfRelay: readonly number[],
  disturb: (load: RelayLoad) => Promise<string>,
): Promise<void> {
  const { name, objectBytes, objectCount } = VOLUME;
  await cluster.call('vdi.create', { name, sizeBytes: objectBytes * objectCount, blockSizeShift: 20 });
  const relay = await startRelay(
    cluster.folder,
    sheepOfRelay.map((index) => cluster.sheep[index]!),
  );
  try {
    const load = await RelayLoad.open(relay, VOLUME, Date.now() % 1_000_000);
    load.start();
    await sleep(systemClock, CALM_MS);
    const figures = await disturb(load);
    await sleep(systemClock, CALM_MS);
    await load.stop();
    await cluster.waitHealthy();
    for (const { port } of cluster.sheep) await load.compare({ host: '127.0.0.1', port });
    assert.match(relay.log(), /connected again/);
    assert.is(await relay.stop(), 0);
    process.stdout.write(`${figures}, ${load.timings.length} requests in all\n`);
  } catch (error) {
    process.stderr.write(`--- relay\n${relay.log()}`);
    throw error;
  } finally {
    await relay.stop();
  }
}

test('a client sees pauses, no errors, when its only sheep is killed and started again, twice', () =>
  withCluster({ deadlineMs: 80_000 }, (cluster) =>
    underLoad(cluster, [0], async (load) => {
      const pauses: number[] = [];
      for (let round = 0; round < 2; round++) {
        await cluster.waitHealthy();
        const fromMs = performance.now();
        await cluster.sheep[0]!.kill();
        await cluster.sheep[0]!.start();
        await sleep(systemClock, CALM_MS);
        pauses.push(Math.round(longestBetween(load.timings, 0, fromMs, performance.now())));
      }
      return `pause with a restart: ${pauses.join(' and ')} ms`;
    }),
  ));

test('a client goes on through the next sheep when its own is killed and stays away', () =>
  withCluster({ deadlineMs: 60_000 }, (cluster) =>
    underLoad(cluster, [0, 1, 2], async (load) => {
      const fromMs = performance.now();
      await cluster.sheep[0]!.kill();
      await sleep(systemClock, 2000);
      const pauseMs = Math.round(longestBetween(load.timings, 0, fromMs, performance.now()));
      // Whatever waits until now is no pause that has ended.
      assert.ok(
        load.timings.some(({ startMs }) => startMs > fromMs + 1500),
        'it goes on',
      );
      await cluster.sheep[0]!.start();
      return `pause with another sheep: ${pauseMs} ms`;
    }),
  ));

test.run();
