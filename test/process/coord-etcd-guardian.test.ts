// run: quick
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { systemClock } from '../../src/base/clock.js';
import { silentLogger } from '../../src/base/log.js';
import { openRawCoordinator } from '../../src/coord/open-coordinator.js';
import { EtcdCluster } from '../helpers/etcd-cluster.js';
import { within } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';

const LEASE_TTL_MS = 60_000;
const self = fileURLToPath(import.meta.url);

/** The process that is killed: holds a lease with a key, says so, and goes on. */
async function hold(address: string): Promise<void> {
  const coordinator = await openRawCoordinator({ address, log: silentLogger });
  const lease = await coordinator.grantLease(LEASE_TTL_MS);
  await coordinator.txn([], [{ type: 'put', key: 'held', value: 'x', lease: lease.id }]);
  process.stdout.write('held\n');
  setInterval(() => {}, 1000);
}

if (process.argv[2] === 'hold') await hold(process.argv[3]!);
else {
  const withEtcd = requires(test, 'etcd', 'etcdctl');
  withEtcd('the lease of a process that is killed ends at once, not when its time is over', async () => {
    const etcd = await EtcdCluster.start();
    try {
      const address = etcd.address('guarded');
      const child = spawn(process.execPath, [self, 'hold', address], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(child.stdout, 'data');
      const coordinator = await openRawCoordinator({ address, log: silentLogger });
      assert.is((await coordinator.get('held'))?.value, 'x');
      const fromMs = systemClock.nowMs();
      child.kill('SIGKILL');
      const gone = async () => (await coordinator.get('held')) === undefined;
      await within(LEASE_TTL_MS / 3, 'the lease has ended', gone);
      process.stdout.write(
        `the lease was gone ${Math.round(systemClock.nowMs() - fromMs)} ms after the kill\n`,
      );
      await coordinator.close();
    } finally {
      await etcd.stop();
    }
  });
  test.run();
}
