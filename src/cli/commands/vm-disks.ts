import type { Command } from 'commander';
import { AppError } from '../../base/errors.js';
import type { VdiInfo } from '../../control/api.js';
import {
  busOfTarget,
  type DiskSpec,
  diskBuses,
  diskXml,
  freeTarget,
  knowsReconnect,
} from '../../vm/disk-xml.js';
import { parseDomain, volumeOf } from '../../vm/domain-xml.js';
import { growDisk } from '../../vm/grow.js';
import { swapNode } from '../../vm/node-swap.js';
import { type Version, type Virsh, versionText } from '../../vm/virsh.js';
import { sizeArgument, vdiRef } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import {
  chosenDisk,
  fetchDomain,
  fetchDoor,
  fetchPlaces,
  isOurs,
  type LibvirtOptions,
  libvirtOptions,
  libvirtRefusal,
  scopeOf,
  virshOf,
} from '../vm.js';
import { openVdi } from './vdi-change.js';

/** Volumes as disks of libvirt's domains. */

/** A guest that is asked to let go of a disk has this long, after libvirt's own five seconds. */
const LET_GO_MS = 5_000;
const LET_GO_LOOK_MS = 250;
/** A migration may take long. */
const STARTING_MS = 3_600_000;
const STARTING_LOOK_MS = 500;

interface DiskOptions extends LibvirtOptions {
  snapshot?: string;
  target?: string;
  bus?: string;
  cdrom?: boolean;
}

const diskOptions = [
  ['-s, --snapshot <snapshot>', 'a snapshot of it, by tag or id: read-only'],
  ['-t, --target <name>', 'name of the disk in the domain (default: the first that is free)'],
  ['-b, --bus <bus>', `${diskBuses.join(', ')} (default: virtio; sata for CDs)`],
  ['--cdrom', 'as a CD: read-only'],
] as const;

export function vmDiskCommands(parent: Command, runner: Runner): void {
  addLeaf<DiskOptions>(parent, runner, {
    usage: 'disk <volume>',
    summary: "print a volume's <disk> for a domain, as this host's libvirt takes it",
    details: `The guest reaches the volume by NBD, over the unix socket of the sheep of -a and -p if that is on this
host. Paste it into a domain ('virsh edit'), or give it to 'virsh attach-device'.
While a sheep is away the guest waits. libvirt before 9.2 cannot ask QEMU for that: there the guest is paused instead
('virsh resume' goes on), unless 'dog vm reconnect' or the hooks of 'dog vm hooks install' have made it wait.`,
    examples: ['dog vm disk first', 'dog vm disk golden -s clean --target vdb', 'dog vm disk cd1 --cdrom'],
    options: [...diskOptions, ...libvirtOptions],
    run: printDisk,
  });
  addLeaf<DiskOptions>(parent, runner, {
    usage: 'attach <domain> <volume>',
    summary: 'give a domain a volume as a disk',
    details: 'At once if it runs, and for its next start if it is kept.',
    examples: [
      'dog vm attach web data1',
      'dog vm attach web data1 --target vdc',
      'dog vm attach web cd1 --cdrom',
    ],
    options: [...diskOptions, ...libvirtOptions],
    run: attach,
  });
  addLeaf<LibvirtOptions>(parent, runner, {
    usage: 'detach <domain> <disk>',
    summary: 'take a volume away from a domain',
    details:
      'DISK is its name in the domain (vdb), or the volume. The volume stays. A running guest is asked to let go.',
    examples: ['dog vm detach web data1', 'dog vm detach web vdb'],
    options: libvirtOptions,
    run: detach,
  });
  addLeaf<LibvirtOptions>(parent, runner, {
    usage: 'resize <domain> <disk> <size>',
    summary: 'make a volume larger while its guest runs',
    details: `DISK is its name in the domain (vdb), or the volume. The guest sees the new size at once; partitions and
file systems in it are the guest's. Run again, it goes on where it failed. Marks the domain as tainted
(custom-monitor).`,
    examples: ['dog vm resize web vda 40G'],
    options: libvirtOptions,
    run: resize,
  });
  addLeaf<LibvirtOptions & { whenStarted?: boolean }>(parent, runner, {
    usage: 'reconnect <domain>',
    summary: 'make the disks of a running domain wait for a sheep that is away',
    details: `For libvirt before 9.2, which cannot ask QEMU for it: changes the connections of disks that do not wait
yet. The guest does not notice. Marks the domain as tainted (custom-monitor).`,
    examples: ['dog vm reconnect web'],
    options: [
      ['--when-started', 'wait until it runs, also when it is still on its way here'],
      ...libvirtOptions,
    ],
    run: reconnect,
  });
}

/** Everything about the disk but its target. */
async function describeDisk(
  context: Context,
  volume: string,
  options: DiskOptions,
): Promise<{ vdi: VdiInfo; spec: (taken: readonly string[]) => DiskSpec }> {
  const vdi = await openVdi(context, vdiRef(volume, options.snapshot));
  const device = options.cdrom === true ? 'cdrom' : 'disk';
  const given = options.target === undefined ? undefined : busOfTarget(options.target);
  if (options.target !== undefined && given === undefined) {
    throw new Exit(exitCodes.usage, `Invalid target '${options.target}': one like vda, sdb or hdc is wanted`);
  }
  const bus = options.bus ?? (device === 'cdrom' ? 'sata' : (given ?? 'virtio'));
  if (!diskBuses.includes(bus)) {
    throw new Exit(exitCodes.usage, `Invalid bus '${bus}': one of ${diskBuses.join(', ')} is wanted`);
  }
  const door = await fetchDoor(context);
  const exportName = vdi.snapshot ? `${vdi.name}@${vdi.snapId}` : vdi.name;
  const readOnly = vdi.snapshot || vdi.image !== undefined || device === 'cdrom';
  const spec = (taken: readonly string[]): DiskSpec => {
    const target = options.target ?? freeTarget(bus, taken);
    return { exportName, door, target, bus, device, readOnly };
  };
  return { vdi, spec };
}

async function printDisk(context: Context, [volume]: string[], options: DiskOptions): Promise<void> {
  const { spec } = await describeDisk(context, volume!, options);
  const libvirt = await virshOf(options)
    .versions()
    .then((versions) => versions.libvirt)
    .catch((error: unknown) => {
      if (!AppError.isCode(error, 'system')) throw error;
      context.note(`${error.message}: this is for libvirt 9.2 and newer`);
      return { major: 9, minor: 2, patch: 0 };
    });
  const xml = diskXml(spec([]), libvirt);
  if (context.json) await context.printJson({ xml, libvirt: versionText(libvirt) });
  else await context.print(xml);
  if (!knowsReconnect(libvirt)) context.remark(reconnectAdvice(libvirt));
}

function reconnectAdvice(libvirt: Version): string[] {
  return [
    `libvirt ${versionText(libvirt)} cannot make a disk wait for a sheep that is away: its guest is paused then.`,
    "'dog vm reconnect DOMAIN' makes it wait; 'dog vm hooks install' does that at every start.",
  ];
}

async function attach(context: Context, [name, volume]: string[], options: DiskOptions): Promise<void> {
  const virsh = virshOf(options);
  const { vdi, spec } = await describeDisk(context, volume!, options);
  const domain = await fetchDomain(virsh, name!);
  const disk = spec(domain.targets);
  if (domain.nbdDisks.some((other) => volumeOf(other.exportName).volume === vdi.name) && !disk.readOnly) {
    throw new Exit(exitCodes.exists, `Domain ${name} has volume ${vdi.name} already`);
  }
  const { libvirt } = await virsh.versions();
  const words = ['attach-device', '--domain', name!, ...scopeOf(domain), '--file'];
  await virsh
    .runWithXml(words, diskXml(disk, libvirt))
    .catch((error) => libvirtRefusal(`Failed to attach ${volume} to ${name}`, error));
  if (domain.running && !knowsReconnect(libvirt)) await makeWait(context, virsh, name!, [disk.target]);
  if (context.json) await context.printJson({ domain: name, target: disk.target, export: disk.exportName });
  else await context.printLine(`${disk.exportName} is ${disk.target} of ${name}`);
}

async function detach(context: Context, [name, text]: string[], options: LibvirtOptions): Promise<void> {
  const virsh = virshOf(options);
  const domain = await fetchDomain(virsh, name!);
  const { target, exportName } = chosenDisk(domain, text!);
  await virsh
    .run(['detach-disk', '--domain', name!, '--target', target, ...scopeOf(domain)])
    .catch((error) => libvirtRefusal(`Failed to detach ${target} from ${name}`, error));
  // libvirt calls it done also when the guest has not answered in time.
  const present = async () => (await parseDomain(await virsh.domainXml(name!))).targets.includes(target);
  const endMs = performance.now() + LET_GO_MS;
  while (domain.running && (await present())) {
    if (performance.now() > endMs) {
      throw new Exit(
        exitCodes.failure,
        `The guest of ${name} was asked to let go of ${target}, and has not yet`,
        {
          hint: 'Unmount the disk in the guest, or run the command again when the guest has started.',
        },
      );
    }
    await new Promise((resolve) => setTimeout(resolve, LET_GO_LOOK_MS));
  }
  if (context.json) await context.printJson({ domain: name, target, export: exportName });
  else await context.printLine(`${exportName} was ${target} of ${name}`);
}

async function resize(
  context: Context,
  [name, text, sizeText]: string[],
  options: LibvirtOptions,
): Promise<void> {
  const sizeBytes = sizeArgument(sizeText!);
  const virsh = virshOf(options);
  const domain = await fetchDomain(virsh, name!);
  const disk = chosenDisk(domain, text!);
  if (!isOurs(disk, await fetchPlaces(context))) {
    throw new Exit(exitCodes.failure, `${disk.target} of ${name} is not a volume of this cluster`);
  }
  if (disk.readOnly) throw new Exit(exitCodes.failure, `${disk.target} of ${name} is read-only`);
  const vdi = await openVdi(context, { name: disk.exportName });
  if (sizeBytes < vdi.sizeBytes) throw new Exit(exitCodes.usage, 'Shrinking VDIs is not implemented');
  if (sizeBytes > vdi.sizeBytes) await context.call('vdi.resize', { name: vdi.name, sizeBytes });
  if (domain.running) {
    const { iothreads } = domain;
    await growDisk(virsh, name!, disk, { iothreads, sizeBytes }).catch((error) =>
      libvirtRefusal(
        `${vdi.name} has ${sizeBytes} bytes now, but ${name} sees that at its next start`,
        error,
      ),
    );
  }
  if (context.json) await context.printJson({ domain: name, target: disk.target, sizeBytes });
}

async function reconnect(
  context: Context,
  [name]: string[],
  options: LibvirtOptions & { whenStarted?: boolean },
): Promise<void> {
  const virsh = virshOf(options);
  if (options.whenStarted === true) await untilStarted(virsh, name!);
  const changed = await makeWait(context, virsh, name!);
  if (context.json) await context.printJson({ domain: name, changed });
  else if (changed.length > 0)
    await context.printLine(`${changed.join(', ')} of ${name} wait for a sheep now`);
}

/** A domain that arrives from another host is paused until it is here, and nothing can be changed in it. */
async function untilStarted(virsh: Virsh, name: string): Promise<void> {
  const endMs = performance.now() + STARTING_MS;
  while (performance.now() < endMs) {
    const state = await virsh.run(['domstate', '--reason', '--domain', name]).catch((error: unknown) => {
      if (!AppError.isCode(error, 'system')) throw error;
      return 'libvirt is busy';
    });
    if (/^(running|paused) \((?!migrating|migration|starting)/m.test(state)) return;
    if (/^(shut off|crashed)/m.test(state)) throw new Exit(exitCodes.failure, `Domain ${name} does not run`);
    await new Promise((resolve) => setTimeout(resolve, STARTING_LOOK_MS));
  }
  throw new Exit(exitCodes.failure, `Domain ${name} has not started`);
}

/** Resolves with the disks that were changed. */
async function makeWait(
  context: Context,
  virsh: Virsh,
  name: string,
  targets?: readonly string[],
): Promise<string[]> {
  const domain = await fetchDomain(virsh, name);
  if (!domain.running) throw new Exit(exitCodes.failure, `Domain ${name} does not run`);
  const places = await fetchPlaces(context);
  const changed: string[] = [];
  for (const disk of domain.nbdDisks) {
    if (disk.reconnectDelayS !== undefined || !isOurs(disk, places)) continue;
    if (targets !== undefined && !targets.includes(disk.target)) continue;
    await swapNode(virsh, name, disk, domain.iothreads);
    changed.push(disk.target);
  }
  return changed;
}
