/** `dog vm` in this process, against a cluster of a test and a libvirtd of its own. */
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { NBD_SOCKET } from '../helpers/guest-domain.js';
import { type Libvirtd, withLibvirtds } from '../helpers/libvirtd.js';
import { type RealCluster, withCluster } from '../helpers/real-cluster.js';
import { type DogResult, dog } from '../helpers/run-dog.js';
import { hostOf, withDoors } from './guest-setup.js';

const DOG_DEADLINE_MS = 60_000;
const BODY_DEADLINE_MS = 90_000;

/** The door that `withDoors` gives to a sheep, by the path that it tells itself. */
export function doorSocket(cluster: RealCluster, index: number): string {
  return join(cluster.folder, `door${index}`, NBD_SOCKET);
}

export function hooksFolder(host: Libvirtd): string {
  return join(host.folder, 'etc', 'libvirt', 'hooks', 'qemu.d');
}

/** Runs `dog vm WORDS...` on the machine of that sheep and that libvirt. */
export function vm(
  cluster: RealCluster,
  index: number,
  host: Libvirtd,
  ...words: string[]
): Promise<DogResult> {
  const address = ['-a', '127.0.0.1', '-p', String(cluster.sheep[index]!.port)];
  const connect = words[0] === 'hooks' && words[1] !== 'install' ? [] : ['--connect', host.uri];
  return dog([...address, 'vm', ...words, ...connect], { deadlineMs: DOG_DEADLINE_MS });
}

/** Its standard output; it must succeed. */
export async function mustVm(
  cluster: RealCluster,
  index: number,
  host: Libvirtd,
  ...words: string[]
): Promise<string> {
  const { exit, stdout, stderr } = await vm(cluster, index, host, ...words);
  assert.is(exit, 0, `dog vm ${words.join(' ')}: ${stderr}`);
  return stdout;
}

/** A guest without a disk, whose firmware finds nothing to start: enough for what libvirt does. */
export function plainDomain(name: string): string {
  return `<domain type='qemu'>
  <name>${name}</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='scsi' model='virtio-scsi'/>
    <memballoon model='none'/>
  </devices>
</domain>
`;
}

/** A test body with three sheep and hypervisors, each of which has a sheep of its own. */
export function around(
  hosts: readonly string[],
  body: (cluster: RealCluster, ...hosts: Libvirtd[]) => Promise<void>,
): () => Promise<void> {
  return () =>
    withCluster({ ...withDoors, deadlineMs: BODY_DEADLINE_MS }, (cluster) =>
      withLibvirtds(
        hosts.map((name, index) => hostOf(cluster, index, name)),
        (...started) => body(cluster, ...started),
      ),
    );
}
