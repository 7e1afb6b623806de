// run: all
// deadline: 600 s
/**
 * The mirror-file run of cluster-mirror.test.ts through the sheepdog driver of the old QEMU, which reconnects and asks
 * again by itself: its kills, its snapshots by another door, its object size of 1 MiB.
 */
import { test } from 'uvu';
import { requiresOldQemu } from '../helpers/old-qemu.js';
import { QemuClient } from '../helpers/qemu-client.js';
import { withCluster } from '../helpers/real-cluster.js';
import { mirrorRun } from './cluster-mirror-run.js';

const MIB = 1024 * 1024;

requiresOldQemu(test)("a volume equals its mirror after kills under the load of QEMU's own driver", (old) =>
  withCluster({ deadlineMs: 550_000 }, (cluster) =>
    mirrorRun(cluster, {
      kills: Number(process.env.KILLS ?? 20),
      sizeBytes: 64 * MIB,
      seed: Number(process.env.SEED ?? Date.now() % 1_000_000),
      snapshotEvery: 4,
      thinkMs: 3,
      blockSizeShift: 20,
      open: ({ folder }, sheep) =>
        QemuClient.startOld(old.storageDaemon, folder, { host: '127.0.0.1', port: sheep.port }, 'disk'),
    }),
  ),
);

test.run();
