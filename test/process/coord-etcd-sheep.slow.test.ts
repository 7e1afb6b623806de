// run: quick
// deadline: 300 s
/** Sheep whose coordinator is a real etcd: what its troubles are for clients of volumes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { EtcdCluster } from '../helpers/etcd-cluster.js';
import { seeded } from '../helpers/mirror-oracle.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { type RealCluster, type RealSheep, withCluster, within } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';
import { BLOCK_BYTES, StampedVolume } from '../helpers/stamped-volume.js';

const withEtcd = requires(test, 'etcd', 'etcdctl');
const VOLUME_BLOCKS = 512;
const GOES_ON_MS = 30_000;

/** Sheep on an etcd with its usual settings. */
async function scene(
  members: number,
  body: (etcd: EtcdCluster, cluster: RealCluster) => Promise<void>,
): Promise<void> {
  const etcd = await EtcdCluster.start({ members, heartbeatMs: 100, electionMs: 1000 });
  try {
    await withCluster({ deadlineMs: 120_000, coordinator: etcd.address('test') }, (cluster) =>
      body(etcd, cluster),
    );
  } finally {
    await etcd.stop();
  }
}

/**
 * Writes and reads in turn, and knows when it had to wait. Reads need a lease; writes are fenced by the epochs of all
 * replicas, and go on without one.
 */
class Load {
  writes = 0;
  longestMs = 0;
  private stopped = false;
  private readonly volume = new StampedVolume(VOLUME_BLOCKS);
  private readonly running: Promise<void>;

  private constructor(private readonly client: NbdClient) {
    const below = seeded(3);
    this.running = this.run(below);
    this.running.catch(() => {});
  }

  static async start(cluster: RealCluster, sheep: RealSheep): Promise<Load> {
    await cluster.call('vdi.create', { name: 'disk', sizeBytes: VOLUME_BLOCKS * BLOCK_BYTES });
    return new Load(await NbdClient.open(sheep.nbd, 'disk'));
  }

  /** Resolves when some more writes were done. */
  async goesOn(what: string): Promise<void> {
    const before = this.writes;
    await within(GOES_ON_MS, what, () => this.writes > before + 20);
  }

  /** Ends, and compares everything. */
  async finish(): Promise<void> {
    this.stopped = true;
    await this.running;
    await this.volume.check(this.client, 'the end');
    this.client.close();
  }

  private async run(below: (bound: number) => number): Promise<void> {
    while (!this.stopped) {
      const startMs = performance.now();
      await this.volume.writeSomewhere(this.client, below);
      await this.client.read(below(VOLUME_BLOCKS) * BLOCK_BYTES, BLOCK_BYTES);
      this.longestMs = Math.max(this.longestMs, performance.now() - startMs);
      this.writes++;
    }
  }
}

async function epochOf(cluster: RealCluster): Promise<number> {
  return (await cluster.call('cluster.info', {})).epoch;
}

withEtcd('a leader of etcd is killed, another freezes: no sheep loses its place, no request waits', () =>
  scene(3, async (etcd, cluster) => {
    const { coordinator } = await cluster.call('cluster.info', {});
    assert.is(coordinator?.driver, 'etcd');
    const load = await Load.start(cluster, cluster.sheep[0]!);
    await load.goesOn('I/O');
    const epoch = await epochOf(cluster);
    const killed = await etcd.leader();
    await etcd.kill(killed);
    await sleep(systemClock, 6000);
    await load.goesOn('I/O after the leader was killed');
    etcd.launch(killed);
    await etcd.untilHealthy();
    const frozen = await etcd.leader();
    etcd.signal(frozen, 'SIGSTOP');
    await sleep(systemClock, 6000);
    await load.goesOn('I/O while the leader is frozen');
    process.stdout.write(`  longest wait ${Math.round(load.longestMs)} ms\n`);
    assert.is(await epochOf(cluster), epoch, 'nobody lost its lease');
    assert.ok(load.longestMs < 2000);
    etcd.signal(frozen, 'SIGCONT');
    await load.finish();
  }),
);

withEtcd('all of etcd is away for some seconds: I/O goes on, then waits, and goes on by itself', () =>
  scene(1, async (etcd, cluster) => {
    const load = await Load.start(cluster, cluster.sheep[1]!);
    await load.goesOn('I/O');
    const epoch = await epochOf(cluster);
    await etcd.kill(0);
    const killedMs = performance.now();
    await load.goesOn('I/O while leases hold');
    await within(10_000, 'I/O stops when leases end', async () => {
      const before = load.writes;
      await sleep(systemClock, 300);
      return load.writes === before;
    });
    const stoppedMs = performance.now() - killedMs;
    assert.ok(stoppedMs > 3000 && stoppedMs < 8000, `stopped after ${stoppedMs} ms`);
    await sleep(systemClock, 2000);
    etcd.launch(0);
    const launchedMs = performance.now();
    await load.goesOn('I/O when etcd is back');
    process.stdout.write(`  goes on ${Math.round(performance.now() - launchedMs)} ms after etcd started\n`);
    assert.is(await epochOf(cluster), epoch, 'with the leases it had');
    await cluster.waitHealthy();
    await load.finish();
    await cluster.call('vdi.create', { name: 'another', sizeBytes: BLOCK_BYTES });
  }),
);

withEtcd('a sheep that is killed is found out at once by those on its host, and comes back', () =>
  scene(1, async (_etcd, cluster) => {
    const load = await Load.start(cluster, cluster.sheep[0]!);
    await load.goesOn('I/O');
    await cluster.sheep[2]!.kill();
    await load.goesOn('I/O without it');
    process.stdout.write(`  longest wait ${Math.round(load.longestMs)} ms\n`);
    assert.ok(load.longestMs < 2000, 'well before its lease of 5 s ends');
    await cluster.sheep[2]!.start();
    await cluster.waitHealthy();
    await load.finish();
  }),
);

withEtcd('sheep that start before etcd wait for it', () =>
  scene(1, async (etcd, cluster) => {
    for (const one of cluster.sheep) await one.kill('SIGTERM');
    await etcd.kill(0);
    for (const one of cluster.sheep) one.spawn();
    await sleep(systemClock, 2000);
    assert.ok(cluster.sheep.every((one) => one.running));
    etcd.launch(0);
    await Promise.all(cluster.sheep.map((one) => one.waitUp()));
    await cluster.waitHealthy();
    for (const one of cluster.sheep.slice(1)) {
      one.kill('SIGTERM');
      assert.is(await one.end(), 0);
    }
  }),
);

test.run();
