// deadline: 180 s
/** Sheep that hang, or are too few: nothing stale is served (I-2, I-3), and writes wait instead of failing (I-4). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { seeded } from '../helpers/mirror-oracle.js';
import { NbdClient, NbdFailure } from '../helpers/nbd-client.js';
import { type RealSheep, withCluster } from '../helpers/real-cluster.js';
import { BLOCK_BYTES, StampedVolume } from '../helpers/stamped-volume.js';

const DEADLINE_MS = 90_000;
/** Longer than the lease of 3 s. */
const FROZEN_MS = 6000;
const VOLUME_BLOCKS = 1024;
const create = { name: 'disk', sizeBytes: VOLUME_BLOCKS * BLOCK_BYTES };

test('a gateway that was frozen while another took its volume answers nothing stale', () =>
  withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    const [frozen, other] = cluster.sheep as [RealSheep, RealSheep];
    await cluster.call('vdi.create', create);
    const old = await NbdClient.open(frozen.nbd, 'disk');
    const [before, after] = [Buffer.alloc(BLOCK_BYTES, 1), Buffer.alloc(BLOCK_BYTES, 2)];
    await old.write(0, before);
    await old.read(0, BLOCK_BYTES);
    process.kill(frozen.pid, 'SIGSTOP');
    try {
      const startMs = performance.now();
      const taker = await NbdClient.open(other.nbd, 'disk');
      await taker.write(0, after);
      process.stdout.write(`another sheep writes after ${Math.round(performance.now() - startMs)} ms\n`);
      const late = old.read(0, BLOCK_BYTES).catch((error: unknown) => error);
      process.kill(frozen.pid, 'SIGCONT');
      const found = await late;
      // An error is honest; the bytes from before are not.
      if (Buffer.isBuffer(found)) assert.ok(found.equals(after), `stale: ${found.toString('hex', 0, 4)}`);
      else assert.instance(found, NbdFailure);
      assert.ok((await taker.read(0, BLOCK_BYTES)).equals(after));
      taker.close();
    } finally {
      process.kill(frozen.pid, 'SIGCONT');
    }
    await cluster.waitHealthy();
    const again = await NbdClient.open(frozen.nbd, 'disk');
    assert.ok((await again.read(0, BLOCK_BYTES)).equals(after));
    again.close();
    old.close();
  }));

test('each store in turn freezes past its lease under load: no request fails and nothing is lost', () =>
  withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    const below = seeded(11);
    const volume = new StampedVolume(VOLUME_BLOCKS);
    await cluster.call('vdi.create', create);
    const client = await NbdClient.open(cluster.sheep[0]!.nbd, 'disk');
    let done = false;
    let longestMs = 0;
    const work = Array.from({ length: 4 }, async () => {
      while (!done) {
        const startMs = performance.now();
        await volume.writeSomewhere(client, below);
        longestMs = Math.max(longestMs, performance.now() - startMs);
      }
    });
    const freezes = (async () => {
      for (const victim of cluster.sheep.slice(1)) {
        await sleep(systemClock, 500);
        process.kill(victim.pid, 'SIGSTOP');
        await sleep(systemClock, FROZEN_MS);
        process.kill(victim.pid, 'SIGCONT');
        await cluster.waitHealthy();
      }
      done = true;
    })();
    await Promise.all([...work, freezes]);
    process.stdout.write(`longest write around a freeze: ${Math.round(longestMs)} ms\n`);
    client.close();
    for (const one of cluster.sheep) {
      const reader = await NbdClient.open(one.nbd, 'disk');
      await volume.check(reader, `sheep ${one.index}`);
      reader.close();
    }
  }));

test('with two of three killed writes wait and reads go on; they end well when one is back', () =>
  withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    const [first, second, third] = cluster.sheep as [RealSheep, RealSheep, RealSheep];
    await cluster.call('vdi.create', create);
    const client = await NbdClient.open(first.nbd, 'disk');
    await client.write(0, Buffer.alloc(BLOCK_BYTES, 1));
    // The replicas learn a few milliseconds later that all of them have it; a replica that is left alone before
    // that cannot know, and has to wait like the write below (I-2).
    await sleep(systemClock, 500);
    await Promise.all([second.kill(), third.kill()]);
    let ended: unknown;
    const write = client.write(BLOCK_BYTES, Buffer.alloc(BLOCK_BYTES, 2)).then(
      () => (ended = 'acknowledged'),
      (error: unknown) => (ended = error),
    );
    assert.ok((await client.read(0, BLOCK_BYTES)).equals(Buffer.alloc(BLOCK_BYTES, 1)));
    await sleep(systemClock, 5000);
    assert.is(ended, undefined, 'a write with one copy of three is neither failed nor acknowledged');
    assert.ok((await first.call('cluster.info', {})).waiting.length > 0);
    await second.start();
    await write;
    assert.is(ended, 'acknowledged');
    const reader = await NbdClient.open(second.nbd, 'disk');
    assert.ok((await reader.read(BLOCK_BYTES, BLOCK_BYTES)).equals(Buffer.alloc(BLOCK_BYTES, 2)));
    reader.close();
    client.close();
  }));

test.run();
