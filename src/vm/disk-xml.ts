import { escapeXml } from './domain-xml.js';
import type { Door } from './door.js';
import { isAtLeast, type Version } from './virsh.js';

/** How long a guest's disk waits for a sheep that is away, before the guest is given an error (and paused). */
export const RECONNECT_DELAY_S = 600;

/** The beginning of a disk's alias: libvirt keeps aliases that begin with `ua-` as they are, also in a migration. */
export const ALIAS_PREFIX = 'ua-sheepfold-';

export interface DiskSpec {
  /** `vol`, or `vol@tag`. */
  readonly exportName: string;
  readonly door: Door;
  /** `vda` */
  readonly target: string;
  /** `virtio`, `scsi`, `sata`, `usb`, ... */
  readonly bus: string;
  readonly device: 'disk' | 'cdrom';
  readonly readOnly: boolean;
  /** 1: the first that the firmware starts from. */
  readonly bootOrder?: number;
}

/** Whether libvirt keeps `<reconnect delay>` of an NBD disk: before 9.2 it drops the element without a word. */
export function knowsReconnect(libvirt: Version): boolean {
  return isAtLeast(libvirt, 9, 2);
}

/**
 * The `<disk>` of a volume, as this libvirt takes it. Discards reach the volume. A sheep that is away is waited for; a
 * libvirt that cannot ask for that is told to pause the guest rather than to give it the error, and `dog vm reconnect`
 * makes the running disk wait (node-swap.ts).
 */
export function diskXml(spec: DiskSpec, libvirt: Version): string {
  const { door, device, target, bus } = spec;
  const where =
    'socket' in door.place
      ? `<host transport='unix' socket='${escapeXml(door.place.socket)}'/>`
      : `<host name='${escapeXml(door.place.host)}' port='${door.place.port}'/>`;
  return [
    `<disk type='network' device='${device}'>`,
    "  <driver name='qemu' type='raw' cache='none' error_policy='stop' discard='unmap'/>",
    `  <source protocol='nbd' name='${escapeXml(spec.exportName)}'${door.tls ? " tls='yes'" : ''}>`,
    `    ${where}`,
    ...(knowsReconnect(libvirt) ? [`    <reconnect delay='${RECONNECT_DELAY_S}'/>`] : []),
    '  </source>',
    `  <target dev='${escapeXml(target)}' bus='${escapeXml(bus)}'/>`,
    ...(spec.readOnly ? ['  <readonly/>'] : []),
    ...(spec.bootOrder === undefined ? [] : [`  <boot order='${spec.bootOrder}'/>`]),
    `  <alias name='${ALIAS_PREFIX}${escapeXml(target)}'/>`,
    '</disk>',
    '',
  ].join('\n');
}

/** Prefixes of disk names by bus, as libvirt expects them. */
const targetPrefixes: Readonly<Record<string, string>> = {
  virtio: 'vd',
  scsi: 'sd',
  sata: 'sd',
  usb: 'sd',
  ide: 'hd',
};

export const diskBuses: readonly string[] = Object.keys(targetPrefixes);

/** The first free name on the bus: `vda`, ..., `vdz`, `vdaa`, ... */
export function freeTarget(bus: string, taken: readonly string[]): string {
  const used = new Set(taken);
  for (let index = 0; ; index++) {
    const name = `${targetPrefixes[bus] ?? 'vd'}${letters(index)}`;
    if (!used.has(name)) return name;
  }
}

/** 0: a, 25: z, 26: aa, as Linux names disks. */
function letters(index: number): string {
  const last = String.fromCharCode(97 + (index % 26));
  return index < 26 ? last : letters(Math.floor(index / 26) - 1) + last;
}

/** The bus that a name of a disk belongs to, when nobody said: `sdb` is on SCSI. Undefined: the name is none. */
export function busOfTarget(target: string): string | undefined {
  const prefix = /^(vd|sd|hd)[a-z]{1,3}$/.exec(target)?.[1];
  return prefix === undefined ? undefined : { vd: 'virtio', sd: 'scsi', hd: 'ide' }[prefix];
}
