import { AppError } from '../base/errors.js';
import { RECONNECT_DELAY_S } from './disk-xml.js';
import type { NbdDisk } from './domain-xml.js';
import type { Virsh } from './virsh.js';

/** What is needed of libvirt here. */
type Monitor = Pick<Virsh, 'monitor'>;

/** The block nodes of one disk of a running domain, as libvirt names them. */
interface Nodes {
  /** The driver `nbd`. */
  readonly storage: string;
  /** The driver `raw` above it; newer libvirt leaves it out. */
  readonly format: string | undefined;
  /** Stands in while the one of libvirt's name is made anew. */
  readonly interim: string;
  /** Path of the guest's device in QEMU. */
  readonly device: string;
}

interface BlockInfo {
  readonly qdev?: string;
  readonly inserted?: { readonly 'node-name'?: string };
}

interface NodeInfo {
  readonly 'node-name': string;
  readonly drv: string;
}

/**
 * Gives a disk of a running guest a new NBD connection, with a delay for reconnecting, under the names that libvirt
 * knows. The guest notices nothing: QEMU lets requests end, changes the node below the device, and goes on. The new
 * connection knows the volume's present size, which an old one never learns.
 *
 * QEMU >= 6.1 for a disk with a format node (blockdev-reopen), >= 6.2 for one without (the device's property `drive`).
 * The latter ends QEMU 7.2 when the device has an I/O thread, so it is refused there. Every step leaves the disk
 * working: what fails half-way is taken back, or is an idle node that the next call removes.
 *
 * Rejects with AppError: 'not-supported' with the reason, 'unknown' with QEMU's words.
 */
export async function swapNode(
  virsh: Monitor,
  domain: string,
  disk: NbdDisk,
  iothreads: boolean,
): Promise<void> {
  const nodes = await findNodes(virsh, domain, disk);
  if (nodes.format === undefined && iothreads) {
    throw new AppError(
      'not-supported',
      `${disk.target}: QEMU cannot change a disk that has an I/O thread here`,
    );
  }
  const { storage, interim } = nodes;
  const use = (node: string) => useNode(virsh, domain, disk, nodes, node);
  // Of a run that was interrupted: QEMU refuses to delete it as long as the disk works on it.
  await virsh.monitor(domain, 'blockdev-del', { 'node-name': interim }).catch(() => {});
  if (await hasNode(virsh, domain, interim)) {
    // The disk works on the interim node: only the second half is left to do, if libvirt's own is gone or idle.
    await virsh.monitor(domain, 'blockdev-del', { 'node-name': storage }).catch(() => {});
  } else {
    await virsh.monitor(domain, 'blockdev-add', nbdNode(disk, interim));
    try {
      await use(interim);
    } catch (error) {
      await virsh.monitor(domain, 'blockdev-del', { 'node-name': interim }).catch(() => {});
      throw error;
    }
    await virsh.monitor(domain, 'blockdev-del', { 'node-name': storage });
  }
  await virsh.monitor(domain, 'blockdev-add', nbdNode(disk, storage));
  await use(storage);
  await virsh.monitor(domain, 'blockdev-del', { 'node-name': interim });
}

async function findNodes(virsh: Monitor, domain: string, disk: NbdDisk): Promise<Nodes> {
  if (disk.sourceIndex === undefined || disk.alias === undefined) {
    throw new AppError('invalid', `${disk.target}: the domain does not run`);
  }
  const blocks = (await virsh.monitor(domain, 'query-block')) as BlockInfo[];
  // `/machine/peripheral/ALIAS/virtio-backend` for virtio, without the last part for others.
  const path = `/machine/peripheral/${disk.alias}`;
  const block = blocks.find(
    ({ qdev }) => qdev === disk.alias || qdev === path || qdev?.startsWith(`${path}/`),
  );
  const top = block?.inserted?.['node-name'];
  const storage = `libvirt-${disk.sourceIndex}-storage`;
  const format = `libvirt-${disk.sourceIndex}-format`;
  const interim = `sheepfold-${disk.sourceIndex}-interim`;
  const found = { storage, interim, device: path };
  if (top === format) return { ...found, format };
  if (top === storage || top === interim) return { ...found, format: undefined };
  throw new AppError(
    'not-supported',
    `${disk.target}: the guest does not work on the volume alone (its top block node is ${top ?? 'unknown'}); ` +
      'merge the snapshots of libvirt into it first',
  );
}

async function hasNode(virsh: Monitor, domain: string, name: string): Promise<boolean> {
  const nodes = (await virsh.monitor(domain, 'query-named-block-nodes', { flat: true })) as NodeInfo[];
  return nodes.some((node) => node['node-name'] === name);
}

/** Requests in flight end first; the guest's device is held still meanwhile, for some milliseconds. */
async function useNode(
  virsh: Monitor,
  domain: string,
  disk: NbdDisk,
  nodes: Nodes,
  node: string,
): Promise<void> {
  if (nodes.format === undefined) {
    await virsh.monitor(domain, 'qom-set', { path: nodes.device, property: 'drive', value: node });
    return;
  }
  const options = { 'node-name': nodes.format, driver: 'raw', file: node, 'read-only': disk.readOnly };
  await virsh.monitor(domain, 'blockdev-reopen', { options: [{ ...options, ...commonOptions(disk) }] });
}

/** As libvirt writes them from `<driver>`: an option left out of a reopen goes back to QEMU's default. */
function commonOptions({ driver }: NbdDisk): Record<string, unknown> {
  const cache = driver.cache ?? 'default';
  const { discard, detect_zeroes: zeroes } = driver;
  const direct = cache === 'none' || cache === 'directsync';
  return {
    ...(cache !== 'default' && { cache: { direct, 'no-flush': cache === 'unsafe' } }),
    ...(discard !== undefined && { discard }),
    ...(zeroes !== undefined && {
      'detect-zeroes': zeroes === 'unmap' && discard !== 'unmap' ? 'on' : zeroes,
    }),
  };
}

function nbdNode(disk: NbdDisk, name: string): Record<string, unknown> {
  const { place } = disk;
  if (disk.tls) {
    throw new AppError(
      'not-supported',
      `${disk.target}: its connection is encrypted with keys only libvirt knows`,
    );
  }
  const server =
    'socket' in place
      ? { type: 'unix', path: place.socket }
      : { type: 'inet', host: place.host, port: String(place.port) };
  const { 'detect-zeroes': _upper, ...common } = commonOptions(disk);
  return {
    driver: 'nbd',
    'node-name': name,
    server,
    export: disk.exportName,
    'reconnect-delay': disk.reconnectDelayS ?? RECONNECT_DELAY_S,
    ...(disk.readOnly ? { 'read-only': true } : { 'auto-read-only': true }),
    ...common,
  };
}
