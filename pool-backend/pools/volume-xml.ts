import { LibvirtError } from '../rpc/errors.js';
import { readXml, type XmlElement } from './xml-reader.js';
import { element, formatXml } from './xml-text.js';

export type VolumeFormat = 'raw' | 'qcow2';

/** virStorageVolType. */
export const VolumeType = { file: 0, network: 3 } as const;

/** What is asked for by the XML of a new volume. */
export interface VolumeRequest {
  readonly name: string;
  /** Absent where the size is that of another volume. */
  readonly capacityBytes?: number;
  /** Absent when nothing is said: then nothing is allocated. */
  readonly allocationBytes?: number;
  readonly format?: VolumeFormat;
  /** Path of the volume to begin with. */
  readonly backingPath?: string;
}

/** What is shown of a volume. */
export interface VolumeDescription {
  readonly name: string;
  readonly key: string;
  readonly path: string;
  readonly type: keyof typeof VolumeType;
  readonly capacityBytes: number;
  readonly allocationBytes: number;
  readonly physicalBytes: number;
  readonly format: VolumeFormat;
  readonly createdMs: number;
}

/** Factors of the units libvirt knows, by their names in lower case; none means bytes. */
const units = new Map<string, bigint>([
  ['', 1n],
  ['b', 1n],
  ['byte', 1n],
  ['bytes', 1n],
]);
for (const [power, letter] of [...'kmgtpe'].entries()) {
  const binary = 1024n ** BigInt(power + 1);
  units.set(letter, binary);
  units.set(`${letter}ib`, binary);
  units.set(`${letter}b`, 1000n ** BigInt(power + 1));
}

/** Rejects with LibvirtError 'xml', or 'no-support' for what a cluster cannot do. */
export async function parseVolume(xml: string): Promise<VolumeRequest> {
  const root = await readXml(xml, 'volume');
  const capacityBytes = sizeOf(root, 'capacity');
  const allocationBytes = sizeOf(root, 'allocation');
  const format = formatOf(root);
  const backingPath = root.textOf('backingStore', 'path') ?? '';
  if (root.find('target', 'encryption') !== undefined) {
    throw new LibvirtError('no-support', 'storage pool does not support encrypted volumes');
  }
  return {
    name: root.textOf('name') ?? '',
    ...(capacityBytes !== undefined && { capacityBytes }),
    ...(allocationBytes !== undefined && { allocationBytes }),
    ...(format !== undefined && { format }),
    ...(backingPath !== '' && { backingPath }),
  };
}

/** As `virsh vol-dumpxml` shows it. */
export function formatVolume(volume: VolumeDescription): string {
  const bytes = (name: string, value: number) => element(name, { unit: 'bytes' }, value);
  return formatXml(
    element('volume', { type: volume.type }, [
      element('name', undefined, volume.name),
      element('key', undefined, volume.key),
      element('source', undefined, []),
      bytes('capacity', volume.capacityBytes),
      bytes('allocation', volume.allocationBytes),
      bytes('physical', volume.physicalBytes),
      element('target', undefined, [
        element('path', undefined, volume.path),
        element('format', { type: volume.format }),
        element('timestamps', undefined, [element('ctime', undefined, secondsText(volume.createdMs))]),
      ]),
    ]),
  );
}

/** Seconds and nanoseconds, as libvirt writes a time. */
function secondsText(ms: number): string {
  return `${Math.floor(ms / 1000)}.${String(Math.floor(ms % 1000)).padStart(3, '0')}000000`;
}

function sizeOf(root: XmlElement, name: string): number | undefined {
  const found = root.find(name);
  if (found === undefined || found.text === '') return undefined;
  if (!/^\d{1,20}$/.test(found.text)) throw new LibvirtError('xml', `malformed ${name} element`);
  const unit = found.attribute('unit') ?? '';
  const factor = units.get(unit.toLowerCase());
  if (factor === undefined) throw new LibvirtError('invalid-arg', `unknown suffix '${unit}'`);
  const bytes = BigInt(found.text) * factor;
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER))
    throw new LibvirtError('xml', `${name} element value too large`);
  return Number(bytes);
}

function formatOf(root: XmlElement): VolumeFormat | undefined {
  const type = root.find('target', 'format')?.attribute('type');
  if (type === undefined) return undefined;
  if (type === 'raw' || type === 'qcow2') return type;
  throw new LibvirtError('no-support', `a volume of a cluster is raw or qcow2, not '${type}'`);
}
