import { statSync } from 'node:fs';
import type { Command } from 'commander';
import { AppError } from '../../base/errors.js';
import type { VdiInfo } from '../../control/api.js';
import { type CpuMode, cpuModes, domainXml, fetchOffer, type HostOffer } from '../../vm/create-xml.js';
import { diskXml } from '../../vm/disk-xml.js';
import type { Version, Virsh } from '../../vm/virsh.js';
import { countArgument, sizeArgument, vdiRef } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { fetchDoor, type LibvirtOptions, libvirtOptions, libvirtRefusal, virshOf } from '../vm.js';
import { addImage } from './image.js';
import { openVdi } from './vdi-change.js';

/** A first guest in one line: its volume, its definition, its start. */

const SIZE_DEFAULT = '20G';
const MEMORY_DEFAULT = '2G';
const VCPUS_MAX = 1024;
const MIB = 1024 * 1024;
const MEMORY_MIB_MIN = 16;

interface Options extends LibvirtOptions {
  cdrom?: string;
  from?: string;
  snapshot?: string;
  volume?: string;
  size?: string;
  memory?: string;
  cpus?: string;
  cpu?: string;
  network?: string;
  start?: boolean;
  print?: boolean;
}

export function vmCreateCommands(parent: Command, runner: Runner): void {
  addLeaf<Options>(parent, runner, {
    usage: 'create <name>',
    summary: 'make a guest with a volume of its own, and start it',
    details: `From an installation CD (--cdrom: an image of the cluster, or a file, which becomes one), or as a clone of
a golden volume's snapshot or of an image of a disk (--from), or with a volume that is there (--volume). What was made
for a guest that then cannot be defined or started is removed again. 'virsh edit' changes the rest.`,
    examples: [
      'dog vm create web --cdrom debian-12-netinst.iso',
      'dog vm create web1 --from golden -s clean --memory 4G --cpus 4',
      'dog vm create old --volume disk0 --no-start',
    ],
    options: [
      ['--cdrom <iso>', 'an image (dog image list), or a file'],
      ['--from <volume>', 'clone this; with -s, unless it is an image'],
      ['-s, --snapshot <snapshot>', 'the snapshot to clone, by tag or id'],
      ['--volume <volume>', 'use this volume as it is'],
      ['--size <size>', `size of the volume (default: ${SIZE_DEFAULT}; that of what is cloned)`],
      ['--memory <size>', `default: ${MEMORY_DEFAULT}`],
      ['--cpus <count>', 'default: 2'],
      ['--cpu <mode>', `${cpuModes.join(', ')} (default: host-model with KVM, else maximum)`],
      [
        '--network <network>',
        "a network of libvirt, 'user' or 'none' (default: 'default' if it is active, else user)",
      ],
      ['--no-start', 'define it only'],
      ['--print', 'print the definition and change nothing'],
      ...libvirtOptions,
    ],
    run: create,
  });
}

async function create(context: Context, [name]: string[], options: Options): Promise<void> {
  checkOptions(options);
  const virsh = virshOf(options);
  const shape = {
    memoryMib: memoryArgument(options.memory ?? MEMORY_DEFAULT),
    vcpus: countArgument(options.cpus ?? '2', 'number of processors', 1, VCPUS_MAX),
    cpu: options.cpu === undefined ? undefined : cpuArgument(options.cpu),
    network: options.network ?? (await usualNetwork(virsh)),
  };
  const { libvirt } = await virsh.versions();
  const offer = await fetchOffer(virsh);
  await refuseKnown(virsh, name!);
  const image =
    options.cdrom === undefined ? undefined : await fetchImage(context, options.cdrom, options.print);
  const build = (volume: string) =>
    buildXml(context, { ...shape, name: name!, volume, image, libvirt, offer });
  if (options.print === true) return context.print(await build(options.volume ?? name!));
  const volume = options.volume ?? (await makeVolume(context, name!, options)).name;
  try {
    if (options.volume !== undefined) await openVdi(context, { name: volume });
    await begin(virsh, name!, await build(volume), options.start !== false);
  } catch (error) {
    if (options.volume === undefined) await context.call('vdi.delete', { name: volume }).catch(() => {});
    throw error;
  }
  if (context.json) return context.printJson({ domain: name, volume, type: offer.type });
  await context.printLine(`${name} ${options.start === false ? 'is defined' : 'runs'} on volume ${volume}`);
  if (offer.type === 'qemu') context.note('There is no KVM here: everything is emulated, and slow.');
  if (options.start !== false) context.remark([`'virsh vncdisplay ${name}' tells its screen`]);
}

function checkOptions(options: Options): void {
  const { cdrom, from, volume, snapshot, size } = options;
  if (cdrom === undefined && from === undefined && volume === undefined) {
    throw new Exit(exitCodes.usage, 'dog: one of --cdrom, --from and --volume is wanted');
  }
  if (from !== undefined && volume !== undefined) {
    throw new Exit(exitCodes.usage, 'dog: --from makes a volume, --volume names one: give one of them');
  }
  if (snapshot !== undefined && from === undefined)
    throw new Exit(exitCodes.usage, 'dog: -s goes with --from');
  if (size !== undefined && volume !== undefined) {
    throw new Exit(exitCodes.usage, 'dog: --size is for a volume that is made');
  }
}

function memoryArgument(text: string): number {
  const mib = Math.floor(sizeArgument(text) / MIB);
  if (mib >= MEMORY_MIB_MIN) return mib;
  throw new Exit(exitCodes.usage, `Invalid memory '${text}': at least ${MEMORY_MIB_MIN}M are wanted`);
}

function cpuArgument(text: string): CpuMode {
  const mode = cpuModes.find((known) => known === text);
  if (mode !== undefined) return mode;
  throw new Exit(exitCodes.usage, `Invalid processor '${text}': one of ${cpuModes.join(', ')} is wanted`);
}

async function usualNetwork(virsh: Virsh): Promise<string> {
  const active = await virsh.run(['net-list', '--name']).catch((error: unknown) => {
    if (AppError.isCode(error, 'system')) throw error;
    // A host without libvirt's networks.
    return '';
  });
  return active.split('\n').includes('default') ? 'default' : 'user';
}

/** Before anything is made: libvirt would take a second definition of that name for a change of the first. */
async function refuseKnown(virsh: Virsh, name: string): Promise<void> {
  const known = await virsh.domainNames();
  if (known.includes(name)) throw new Exit(exitCodes.exists, `Domain ${name} exists already`);
}

/** The name of an image of the cluster. */
async function fetchImage(context: Context, text: string, onlyLook: boolean | undefined): Promise<string> {
  const vdi = await context.call('vdi.info', { name: text }).catch((error: unknown) => {
    if (!AppError.isCode(error, 'no-vdi', 'invalid')) throw error;
    return undefined;
  });
  if (vdi !== undefined) return text;
  if (statSync(text, { throwIfNoEntry: false })?.isFile() !== true) {
    throw new Exit(exitCodes.missing, `There is no image and no file ${text}`, {
      hint: "'dog image list' shows the images there are.",
    });
  }
  if (onlyLook === true) return text.slice(text.lastIndexOf('/') + 1);
  const name = text.slice(text.lastIndexOf('/') + 1);
  const added = await context.call('vdi.info', { name }).catch(() => undefined);
  return (added?.image === undefined ? await addImage(context, text, undefined) : added).name;
}

async function makeVolume(context: Context, name: string, options: Options): Promise<VdiInfo> {
  const sizeBytes = options.size === undefined ? undefined : sizeArgument(options.size);
  const prefix = `Failed to create VDI ${name}`;
  try {
    if (options.from === undefined) {
      return await context.call('vdi.create', { name, sizeBytes: sizeBytes ?? sizeArgument(SIZE_DEFAULT) });
    }
    const source = vdiRef(options.from, options.snapshot);
    const { image, snapshot, sizeBytes: sourceBytes } = await openVdi(context, source);
    if (image === undefined && !snapshot) {
      throw new Exit(exitCodes.usage, "Please specify the snapshot to clone with the '-s' option");
    }
    if (sizeBytes !== undefined && sizeBytes < sourceBytes) {
      throw new Exit(
        exitCodes.usage,
        `${prefix}: ${options.from} has ${sourceBytes} bytes, which do not fit`,
      );
    }
    const made = await context.call('vdi.clone', { source, name });
    if (sizeBytes === undefined || sizeBytes === made.sizeBytes) return made;
    return await context.call('vdi.resize', { name, sizeBytes });
  } catch (error) {
    throw refusal(prefix, error);
  }
}

interface Parts {
  readonly name: string;
  readonly volume: string;
  readonly image: string | undefined;
  readonly memoryMib: number;
  readonly vcpus: number;
  readonly cpu: CpuMode | undefined;
  readonly network: string;
  readonly libvirt: Version;
  readonly offer: HostOffer;
}

/** The disk comes first: while it is empty, the firmware goes on with the CD. */
async function buildXml(context: Context, parts: Parts): Promise<string> {
  const door = await fetchDoor(context);
  const { volume, image, libvirt } = parts;
  const disk = { door, device: 'disk', target: 'vda', bus: 'virtio', readOnly: false, bootOrder: 1 } as const;
  const cd = { door, device: 'cdrom', target: 'sda', bus: 'sata', readOnly: true, bootOrder: 2 } as const;
  const disks = [diskXml({ ...disk, exportName: volume }, libvirt)];
  if (image !== undefined) disks.push(diskXml({ ...cd, exportName: image }, libvirt));
  return domainXml({ ...parts, disks }, parts.offer);
}

async function begin(virsh: Virsh, name: string, xml: string, start: boolean): Promise<void> {
  await virsh.runWithXml(['define'], xml).catch((error) => libvirtRefusal(`Failed to define ${name}`, error));
  if (!start) return;
  try {
    await virsh.run(['start', '--domain', name]);
  } catch (error) {
    await virsh.run(['undefine', '--domain', name, '--nvram']).catch(() => {});
    libvirtRefusal(`Failed to start ${name}`, error);
  }
}
