/** A guest under libvirt, with a volume as its disk: its XML, and what a test does with it. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GuestConsole } from './guest-console.js';
import type { GuestFiles } from './guest-files.js';

/** Emulated processors are slow, and the machine may be busy. */
const BOOT_DEADLINE_MS = 120_000;
/** After a move its console answers as soon as it runs. */
const ANSWER_DEADLINE_MS = 60_000;
const MEMORY_MIB = 160;

/** Path, in every host, of the folder with the doors of that host's own sheep; `runFolders` puts it there. */
export const SHEEP_FOLDER = 'sheepfold';
export const NBD_SOCKET = 'nbd.sock';

export interface GuestDomainOptions {
  readonly name: string;
  /** The volume of its disk, /dev/vda. */
  readonly volume: string;
  readonly files: GuestFiles;
  /** Starts from the file system on its disk instead of what its kernel comes with. */
  readonly installed?: boolean;
  /** Program in place of the host's emulator. */
  readonly emulator?: string;
}

/** Where guests run, as far as they are concerned. */
export interface GuestHost {
  /** Of this host alone: its /run is `run` in here. */
  readonly folder: string;
  /** Output of a virsh that must succeed. */
  mustVirsh(...words: string[]): Promise<string>;
  /** Writes a file that virsh can be given; its path. */
  file(name: string, text: string): string;
  /** What QEMU itself wrote about a guest. */
  guestLog(guest: string): string;
}

export class GuestDomain {
  constructor(private readonly options: GuestDomainOptions) {}

  get name(): string {
    return this.options.name;
  }

  /**
   * The disk is the network disk of the reference XML: raw, no host cache, discard on. The processor is emulated: what
   * a machine offers of hardware virtualisation differs, what the guest does then does not.
   */
  get xml(): string {
    const { name, volume, files, installed = false, emulator = '/usr/bin/qemu-system-x86_64' } = this.options;
    const line = `console=ttyS0 quiet panic=-1${installed ? ' root=/dev/vda' : ''}`;
    return `<domain type='qemu'>
  <name>${name}</name>
  <memory unit='MiB'>${MEMORY_MIB}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>${files.kernel}</kernel>
    <initrd>${files.initrd}</initrd>
    <cmdline>${line}</cmdline>
  </os>
  <on_reboot>destroy</on_reboot>
  <devices>
    <emulator>${emulator}</emulator>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='none' discard='unmap'/>
      <source protocol='nbd' name='${volume}'>
        <host transport='unix' socket='/run/${SHEEP_FOLDER}/${NBD_SOCKET}'/>
      </source>
      <target dev='vda' bus='virtio'/>
    </disk>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <serial type='file'><source path='/run/${name}.console'/></serial>
    <serial type='unix'><source mode='bind' path='/run/${name}.sock'/></serial>
  </devices>
</domain>
`;
  }

  /** Starts it on a host and waits until it takes commands. */
  async start(host: GuestHost): Promise<GuestConsole> {
    await host.mustVirsh('create', host.file(`${this.name}.xml`, this.xml));
    try {
      return await this.console(host, BOOT_DEADLINE_MS);
    } catch (error) {
      process.stderr.write(`--- ${this.name}\n${this.screen(host)}\n${host.guestLog(this.name)}\n`);
      throw error;
    }
  }

  /** Its console on the host where it is now. */
  console(host: GuestHost, deadlineMs = ANSWER_DEADLINE_MS): Promise<GuestConsole> {
    return GuestConsole.open(join(host.folder, 'run', `${this.name}.sock`), deadlineMs);
  }

  /** What it has said on its screen on that host. */
  screen(host: GuestHost): string {
    const file = join(host.folder, 'run', `${this.name}.console`);
    return existsSync(file) ? readFileSync(file, 'latin1') : '';
  }

  /** Pulls the plug; what the guest has not synced may be lost. */
  async destroy(host: GuestHost): Promise<void> {
    await host.mustVirsh('destroy', this.name);
  }
}
