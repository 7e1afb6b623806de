import { AppError } from '../base/errors.js';
import { escapeXml, parseXml } from './domain-xml.js';
import type { Virsh } from './virsh.js';

/** What the host's libvirt offers for a new domain. */
export interface HostOffer {
  /** `kvm` where the processor and the daemon can, else `qemu`: everything emulated, and slow. */
  readonly type: 'kvm' | 'qemu';
  readonly arch: string;
  readonly emulator: string;
  /** The machine type that is the default for it here, by its lasting name. */
  readonly machine: string;
}

export interface DomainSpec {
  readonly name: string;
  readonly memoryMib: number;
  readonly vcpus: number;
  /** `<disk>` elements (disk-xml.ts); they name the order in which the firmware tries them. */
  readonly disks: readonly string[];
  /** A network of libvirt; `user`: out through the host, and nobody in; `none`. */
  readonly network: string;
  /** Undefined: `cpuModes[0]` with KVM, everything the emulator can do without. */
  readonly cpu?: CpuMode | undefined;
}

/** What the guest is told of its processor. `default`: as little as QEMU can, which runs and migrates anywhere. */
export const cpuModes = ['host-model', 'host-passthrough', 'maximum', 'default'] as const;
export type CpuMode = (typeof cpuModes)[number];

/** Machine types with PCI Express, to which the disks' buses fit. */
const machines: Readonly<Record<string, string>> = { x86_64: 'q35', aarch64: 'virt' };

/** Asks for KVM first. Rejects with AppError 'not-supported' when neither it nor an emulator is there. */
export async function fetchOffer(virsh: Virsh): Promise<HostOffer> {
  const arch = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
  const machine = machines[arch]!;
  for (const type of ['kvm', 'qemu'] as const) {
    const words = ['domcapabilities', '--virttype', type, '--arch', arch, '--machine', machine];
    try {
      const root = await parseXml(await virsh.run(words), 'domainCapabilities');
      const emulator = root.first('path')?.text ?? '';
      if (emulator !== '') return { type, arch, emulator, machine: root.first('machine')?.text || machine };
    } catch (error) {
      if (AppError.isCode(error, 'system')) throw error;
      // Not with this one.
    }
  }
  throw new AppError('not-supported', `libvirt has no emulator for ${arch} machines here`);
}

/**
 * A domain that suits most of today's guests: virtio wherever one can choose, a serial console, a screen on the host's
 * loopback alone, the guest agent's channel. A start for `virsh edit`, not a list of all that libvirt can do.
 */
export function domainXml(spec: DomainSpec, offer: HostOffer): string {
  const indent = (xml: string) => xml.trimEnd().replace(/^/gm, '    ');
  return `<domain type='${offer.type}'>
  <name>${escapeXml(spec.name)}</name>
  <memory unit='MiB'>${spec.memoryMib}</memory>
  <vcpu>${spec.vcpus}</vcpu>
  <os${offer.arch === 'aarch64' ? " firmware='efi'" : ''}>
    <type arch='${offer.arch}' machine='${escapeXml(offer.machine)}'>hvm</type>
  </os>
  <features>
    <acpi/>
${offer.arch === 'x86_64' ? '    <apic/>\n' : ''}  </features>
${cpuXml(spec.cpu ?? (offer.type === 'kvm' ? cpuModes[0] : 'maximum'))}  <devices>
    <emulator>${escapeXml(offer.emulator)}</emulator>
${spec.disks.map((disk) => `${indent(disk)}\n`).join('')}${networkXml(spec.network)}    <serial type='pty'/>
    <console type='pty'/>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <input type='tablet' bus='usb'/>
    <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/>
    <video>
      <model type='${offer.arch === 'x86_64' ? 'vga' : 'virtio'}'/>
    </video>
    <rng model='virtio'>
      <backend model='random'>/dev/urandom</backend>
    </rng>
  </devices>
</domain>
`;
}

function cpuXml(mode: CpuMode): string {
  return mode === 'default' ? '' : `  <cpu mode='${mode}'/>\n`;
}

function networkXml(network: string): string {
  if (network === 'none') return '';
  const source = network === 'user' ? '' : `\n      <source network='${escapeXml(network)}'/>`;
  return `    <interface type='${network === 'user' ? 'user' : 'network'}'>${source}
      <model type='virtio'/>
    </interface>
`;
}
