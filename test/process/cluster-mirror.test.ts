// deadline: 180 s
/**
 * A volume equals its mirror file after kills of single sheep, and no request of QEMU's client fails (I-1, I-2, I-5).
 */
import { test } from 'uvu';
import { withCluster } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';
import { mirrorRun } from './cluster-mirror-run.js';

const MIB = 1024 * 1024;

requires(
  test,
  'qemu-storage-daemon',
  'nbdcopy',
)('a volume equals its mirror after six kills under load', () =>
  withCluster({ deadlineMs: 150_000 }, (cluster) =>
    mirrorRun(cluster, {
      kills: 6,
      sizeBytes: 48 * MIB,
      seed: Number(process.env.SEED ?? Date.now() % 1_000_000),
      snapshotEvery: 3,
      thinkMs: 1,
    }),
  ),
);

test.run();
