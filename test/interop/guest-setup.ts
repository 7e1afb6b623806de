/** A cluster with a door for each hypervisor, and the golden volume that guests are cloned from. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { GuestConsole } from '../helpers/guest-console.js';
import { GuestDomain, NBD_SOCKET, SHEEP_FOLDER } from '../helpers/guest-domain.js';
import type { GuestFiles } from '../helpers/guest-files.js';
import type { Libvirtd, LibvirtdOptions } from '../helpers/libvirtd.js';
import type { RealCluster, RealClusterOptions } from '../helpers/real-cluster.js';
import { mustRun } from './nbd-setup.js';

const MIB = 1024 * 1024;
const GOLDEN_BYTES = 96 * MIB;
export const GOLDEN = { name: 'golden', tag: 'ready' };
const GOLDEN_MARK = 'written before the snapshot';

function doorFolder(folder: string, index: number): string {
  return join(folder, `door${index}`);
}

/** Options of a cluster whose sheep listen on a unix socket each, in a folder of its own. */
export const withDoors: Pick<RealClusterOptions, 'wordsOf'> = {
  wordsOf(index, folder) {
    mkdirSync(doorFolder(folder, index), { recursive: true });
    return ['--nbd-socket', join(doorFolder(folder, index), NBD_SOCKET)];
  },
};

/** A hypervisor whose own sheep is the one of that index. */
export function hostOf(cluster: RealCluster, index: number, name: string): LibvirtdOptions {
  return { name, runFolders: { [SHEEP_FOLDER]: doorFolder(cluster.folder, index) } };
}

/** URI of a volume at the unix socket of a sheep. */
export function socketUri(cluster: RealCluster, index: number, volume: string): string {
  return `nbd+unix:///${volume}?socket=${join(doorFolder(cluster.folder, index), NBD_SOCKET)}`;
}

/** Writes the root file system to a new volume, has a guest start from it and change it, and makes a snapshot. */
export async function makeGolden(cluster: RealCluster, host: Libvirtd, files: GuestFiles): Promise<void> {
  await cluster.call('vdi.create', { name: GOLDEN.name, sizeBytes: GOLDEN_BYTES });
  const target = socketUri(cluster, 0, GOLDEN.name);
  await mustRun('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', files.root, target);
  const guest = new GuestDomain({ name: GOLDEN.name, volume: GOLDEN.name, files, installed: true });
  const console = await guest.start(host);
  assert.match(await console.must('cat /etc/sheepfold-root'), /root file system of a volume/);
  assert.match(await console.must('cat /proc/mounts'), /^\/dev\/vda \/ ext4 rw/m);
  await console.must(`mkdir /marks; echo '${GOLDEN_MARK}' > /marks/golden; cat /marks/golden`);
  await rest(console);
  await guest.destroy(host);
  await cluster.call('vdi.snapshot', GOLDEN);
}

/** Clones the golden volume, all at once, with one control call each; the milliseconds until the last is there. */
export async function cloneGolden(cluster: RealCluster, names: readonly string[]): Promise<number> {
  const startMs = performance.now();
  await Promise.all(names.map((name) => cluster.call('vdi.clone', { source: GOLDEN, name })));
  return performance.now() - startMs;
}

/** Starts a clone, checks that it has what the golden volume had and nothing else, and leaves a mark of its own. */
export async function markClone(host: Libvirtd, files: GuestFiles, volume: string): Promise<void> {
  const guest = new GuestDomain({ name: volume, volume, files, installed: true });
  const console = await guest.start(host);
  assert.is(await console.must('grep -r . /marks'), `/marks/golden:${GOLDEN_MARK}`);
  await console.must(`echo ${volume} > /marks/own; echo ${volume} > /marks/golden`);
  await rest(console);
  await guest.destroy(host);
}

/** Starts a clone again: what it wrote is there, and nothing that others did. */
export async function checkClone(host: Libvirtd, files: GuestFiles, volume: string): Promise<void> {
  const guest = new GuestDomain({ name: volume, volume, files, installed: true });
  const console = await guest.start(host);
  const marks = (await console.must('grep -r . /marks')).split('\n').sort();
  assert.equal(marks, [`/marks/golden:${volume}`, `/marks/own:${volume}`]);
  console.close();
  await guest.destroy(host);
}

/** Brings all that the guest wrote to its disk, and sees to it that the disk gave no trouble. */
async function rest(console: GuestConsole): Promise<void> {
  await console.must('sync; mount -o remount,ro /');
  assert.not.match(await console.must('dmesg'), /I\/O error|EXT4-fs error/);
  console.close();
}
