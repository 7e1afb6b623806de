// run: quick
// deadline: 300 s
/** A cluster moves from a directory to a real etcd and back, while a client works. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { EtcdCluster } from '../helpers/etcd-cluster.js';
import { seeded } from '../helpers/mirror-oracle.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { type RealCluster, type RealSheep, withCluster, within } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';
import { dog } from '../helpers/run-dog.js';
import { BLOCK_BYTES, StampedVolume } from '../helpers/stamped-volume.js';

const withEtcd = requires(test, 'etcd', 'etcdctl');
const VOLUME_BLOCKS = 256;
const MOVE_MS = 60_000;

async function scene(body: (etcd: EtcdCluster, cluster: RealCluster) => Promise<void>): Promise<void> {
  const etcd = await EtcdCluster.start();
  try {
    await withCluster({ deadlineMs: 120_000 }, (cluster) => body(etcd, cluster));
  } finally {
    await etcd.stop();
  }
}

/** Writes as a guest with reconnect-delay does: what was not answered when the sheep paused is unknown. */
class ReconnectingLoad {
  writes = 0;
  private stopped = false;
  private readonly volume = new StampedVolume(VOLUME_BLOCKS);
  private readonly running: Promise<void>;

  constructor(private readonly sheep: RealSheep) {
    this.running = this.run(seeded(5));
    this.running.catch(() => {});
  }

  async goesOn(what: string): Promise<void> {
    const before = this.writes;
    await within(MOVE_MS, what, () => this.writes > before + 20);
  }

  async finish(): Promise<void> {
    this.stopped = true;
    await this.running;
    const client = await NbdClient.open(this.sheep.nbd, 'disk');
    await this.volume.check(client, 'the end');
    client.close();
  }

  private async run(below: (bound: number) => number): Promise<void> {
    while (!this.stopped) {
      try {
        const client = await NbdClient.open(this.sheep.nbd, 'disk');
        while (!this.stopped) {
          await this.volume.writeSomewhere(client, below);
          this.writes++;
        }
        client.close();
      } catch {
        // The sheep pauses: again soon.
        await sleep(systemClock, 50);
      }
    }
  }
}

function moveTo(sheep: RealSheep, where: string): ReturnType<typeof dog> {
  return dog(['cluster', 'move-coordinator', where, '-f', '-p', String(sheep.port)], { deadlineMs: MOVE_MS });
}

async function whereIs(sheep: RealSheep): Promise<string> {
  return (await sheep.call('cluster.coordinator', {})).address;
}

withEtcd('a cluster moves to etcd by one command, and back: nothing is lost', () =>
  scene(async (etcd, cluster) => {
    const [first, second, third] = cluster.sheep as [RealSheep, RealSheep, RealSheep];
    await cluster.call('vdi.create', { name: 'disk', sizeBytes: VOLUME_BLOCKS * BLOCK_BYTES });
    await cluster.call('vdi.snapshot', { name: 'disk', tag: 'before' });
    for (let i = 0; i < 5; i++) {
      await cluster.call('vdi.setattr', { name: 'disk', key: `key${i}`, mode: 'set', value: 'eA==' });
    }
    const load = new ReconnectingLoad(second);
    await load.goesOn('I/O before');
    const volumes = await first.call('vdi.list', {});
    const startMs = performance.now();
    const there = await moveTo(first, etcd.address('fold'));
    assert.is(there.exit, 0, there.stderr);
    assert.match(there.stdout, /coordinator of the cluster is etcd now/);
    process.stdout.write(`  moved after ${Math.round(performance.now() - startMs)} ms\n`);
    await load.goesOn('I/O in etcd');
    await cluster.waitHealthy();
    for (const sheep of cluster.sheep) assert.is(await whereIs(sheep), etcd.address('fold'));
    assert.equal(await third.call('vdi.list', {}), volumes);
    assert.match(await etcd.ctl(['get', '--prefix', '--keys-only', '/sheepfold/fold/']), /keys\/epoch\//);
    assert.match(
      (await dog(['cluster', 'info', '-p', String(third.port)])).stdout,
      /Coordinator: etcd, etcd:/,
    );

    // Started with the old place, it follows.
    await third.kill();
    await third.start();
    assert.is(await whereIs(third), etcd.address('fold'));
    await cluster.waitHealthy();

    const again = await moveTo(first, etcd.address('fold'));
    assert.is(again.exit, 1, 'it is there already');
    const folder = join(cluster.folder, 'coordinator');
    const back = await moveTo(third, folder);
    assert.is(back.exit, 0, back.stderr);
    await load.goesOn('I/O in the directory again');
    for (const sheep of cluster.sheep) assert.is(await whereIs(sheep), folder);
    await cluster.waitHealthy();
    await load.finish();
    const { value } = await first.call('vdi.getattr', { name: 'disk', key: 'key3' });
    assert.is(value, 'eA==');
  }),
);

withEtcd('a mover that is killed at any moment leaves the cluster in one place, and all find it', () =>
  scene(async (etcd, cluster) => {
    const [first, ...others] = cluster.sheep as [RealSheep, RealSheep, RealSheep];
    await cluster.call('vdi.create', { name: 'disk', sizeBytes: VOLUME_BLOCKS * BLOCK_BYTES });
    const load = new ReconnectingLoad(others[0]!);
    let target = etcd.address('fold');
    let moved = 0;
    for (const delayMs of [0, 400, 1000, 3000, 6000]) {
      await load.goesOn('I/O');
      const { address: from } = await first.call('cluster.coordinator', {});
      target = from.startsWith('etcd') ? join(cluster.folder, 'coordinator') : etcd.address('fold');
      await first.call('cluster.move-coordinator', { to: target });
      await sleep(systemClock, delayMs);
      await first.kill();
      await first.start();
      await cluster.waitHealthy();
      const places = new Set(await Promise.all(cluster.sheep.map(whereIs)));
      assert.is(places.size, 1, `after ${delayMs} ms: ${[...places].join(' and ')}`);
      const [place] = [...places];
      assert.ok(place === from || place === target);
      if (place === target) moved++;
    }
    process.stdout.write(`  ${moved} of 5 moves were decided before the mover died\n`);
    await load.finish();
  }),
);

withEtcd('a place that holds another cluster, or that cannot be reached, changes nothing', () =>
  scene(async (etcd, cluster) => {
    const [first] = cluster.sheep as [RealSheep];
    const before = await whereIs(first);
    await etcd.ctl(['put', '/sheepfold/taken/keys/cluster/config', '{}']);
    for (const [where, words] of [
      [etcd.address('taken'), /holds another cluster/],
      ['etcd://127.0.0.1:1/fold', /cannot connect/],
      ['etcd://127.0.0.1', /not of the form/],
    ] as const) {
      const { exit, stderr } = await moveTo(first, where);
      assert.ok(exit !== 0);
      assert.match(stderr, words);
      assert.is(await whereIs(first), before);
    }
    await cluster.waitHealthy();
    await cluster.call('vdi.create', { name: 'disk', sizeBytes: BLOCK_BYTES });
  }),
);

test.run();
