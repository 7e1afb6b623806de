// deadline: 120 s
/** In virtstoraged's place: a real libvirtd with directory pools behind us, pools of a cluster beside them. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MessageStatus, MessageType } from '../../pool-backend/rpc/message.js';
import { SeededRandom } from '../../src/base/random.js';
import { LibvirtClient } from '../helpers/libvirt-client.js';
import { Libvirtd, requiresLibvirtd } from '../helpers/libvirtd.js';
import { PoolDaemon, poolXml, virsh, virshAt } from '../helpers/pool-daemon.js';
import { ownedProcess, type RealCluster, withCluster, within } from '../helpers/real-cluster.js';
import { PLAIN_URI, virshInPlace } from '../helpers/virsh-place.js';

const DOWNLOADS = 10;
const MIB = 1024 * 1024;
const DEADLINE_MS = 20_000;

interface World {
  readonly cluster: RealCluster;
  readonly daemon: PoolDaemon;
  readonly libvirtd: Libvirtd;
  readonly folder: string;
}

async function bothKinds({ daemon, libvirtd, folder }: World): Promise<void> {
  const directory = join(folder, 'images');
  mkdirSync(directory);
  await daemon.ok('pool-define-as', 'files', 'dir', '--target', directory);
  await daemon.ok('pool-start', 'files');
  await daemon.ok('pool-define', join(folder, 'pool.xml'));
  await daemon.ok('pool-start', 'vms');
  const list = await daemon.ok('pool-list', '--all', '--details');
  assert.match(list, /files +running/);
  assert.match(list, /vms +running/);
  // The other daemon has its own alone.
  const theirs = await virsh(libvirtd.socket, ['pool-list', '--all']);
  assert.match(theirs.stdout, 'files');
  assert.not.match(theirs.stdout, 'vms');
  const capabilities = await daemon.ok('pool-capabilities');
  assert.match(capabilities, /type='dir' supported='yes'[\s\S]*type='sheepdog' supported='yes'/);
  assert.is(capabilities.match(/type='sheepdog'/g)?.length, 1);
  // A name is given once, whichever daemon has it.
  assert.match(
    await daemon.refused('pool-define-as', 'vms', 'dir', '--target', '/x'),
    /pool 'vms' already exists/,
  );
  writeFileSync(join(folder, 'files.xml'), poolXml('files', 9, 'x'));
  assert.match(await daemon.refused('pool-define', join(folder, 'files.xml')), /pool 'files' already exists/);
}

async function volumesOfBoth({ daemon, libvirtd, folder }: World): Promise<void> {
  const file = (name: string) => join(folder, name);
  const content = new SeededRandom(1).bytes(20 * MIB);
  writeFileSync(file('data'), content);
  for (const pool of ['files', 'vms']) {
    await daemon.ok('vol-create-as', pool, 'disk', '20M', '--allocation', '0');
    await daemon.ok('vol-upload', 'disk', file('data'), '--pool', pool, '--sparse');
    // The first packet of a transfer may overtake the reply that begins it: many times, to meet that.
    for (let times = 0; times < DOWNLOADS; times++) {
      rmSync(file(`from-${pool}`), { force: true });
      await daemon.ok('vol-download', 'disk', file(`from-${pool}`), '--pool', pool);
      assert.ok(readFileSync(file(`from-${pool}`)).equals(content), pool);
    }
    const path = (await daemon.ok('vol-path', 'disk', pool)).trim();
    assert.is((await daemon.ok('vol-pool', path)).trim(), pool);
    assert.match(await daemon.ok('vol-dumpxml', 'disk', pool), '<name>disk</name>');
    assert.match(await daemon.refused('vol-info', 'nothing', pool), /Storage volume not found/);
  }
  // Their refusals come as they say them.
  const direct = await virsh(libvirtd.socket, ['vol-create-as', 'files', 'disk', '1M']);
  assert.is(await daemon.refused('vol-create-as', 'files', 'disk', '1M'), direct.stderr);
  writeFileSync(file('from.xml'), '<volume><name>mixed</name><capacity>1</capacity></volume>');
  const mixed = ['vol-create-from', 'vms', file('from.xml'), 'disk', '--inputpool', 'files'];
  assert.match(await daemon.refused(...mixed), /download and upload it/);
  await daemon.ok('vol-clone', 'disk', 'copy', '--pool', 'files');
  await daemon.ok('vol-delete', 'copy', '--pool', 'files');
}

async function eventsOfBoth({ daemon }: World): Promise<void> {
  const uri = `storage+unix:///system?socket=${daemon.socket}`;
  const words = ['-c', uri, 'pool-event', '--event', 'refresh', '--loop', '--timeout', '60'];
  const watcher = execa('virsh', words, { reject: false, buffer: false });
  ownedProcess(watcher as unknown as Parameters<typeof ownedProcess>[0]);
  let seen = '';
  watcher.stdout!.on('data', (chunk: Buffer) => {
    seen += chunk;
  });
  await within(DEADLINE_MS, 'events of both kinds of pools', async () => {
    await daemon.ok('pool-refresh', 'files');
    await daemon.ok('pool-refresh', 'vms');
    return /storage pool files/.test(seen) && /storage pool vms/.test(seen);
  });
  watcher.kill('SIGKILL');
  await watcher;
}

/** Where clients look for virtstoraged, nobody has to name a socket; the host's own directory is left alone. */
async function inItsPlace({ daemon }: World): Promise<void> {
  const { uri, ...options } = virshInPlace(daemon.socket);
  assert.is(uri, PLAIN_URI);
  const { exit, stdout, stderr } = await virshAt(uri, ['pool-list', '--all'], options);
  assert.is(exit, 0, stderr);
  assert.match(stdout, /files +active/);
  assert.match(stdout, /vms +active/);
}

/** The other daemon dies in the middle of a transfer: an error, and ours go on. */
async function theirEnd({ daemon, libvirtd }: World): Promise<void> {
  const client = await LibvirtClient.open(daemon.socket);
  const { pool } = await client.call('storagePoolLookupByName', { name: 'files' });
  const { volume } = await client.call('storageVolLookupByName', { pool, name: 'disk' });
  const serial = client.begin('storageVolUpload', { volume, offset: 0n, length: 0n, flags: 0 });
  await client.reply(serial);
  client.packet('storageVolUpload', serial, Buffer.alloc(100_000));
  libvirtd.killDaemon();
  const failed = await client.nextPacket(serial);
  assert.equal([failed.type, failed.status], [MessageType.stream, MessageStatus.error]);
  client.close();
  assert.match(await daemon.ok('pool-list'), /^ *vms +active/m);
  assert.match(await daemon.ok('vol-list', 'vms'), 'disk');
  assert.match(await daemon.refused('pool-info', 'files'), /cannot be reached/);
}

async function theirReturn({ daemon, libvirtd }: World): Promise<void> {
  await libvirtd.startDaemon();
  assert.match(await daemon.ok('pool-list', '--all'), /files/);
  assert.match(await daemon.ok('pool-dumpxml', 'files'), /type='dir'/);
  await daemon.ok('pool-destroy', 'vms');
  await daemon.ok('pool-undefine', 'vms');
  assert.not.match(await daemon.ok('pool-list', '--all'), /vms/);
}

requiresLibvirtd(test)(
  'pools of a libvirtd behind us and of a cluster are one list; streams and events pass through',
  () =>
    withCluster({ deadlineMs: 100_000 }, async (cluster) => {
      const folder = mkdtempSync(join(tmpdir(), 'sheepfold-pools-'));
      writeFileSync(join(folder, 'pool.xml'), poolXml('vms', cluster.sheep[0]!.port));
      const libvirtd = await Libvirtd.start({ name: 'upstream' });
      const words = ['--upstream', libvirtd.socket, '--upstream-readonly', `${libvirtd.socket}-ro`];
      try {
        await PoolDaemon.with(folder, words, async (daemon) => {
          const world = { cluster, daemon, libvirtd, folder };
          await bothKinds(world);
          await volumesOfBoth(world);
          await eventsOfBoth(world);
          await inItsPlace(world);
          const readOnly = await virsh(daemon.readOnlySocket, ['--readonly', 'pool-list']);
          assert.match(readOnly.stdout, /files[\s\S]*vms|vms[\s\S]*files/);
          await theirEnd(world);
          await theirReturn(world);
        });
      } finally {
        await libvirtd.stop();
        rmSync(folder, { recursive: true, force: true });
      }
    }),
);

test.run();
