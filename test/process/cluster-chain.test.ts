/** Deleting snapshots in the middle of a chain frees what only they show (D-3). */
import { test } from 'uvu';
import { withCluster } from '../helpers/real-cluster.js';
import { chainRun } from './cluster-chain-run.js';

test('the middle of thirty snapshots is deleted: room comes back and the others are whole', () =>
  withCluster({ deadlineMs: 100_000 }, (cluster) => chainRun(cluster, 30, 11)));

test.run();
