// deadline: 600 s
/**
 * Guests that the stock virt-install makes from volumes. On Debian the hypervisor's connection has libvirtd's own
 * storage driver: a volume of our storage daemon is named by its path there, or by the sheep's socket.
 */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GuestConsole } from '../helpers/guest-console.js';
import { NBD_SOCKET } from '../helpers/guest-domain.js';
import { type GuestFiles, requiresGuest } from '../helpers/guest-files.js';
import { type Libvirtd, requiresLibvirtd, withLibvirtds } from '../helpers/libvirtd.js';
import { PoolDaemon, poolXml } from '../helpers/pool-daemon.js';
import { type RealCluster, withCluster } from '../helpers/real-cluster.js';
import { canMount, mountOf, ran } from '../helpers/sheepfs-mount.js';
import { hostOf, withDoors } from './guest-setup.js';

const DEADLINE_MS = 500_000;
const BOOT_DEADLINE_MS = 120_000;

interface World {
  readonly cluster: RealCluster;
  readonly host: Libvirtd;
  readonly pools: PoolDaemon;
  readonly files: GuestFiles;
}

/** `virt-install --import` of a guest without hardware that takes time, on a disk that has its system. */
async function install(host: Libvirtd, files: GuestFiles, name: string, disk: string): Promise<void> {
  const kernel = `kernel=${files.kernel},initrd=${files.initrd},kernel_args="console=ttyS0 quiet root=/dev/vda"`;
  const words = [
    ...['--connect', host.uri, '--name', name, '--import', '--virt-type', 'qemu', '--machine', 'pc'],
    ...['--memory', '160', '--vcpus', '1', '--osinfo', 'detect=off,require=off', '--boot', kernel],
    ...['--disk', `${disk},target.bus=virtio,driver.type=raw,driver.cache=none,driver.discard=unmap`],
    ...['--serial', `file,source.path=/run/${name}.console`],
    ...['--serial', `unix,source.path=/run/${name}.sock,source.mode=bind`],
    ...['--graphics', 'none', '--network', 'none', '--sound', 'none', '--memballoon', 'model=none'],
    ...['--controller', 'usb,model=none', '--noautoconsole'],
  ];
  await ran('virt-install', ...words);
}

/** It has started from its volume, whose file system it can write, and ends. */
async function works(host: Libvirtd, name: string): Promise<void> {
  const console = await GuestConsole.open(join(host.folder, 'run', `${name}.sock`), BOOT_DEADLINE_MS);
  assert.match(await console.must('cat /proc/mounts'), /^\/dev\/vda \/ ext4 rw/m);
  assert.match(await console.must('cat /etc/sheepfold-root'), /root file system of a volume/);
  await console.must(`echo ${name} > /written-by; sync; mount -o remount,ro /`);
  assert.not.match(await console.must('dmesg'), /I\/O error|EXT4-fs error/);
  console.close();
  assert.match(await host.mustVirsh('dumpxml', '--inactive', name), /discard='unmap'/);
  await host.mustVirsh('destroy', name);
  await host.mustVirsh('undefine', name);
}

/** A volume of the pool, with the guest's system in it; its path, as libvirt tells it. */
async function fill({ pools, files }: World, name: string): Promise<string> {
  await pools.ok('vol-create-as', 'vms', name, '96M');
  await pools.ok('vol-upload', name, files.root, '--pool', 'vms');
  return (await pools.ok('vol-path', name, 'vms')).trim();
}

/** A cluster with a pool of the storage daemon on it, and a hypervisor. */
function inWorld(body: (world: World) => Promise<void>): (files: GuestFiles) => Promise<void> {
  return (files) =>
    withCluster({ sheep: 1, copies: 1, ...withDoors, deadlineMs: DEADLINE_MS }, (cluster) =>
      PoolDaemon.with(cluster.folderFor('pools'), [], async (pools) => {
        await withLibvirtds([hostOf(cluster, 0, 'alpha')], async (host) => {
          await pools.ok('pool-define', host!.file('pool.xml', poolXml('vms', cluster.sheep[0]!.port)));
          await pools.ok('pool-start', 'vms');
          await body({ cluster, host: host!, pools, files });
        });
      }),
    );
}

const withGuest = requiresGuest(requiresLibvirtd(test, 'virt-install', 'debugfs'));
const mountable = canMount ? [] : ['/dev/fuse and root'];
const withMounts = requiresGuest(requiresLibvirtd(test, 'virt-install', ...mountable));

withGuest(
  "a guest of virt-install starts from the path of a pool's volume, and from the sheep's socket",
  inWorld(async (world) => {
    const path = await fill(world, 'disk');
    assert.match(path, /^nbd:\/\/127\.0\.0\.1:\d+\/disk$/);
    await install(world.host, world.files, 'by-path', `path=${path}`);
    await works(world.host, 'by-path');

    const socket = join(world.cluster.folder, 'door0', NBD_SOCKET);
    const source = 'type=network,source.protocol=nbd,source.name=disk,source.host0.transport=unix';
    await install(world.host, world.files, 'by-socket', `${source},source.host0.socket=${socket}`);
    await works(world.host, 'by-socket');
    const written = join(world.cluster.folder, 'back');
    await world.pools.ok('vol-download', 'disk', written, '--pool', 'vms');
    assert.match(await ran('debugfs', '-R', 'cat /written-by', written), /^by-socket$/m);
  }),
);

/** The disk that virt-install writes on a connection whose storage driver has our pool: libvirt's own test driver. */
async function printedSource({ host, pools }: World, disk: string): Promise<string> {
  const pool = await pools.ok('pool-dumpxml', 'vms');
  const volume = await pools.ok('vol-dumpxml', 'disk', 'vms');
  const node = host.file('node.xml', `<node>${pool.replace('</pool>', `${volume}</pool>`)}</node>`);
  const words = [
    '--connect',
    `test://${node}`,
    '--name',
    'web',
    '--import',
    '--virt-type',
    'test',
    '--memory',
    '64',
  ];
  const rest = [
    '--osinfo',
    'detect=off,require=off',
    '--graphics',
    'none',
    '--network',
    'none',
    '--print-xml',
  ];
  const xml = await ran('virt-install', ...words, ...rest, '--disk', disk);
  return /<source [^>]*>/.exec(xml)?.[0] ?? xml;
}

withGuest(
  'where the connection has our pools, only a source that is spelt out is a disk for the QEMU of today',
  inWorld(async (world) => {
    const path = await fill(world, 'disk');
    // virt-install takes the type of a pool of network volumes for the protocol of its disks.
    const sheepdog = '<source protocol="sheepdog" name="/disk">';
    assert.is(await printedSource(world, 'vol=vms/disk'), sheepdog);
    assert.is(await printedSource(world, `path=${path}`), sheepdog);
    const source = 'type=network,source.protocol=nbd,source.name=disk,source.host0.name=10.0.0.1';
    assert.is(await printedSource(world, source), '<source protocol="nbd" name="disk">');
  }),
);

withMounts('a guest of virt-install starts from the volume of a dir pool on a mount of sheepfs', (files) =>
  withCluster({ sheep: 1, copies: 1, ...withDoors, deadlineMs: DEADLINE_MS }, async (cluster) => {
    const mount = mountOf(cluster);
    try {
      await mount.start();
      await withLibvirtds([hostOf(cluster, 0, 'alpha')], async (host) => {
        await host!.mustVirsh('pool-define-as', 'files', 'dir', '--target', mount.path);
        await host!.mustVirsh('pool-start', 'files');
        await host!.mustVirsh('vol-create-as', 'files', 'disk', '96M', '--allocation', '0');
        await host!.mustVirsh('vol-upload', 'disk', files.root, '--pool', 'files');
        await install(host!, files, 'by-pool', 'vol=files/disk');
        await works(host!, 'by-pool');
      });
    } finally {
      await mount.stop();
    }
  }),
);

test.run();
