// deadline: 240 s
/** On a host of modular daemons: virtqemud asks us, and we pass on to virtstoraged what is not ours. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../src/base/random.js';
import { requiresModularLibvirt } from '../helpers/built-libvirt.js';
import { type Libvirtd, requiresLibvirtd, withLibvirtds } from '../helpers/libvirtd.js';
import { PoolDaemon, poolXml } from '../helpers/pool-daemon.js';
import { withCluster } from '../helpers/real-cluster.js';

const DEADLINE_MS = 220_000;
const MIB = 2 ** 20;

async function definePools(virtqemud: Libvirtd, folder: string, port: number): Promise<void> {
  const images = join(folder, 'images');
  mkdirSync(images);
  await virtqemud.mustVirsh('pool-create-as', 'files', 'dir', '--target', images);
  await virtqemud.mustVirsh('pool-create', virtqemud.file('pool.xml', poolXml('vms', port)));
  const list = await virtqemud.mustVirsh('pool-list', '--details');
  assert.match(list, /files +running/);
  assert.match(list, /vms +running/);
}

async function moveData(virtqemud: Libvirtd, folder: string, pool: string): Promise<void> {
  const [from, to] = [join(folder, 'data'), join(folder, `from-${pool}`)];
  const content = new SeededRandom(1).bytes(10 * MIB);
  writeFileSync(from, content);
  await virtqemud.mustVirsh('vol-create-as', pool, 'disk', '10M', '--allocation', '0');
  await virtqemud.mustVirsh('vol-upload', 'disk', from, '--pool', pool);
  await virtqemud.mustVirsh('vol-download', 'disk', to, '--pool', pool);
  assert.ok(readFileSync(to).equals(content), pool);
  const path = await virtqemud.mustVirsh('vol-path', 'disk', pool);
  assert.is(await virtqemud.mustVirsh('vol-pool', path), pool);
  await virtqemud.mustVirsh('vol-delete', 'disk', pool);
  assert.is(await virtqemud.mustVirsh('vol-list', pool), '');
}

requiresModularLibvirt(requiresLibvirtd(test))(
  'virtqemud has pools of a cluster beside those of virtstoraged',
  ({ virtqemud, virtstoraged }) =>
    withCluster({ deadlineMs: DEADLINE_MS }, (cluster) =>
      withLibvirtds(
        [
          { name: 'modular', program: virtqemud },
          { name: 'storage', program: virtstoraged },
        ],
        (hypervisor, storage) => {
          const folder = cluster.folderFor('files');
          const words = ['--upstream', storage.socket, '--upstream-readonly', `${storage.socket}-ro`];
          return PoolDaemon.with(folder, words, async (daemon) => {
            symlinkSync(daemon.socket, join(hypervisor.folder, 'run/libvirt/virtstoraged-sock'));
            await definePools(hypervisor, folder, cluster.sheep[0]!.port);
            for (const pool of ['files', 'vms']) await moveData(hypervisor, folder, pool);
            // Each has its own alone.
            const theirs = await storage.mustVirsh('pool-list', '--name');
            assert.is(theirs.trim(), 'files');
          });
        },
      ),
    ),
);

test.run();
