// deadline: 300 s
/** All of etcd is away for a minute, killed and frozen: sheep wait for it, and go on as if nothing had been. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { EtcdCluster } from '../helpers/etcd-cluster.js';
import { seeded } from '../helpers/mirror-oracle.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { withCluster, within } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';
import { BLOCK_BYTES, StampedVolume } from '../helpers/stamped-volume.js';

const withEtcd = requires(test, 'etcd', 'etcdctl');
const AWAY_MS = 60_000;
const VOLUME_BLOCKS = 256;

for (const how of ['killed', 'frozen'] as const) {
  withEtcd(`all of etcd is ${how} for a minute`, async () => {
    const etcd = await EtcdCluster.start({ members: 3, heartbeatMs: 100, electionMs: 1000 });
    try {
      await withCluster({ deadlineMs: 140_000, coordinator: etcd.address('test') }, async (cluster) => {
        await cluster.call('vdi.create', { name: 'disk', sizeBytes: VOLUME_BLOCKS * BLOCK_BYTES });
        const client = await NbdClient.open(cluster.sheep[0]!.nbd, 'disk');
        const volume = new StampedVolume(VOLUME_BLOCKS);
        const below = seeded(9);
        let [rounds, stopped] = [0, false];
        const load = (async () => {
          for (; !stopped; rounds++) {
            await volume.writeSomewhere(client, below);
            await client.read(below(VOLUME_BLOCKS) * BLOCK_BYTES, BLOCK_BYTES);
          }
        })();
        load.catch(() => {});
        const goesOn = async (): Promise<void> => {
          const before = rounds;
          await within(30_000, 'I/O goes on', () => rounds > before + 20);
        };
        await goesOn();
        const { epoch } = await cluster.call('cluster.info', {});
        if (how === 'killed') await etcd.killAll();
        else for (let i = 0; i < etcd.size; i++) etcd.signal(i, 'SIGSTOP');
        await sleep(systemClock, AWAY_MS);
        for (let i = 0; i < etcd.size; i++) {
          if (how === 'killed') etcd.launch(i);
          else etcd.signal(i, 'SIGCONT');
        }
        const backMs = performance.now();
        await goesOn();
        process.stdout.write(`  goes on ${Math.round(performance.now() - backMs)} ms after etcd is back\n`);
        await cluster.waitHealthy();
        const after = (await cluster.call('cluster.info', {})).epoch;
        process.stdout.write(`  epoch ${epoch} before, ${after} after\n`);
        stopped = true;
        await load;
        await volume.check(client, 'the end');
        client.close();
        assert.ok(cluster.sheep.every((one) => one.running));
      });
    } finally {
      for (let i = 0; i < etcd.size; i++) etcd.signal(i, 'SIGCONT');
      await etcd.stop();
    }
  });
}

test.run();
