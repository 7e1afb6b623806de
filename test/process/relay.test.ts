// deadline: 240 s
/** A client behind `dog relay` on a real cluster: its sheep is killed under load, and it sees pauses only. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { ControlClient } from '../../src/control/client.js';
import { Result } from '../../src/wire/sheepdog.js';
import { longestBetween } from '../helpers/mirror-oracle.js';
import { type RealCluster, withCluster } from '../helpers/real-cluster.js';
import { startRelay } from '../helpers/relay-process.js';
import { freshConnections, SheepdogCalls } from '../helpers/sheepdog-calls.js';
import { RelayLoad } from './relay-load.js';

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
    const control = await ControlClient.connect({ host: relay.host, port: relay.port });
    assert.is((await control.call('cluster.info', {})).result.status, 'running');
    control.close();
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

test('a client that has locked its volume keeps it when its sheep is killed, and others do not get it', () =>
  withCluster({ deadlineMs: 80_000 }, async (cluster) => {
    const client = await ControlClient.connect({ host: '127.0.0.1', port: cluster.sheep[0]!.port });
    await client.call('cluster.format', { copies: 3, force: true, useLock: true } as { copies: number });
    client.close();
    await cluster.waitHealthy();
    await underLoad(cluster, [0, 1, 2], async (load) => {
      const fromMs = performance.now();
      await cluster.sheep[0]!.kill();
      await sleep(systemClock, 2000);
      const pauseMs = Math.round(longestBetween(load.timings, 0, fromMs, performance.now()));
      if (load.failure !== undefined) throw load.failure;
      const { port } = cluster.sheep[2]!;
      const others = new SheepdogCalls(freshConnections({ host: '127.0.0.1', port }));
      assert.is((await others.lock({ name: VOLUME.name })).result, Result.VDI_LOCKED);
      await cluster.sheep[0]!.start();
      return `pause with a lock: ${pauseMs} ms`;
    });
  }));

test.run();
