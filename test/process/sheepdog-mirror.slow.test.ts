// run: all
// deadline: 900 s
/**
 * The mirror-file run of cluster-mirror.test.ts through the sheepdog driver of the old QEMU: its kills, its snapshots by
 * another door, its object size of 1 MiB. That driver cannot stand the loss of its connection under load
 * (src/relay/README.md), so where its own sheep is killed as well, a relay stands between.
 */
import { test } from 'uvu';
import { requiresOldQemu } from '../helpers/old-qemu.js';
import { QemuClient } from '../helpers/qemu-client.js';
import { withCluster } from '../helpers/real-cluster.js';
import { mirrorRun } from './cluster-mirror-run.js';
import { startRelay } from './relay-process.js';

const KILLS_DIRECT = 6;
const common = {
  sizeBytes: 64 * 1024 * 1024,
  seed: Number(process.env.SEED ?? Date.now() % 1_000_000),
  snapshotEvery: 4,
  thinkMs: 3,
  blockSizeShift: 20,
};

requiresOldQemu(test)(
  "a volume equals its mirror after kills under the load of QEMU's own driver and a relay",
  (old) =>
    withCluster({ deadlineMs: 550_000 }, async (cluster) => {
      const relay = await startRelay(cluster.folder, cluster.sheep);
      try {
        await mirrorRun(cluster, {
          ...common,
          kills: Number(process.env.KILLS ?? 20),
          open: ({ folder }) => QemuClient.startOld(old.storageDaemon, folder, relay, 'disk'),
        });
      } catch (error) {
        process.stderr.write(`--- relay\n${relay.log()}`);
        throw error;
      } finally {
        await relay.stop();
      }
    }),
);

requiresOldQemu(test)(
  "a volume equals its mirror after kills of other sheep than that of QEMU's own driver",
  (old) =>
    withCluster({ deadlineMs: 300_000 }, (cluster) =>
      mirrorRun(cluster, {
        ...common,
        kills: KILLS_DIRECT,
        spareGateway: true,
        open: ({ folder }, { port }) =>
          QemuClient.startOld(old.storageDaemon, folder, { host: '127.0.0.1', port }, 'disk'),
      }),
    ),
);

test.run();
