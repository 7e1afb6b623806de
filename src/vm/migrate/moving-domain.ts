import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { AppError } from '../../base/errors.js';
import { type Element, type NbdDisk, nbdDisk, parseXml } from '../domain-xml.js';
import type { FileSystem, MovingDisk, MovingDomain } from './facts.js';

/** What a definition says that matters on the way. */
export type DomainShape = Omit<MovingDomain, 'state' | 'persistent' | 'busy'>;

const unitBytes: Readonly<Record<string, number>> = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** Reads a running domain as `virsh dumpxml` prints it. Rejects with AppError 'invalid'. */
export async function readMovingDomain(
  xml: string,
  isOurs: (disk: NbdDisk) => boolean,
  fileSystemOf: (path: string) => FileSystem,
): Promise<DomainShape> {
  const root = await parseXml(xml, 'domain');
  const type = root.first('os')?.first('type');
  const devices = root.first('devices');
  const memory = root.first('memory');
  const name = root.first('name')?.text.trim() ?? '';
  const uuid = root.first('uuid')?.text.trim() ?? '';
  if (name === '' || type === undefined) throw new AppError('invalid', 'the XML is not of a running domain');
  return {
    name,
    uuid,
    type: root.attribute('type') ?? '',
    arch: type.attribute('arch') ?? '',
    machine: type.attribute('machine') ?? '',
    emulator: devices?.first('emulator')?.text.trim(),
    memoryBytes: Number(memory?.text ?? 0) * (unitBytes[memory?.attribute('unit') ?? 'KiB'] ?? 1),
    cpuMode: root.first('cpu')?.attribute('mode'),
    networks: networksOf(devices),
    hostBound: hostBoundOf(devices),
    disks: (devices?.all('disk') ?? []).map((disk) => movingDisk(disk, isOurs, fileSystemOf)),
  };
}

function networksOf(devices: Element | undefined): string[] {
  const cards = devices?.all('interface') ?? [];
  const names = cards
    .filter((card) => card.attribute('type') === 'network')
    .map((card) => card.first('source')?.attribute('network'));
  return [...new Set(names.filter((name) => name !== undefined))];
}

/** libvirt refuses these in a migration; so the guest's owner hears it before, and what to do. */
function hostBoundOf(devices: Element | undefined): string[] {
  const passed = devices?.all('hostdev').map((one) => `a ${one.attribute('type') ?? 'host'} device`) ?? [];
  const cards = devices?.all('interface').filter((one) => one.attribute('type') === 'hostdev') ?? [];
  const shares = devices?.all('filesystem') ?? [];
  const shared = shares.map((one) => `the directory ${one.first('source')?.attribute('dir') ?? ''}`.trim());
  return [...passed, ...cards.map(() => 'a network card'), ...shared];
}

function movingDisk(
  disk: Element,
  isOurs: (disk: NbdDisk) => boolean,
  fileSystemOf: (path: string) => FileSystem,
): MovingDisk {
  return {
    target: disk.first('target')?.attribute('dev') ?? '?',
    writable: disk.first('readonly') === undefined && disk.attribute('device') !== 'cdrom',
    shareable: disk.first('shareable') !== undefined,
    content: contentOf(disk, isOurs, fileSystemOf),
  };
}

function contentOf(
  disk: Element,
  isOurs: (disk: NbdDisk) => boolean,
  fileSystemOf: (path: string) => FileSystem,
): MovingDisk['content'] {
  const nbd = nbdDisk(disk);
  if (nbd !== undefined) return { kind: isOurs(nbd) ? 'volume' : 'nbd', nbd };
  const source = disk.first('source');
  const type = disk.attribute('type') ?? 'file';
  if (source === undefined) return { kind: 'empty' };
  switch (type) {
    case 'file': {
      const path = source.attribute('file');
      return path === undefined ? { kind: 'empty' } : { kind: 'file', path, fileSystem: fileSystemOf(path) };
    }
    case 'block': {
      const path = source.attribute('dev');
      return path === undefined ? { kind: 'empty' } : { kind: 'device', path };
    }
    case 'volume':
      return { kind: 'pool', name: source.attribute('pool') ?? '' };
    case 'network':
      return { kind: 'network', protocol: source.attribute('protocol') ?? '' };
    default:
      return { kind: 'other', type };
  }
}

/** `f_type` of statfs(2) of file systems that several hosts mount at a time: those that libvirt knows as such. */
const sharedFileSystems: ReadonlySet<number> = new Set([
  0x6969, // nfs
  0xff534d42, // cifs
  0xfe534d42, // smb2
  0x01161970, // gfs2
  0x7461636f, // ocfs2
  0x00c36400, // ceph
  0x47504653, // gpfs
  0x0bd00bd0, // lustre
]);

/** Of a file on this machine. */
export function localFileSystem(path: string): FileSystem {
  try {
    // Of 32 bits, which some kernels hand out as signed.
    return sharedFileSystems.has(statfsSync(dirname(path)).type >>> 0) ? 'shared' : 'local';
  } catch {
    return 'unknown';
  }
}
