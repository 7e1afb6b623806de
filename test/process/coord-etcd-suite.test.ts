// run: quick
import { test } from 'uvu';
import { coordinatorSuite } from '../helpers/coordinator-suite.js';
import { EtcdWorld } from '../helpers/coordinator-worlds.js';
import { EtcdCluster } from '../helpers/etcd-cluster.js';
import { requires } from '../helpers/requires.js';

const withEtcd = requires(test, 'etcd', 'etcdctl');
const clusters: EtcdCluster[] = [];

/** One etcd serves all tests of a size: each has a prefix of its own in it. */
async function etcdOf(members: number): Promise<EtcdCluster> {
  const found = clusters.find((cluster) => cluster.size === members);
  if (found) return found;
  const started = await EtcdCluster.start({ members, heartbeatMs: 10, electionMs: 100 });
  clusters.push(started);
  return started;
}

test.after(async () => {
  for (const cluster of clusters) await cluster.stop();
});

coordinatorSuite(withEtcd, 'etcd of one member', async () => new EtcdWorld(await etcdOf(1)));
coordinatorSuite(withEtcd, 'etcd of three members', async () => new EtcdWorld(await etcdOf(3)));

test.run();
