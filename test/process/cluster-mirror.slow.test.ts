// run: all
// deadline: 1200 s
/** The mirror-file run of cluster-mirror.test.ts with sixty-five ends of a sheep, one in six of them in good order. */
import { test } from 'uvu';
import { withCluster } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';
import { mirrorRun } from './cluster-mirror-run.js';

const MIB = 1024 * 1024;

requires(
  test,
  'qemu-storage-daemon',
  'nbdcopy',
)('a volume equals its mirror after fifty kills under load', () =>
  withCluster({ deadlineMs: 1_150_000 }, (cluster) =>
    mirrorRun(cluster, {
      kills: Number(process.env.KILLS ?? 65),
      sizeBytes: 128 * MIB,
      seed: Number(process.env.SEED ?? Date.now() % 1_000_000),
      snapshotEvery: 10,
      thinkMs: 3,
    }),
  ),
);

test.run();
