// deadline: 240 s
/** Sheep that are down: waited for, given up after a while, taken back; recovery that is paused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RecoveryStatus, Settings } from '../../src/control/member-api.js';
import { dogDone, dogJson } from '../helpers/dog-of.js';
import { type RealSheep, withCluster, within } from '../helpers/real-cluster.js';
import { checkEqual, counterOf, Load, pause, rowOf, waitSettled, waitTakenIn } from './members-run.js';

const MOVED = 'sheepfold_recovery_moved_bytes_total';
const MIB = 2 ** 20;

function write(sheep: RealSheep, name: string, fromMib: number, mib: number, byte: number): Promise<unknown> {
  const writes = Array.from({ length: mib }, (_, i) =>
    sheep.call('vdi.write', { name, offset: (fromMib + i) * MIB }, Buffer.alloc(MIB, byte)),
  );
  return Promise.all(writes);
}

test('a restart moves only what was written meanwhile, and begins no move', () =>
  withCluster({ sheep: 3, copies: 3, deadlineMs: 60_000 }, async (cluster) => {
    const [first, , last] = cluster.sheep as [RealSheep, RealSheep, RealSheep];
    await dogDone(first, 'vdi create disk 64M');
    await write(first, 'disk', 0, 48, 1);
    await last.kill();
    await within(10_000, 'it is known to be down', async () => (await rowOf(first, last))?.up === false);
    await write(first, 'disk', 4, 3, 2);
    await last.start();
    await waitTakenIn(first, last);
    const moved = await counterOf(last, MOVED);
    // Inode and index entries that were touched too are small.
    assert.ok(moved >= 3 * MIB && moved < 3.5 * MIB, `${moved} bytes were moved`);
    const { epochs } = await first.call('cluster.info', {});
    assert.ok(epochs.length <= 5, `${epochs.length} epochs`);
    assert.not.match(first.tail(), / move /);
    await checkEqual(first);
  }));

test('a sheep that is down for too long is given up, one in maintenance is not; it is taken back', () =>
  withCluster({ sheep: 4, copies: 2, deadlineMs: 110_000 }, async (cluster) => {
    const [first, , , last] = cluster.sheep as [RealSheep, RealSheep, RealSheep, RealSheep];
    const name = `127.0.0.1:${last.port}`;
    const load = await Load.start(cluster, first);
    try {
      await dogDone(first, 'cluster settings --down-out 1.5s');
      await dogDone(first, `node maintenance ${name}`);
      await pause(500);
      await last.kill();
      await within(10_000, 'it is known to be down', async () => (await rowOf(first, last))?.up === false);
      await pause(4000);
      assert.is((await rowOf(first, last))?.in, true, 'in maintenance it is waited for');
      assert.match(
        (await dogDone(first, 'cluster recover status')).stdout,
        /is in maintenance and waited for/,
      );
      await dogDone(first, `node maintenance ${name} --end`);
      await within(10_000, 'it is given up', async () => (await rowOf(first, last))?.outBy === 'delay');
      await within(60_000, 'nothing lies on it', async () => (await rowOf(first, last))?.empty === true);
      await dogDone(first, 'cluster check -n');
      await last.start();
      await waitTakenIn(first, last);
      const row = await rowOf(first, last);
      assert.equal([row?.in, row?.empty, row?.outBy], [true, undefined, undefined]);
      await load.finish(cluster.sheep);
      await checkEqual(first);
    } finally {
      load.close();
    }
  }));

test('paused recovery stays paused over a restart of everything, and goes on when it is enabled', () =>
  withCluster({ sheep: 3, copies: 3, deadlineMs: 100_000 }, async (cluster) => {
    const [first, second, last] = cluster.sheep as [RealSheep, RealSheep, RealSheep];
    await dogDone(first, 'vdi create disk 32M');
    await write(first, 'disk', 0, 16, 1);
    await last.kill();
    await within(10_000, 'it is known to be down', async () => (await rowOf(first, last))?.up === false);
    await write(first, 'disk', 0, 16, 2);
    assert.is((await dogDone(second, 'cluster recover disable')).stdout, 'Cluster recovery: disable\n');
    await last.start();
    assert.match(
      (await dogDone(first, 'cluster info')).stdout,
      /^Cluster status: running, auto-recovery disabled\n/,
    );
    for (const sheep of cluster.sheep) await sheep.kill();
    for (const sheep of cluster.sheep) sheep.spawn();
    await Promise.all(cluster.sheep.map((sheep) => sheep.waitUp()));
    await pause(1500);
    const status = await dogJson<RecoveryStatus>(first, 'cluster recover status');
    assert.is(status.recoveryPaused, true);
    assert.ok(status.nodes.some((node) => node.port === last.port));
    assert.match(status.waiting.join('\n'), /recovery is paused; 'dog cluster recover enable'/);
    assert.is((await rowOf(first, last))?.syncing, true);
    const set = await dogJson<Settings>(first, 'cluster settings');
    assert.equal(set, { downOutMs: 600_000, recoveryPaused: true });
    await dogDone(first, 'cluster recover enable');
    await dogDone(first, 'cluster recover status --wait');
    await waitSettled(first);
    await checkEqual(first);
  }));

test.run();
