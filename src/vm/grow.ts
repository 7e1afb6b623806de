import type { NbdDisk } from './domain-xml.js';
import { swapNode } from './node-swap.js';
import type { Virsh } from './virsh.js';

/**
 * Tells a running guest that a volume has become larger, which it is already. QEMU refuses to resize a disk on NBD
 * unless its connection knows the size: it gets a new one first, and then `virsh blockresize` to exactly that size
 * passes on the news. Rejects as `swapNode` and `Virsh.run` do; run again, it goes on where it failed.
 */
export async function growDisk(
  virsh: Virsh,
  domain: string,
  disk: NbdDisk,
  options: { iothreads: boolean; sizeBytes: number },
): Promise<void> {
  await swapNode(virsh, domain, disk, options.iothreads);
  await virsh.run([
    'blockresize',
    '--domain',
    domain,
    '--path',
    disk.target,
    '--size',
    `${options.sizeBytes}B`,
  ]);
}
