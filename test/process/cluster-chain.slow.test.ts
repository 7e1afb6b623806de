// run: all
// deadline: 900 s
/** The run of cluster-chain.test.ts with a thousand snapshots. */
import { test } from 'uvu';
import { withCluster } from '../helpers/real-cluster.js';
import { chainRun } from './cluster-chain-run.js';

test('most of a thousand snapshots are deleted: room comes back and the others are whole', () =>
  withCluster({ deadlineMs: 850_000 }, (cluster) => chainRun(cluster, 1000, 100)));

test.run();
