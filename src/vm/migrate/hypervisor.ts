import { AppError } from '../../base/errors.js';
import { parseXml } from '../domain-xml.js';
import type { Virsh } from '../virsh.js';
import type { Destination, Hypervisor } from './facts.js';
import type { DomainShape } from './moving-domain.js';

/**
 * What a hypervisor says of itself, and of a domain that runs here or is to come. Nothing is changed by asking. What
 * an older libvirt cannot tell is left out. Rejects with AppError 'system' when it does not answer.
 */
export async function askHypervisor(
  virsh: Virsh,
  shape: DomainShape,
  domainXml: string,
): Promise<Hypervisor> {
  const { libvirt, qemu } = await virsh.versions();
  const hostname = (await virsh.run(['hostname'])).trim();
  const host = (await parseXml(await virsh.run(['capabilities']), 'capabilities')).first('host');
  const cpu = host?.first('cpu');
  const signature = cpu?.first('signature');
  const words = [
    cpu?.first('vendor')?.text,
    cpu?.first('model')?.text,
    ...['family', 'model', 'stepping'].map((name) => signature?.attribute(name)),
  ];
  return {
    hostname,
    hostUuid: host?.first('uuid')?.text,
    libvirt,
    qemu,
    processor: words.filter((word) => word !== undefined).join(' '),
    lacksOfCpu: await compareCpu(virsh, shape, domainXml),
  };
}

/** The same of the one that the domain shall go to. */
export async function askDestination(
  virsh: Virsh,
  shape: DomainShape,
  domainXml: string,
): Promise<Destination> {
  const hypervisor = await askHypervisor(virsh, shape, domainXml);
  const namesake = await askNamesake(virsh, shape.name);
  const machineRefusal = await refusalOf(
    virsh.run(['domcapabilities', ...machineWords(shape, 'emulatorbin')]),
  );
  const networks = await virsh.run(['net-list', '--name']).catch(ifTold);
  const freeMemoryBytes = freeMemory((await virsh.run(['nodememstats']).catch(ifTold)) ?? '');
  return {
    ...hypervisor,
    ...(namesake !== undefined && { namesake }),
    ...(machineRefusal !== undefined && { machineRefusal }),
    ...(networks !== undefined && { networks: networks.split('\n').filter((name) => name !== '') }),
    ...(freeMemoryBytes !== undefined && { freeMemoryBytes }),
  };
}

/** By the running definition, in which libvirt has written what the guest sees. Undefined: all of it is there. */
async function compareCpu(virsh: Virsh, shape: DomainShape, domainXml: string): Promise<string | undefined> {
  const words = ['hypervisor-cpu-compare', ...machineWords(shape, 'emulator'), '--error', '--file'];
  const refusal = await refusalOf(virsh.runWithXml(words, domainXml));
  // Other complaints (an emulator that is missing, a processor that cannot be compared) are not about features.
  const found = /does not provide required features: (.*?)(;|$)/.exec(refusal ?? '');
  if (found !== null) return found[1]!;
  return /CPU is incompatible with host CPU: ([^;]*)/.exec(refusal ?? '')?.[1];
}

function machineWords({ type, arch, machine, emulator }: DomainShape, emulatorWord: string): string[] {
  return [
    ...['--virttype', type, '--arch', arch, '--machine', machine],
    ...(emulator === undefined ? [] : [`--${emulatorWord}`, emulator]),
  ];
}

/** What libvirt says against it; a libvirt that does not answer is another trouble. */
async function refusalOf(run: Promise<string>): Promise<string | undefined> {
  try {
    await run;
    return undefined;
  } catch (error) {
    if (AppError.isCode(error, 'system')) throw error;
    return AppError.from(error).message;
  }
}

async function askNamesake(virsh: Virsh, name: string): Promise<Destination['namesake']> {
  const uuid = await virsh.run(['domuuid', '--domain', name]).catch(ifTold);
  if (uuid === undefined) return undefined;
  return { uuid: uuid.trim(), state: await virsh.domainState(name) };
}

/** Undefined instead of a refusal. */
function ifTold(error: unknown): undefined {
  if (AppError.isCode(error, 'system')) throw error;
  return undefined;
}

/** Bytes, from `nodememstats`: a kernel gives caches back when a guest wants memory. */
export function freeMemory(text: string): number | undefined {
  const kib = (label: string) => {
    const found = new RegExp(`^${label} *: *(\\d{1,15}) KiB$`, 'm').exec(text);
    return found === null ? undefined : Number(found[1]);
  };
  const free = kib('free');
  return free === undefined ? undefined : (free + (kib('cached') ?? 0) + (kib('buffers') ?? 0)) * 1024;
}
