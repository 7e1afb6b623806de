import { ContentWriter, readContent } from '../pools/content.js';
import { createVolume, createVolumeFrom } from '../pools/new-volume.js';
import type { Registry } from '../pools/registry.js';
import { describeVolume, findVolume, nameOf, pathOf, type Volume } from '../pools/volume.js';
import { deleteVolume, resizeVolume, wipeVolume } from '../pools/volume-changes.js';
import { findByKey, findByPath } from '../pools/volume-search.js';
import { formatVolume, VolumeType } from '../pools/volume-xml.js';
import { LibvirtError } from '../rpc/errors.js';
import type { VolumeName } from '../rpc/procedures.js';
import { type Call, checkBytes, checkFlags, type Handlers } from './calls.js';
import { Download, Upload } from './transfer.js';

/** VIR_STORAGE_VOL_CREATE_REFLINK (a clone shares anyway) and _VALIDATE; metadata needs no preallocation here. */
const CreateFlag = { preallocMetadata: 1, reflink: 2, validate: 4 } as const;
const DELETE_FLAGS = 3;
const RESIZE_FLAGS = 6;
const SPARSE_STREAM = 1;
const INFO_PHYSICAL = 1;

/** Calls about volumes, by the names of procedures.ts. */
export const volumeCalls: Handlers<
  | 'storageVolCreateXml'
  | 'storageVolCreateXmlFrom'
  | 'storageVolDelete'
  | 'storageVolLookupByName'
  | 'storageVolLookupByKey'
  | 'storageVolLookupByPath'
  | 'storageVolGetInfo'
  | 'storageVolGetInfoFlags'
  | 'storageVolGetXmlDesc'
  | 'storageVolGetPath'
  | 'storageVolWipe'
  | 'storageVolWipePattern'
  | 'storageVolUpload'
  | 'storageVolDownload'
  | 'storageVolResize'
> = {
  async storageVolCreateXml({ pool, xml, flags }, { services: { registry } }) {
    checkCreateFlags(flags, 'virStorageVolCreateXML');
    const findBase = async (path: string) => (await findByPath(registry, path)) ?? findByKey(registry, path);
    const made = await createVolume(registry.require(pool), xml, findBase);
    return { volume: nameOf(made) };
  },

  async storageVolCreateXmlFrom({ pool, xml, source, flags }, { services: { registry, inUse } }) {
    checkCreateFlags(flags, 'virStorageVolCreateXMLFrom');
    const target = registry.require(pool);
    target.requireActive();
    const origin = await find(registry, source);
    const leave = inUse.enter(origin);
    try {
      return { volume: nameOf(await createVolumeFrom(target, xml, origin)) };
    } finally {
      leave();
    }
  },

  async storageVolDelete({ volume, flags }, { services: { registry, inUse } }) {
    checkFlags(flags, DELETE_FLAGS, 'virStorageVolDelete');
    const found = await find(registry, volume);
    inUse.refuse(found);
    await deleteVolume(found, flags);
  },

  async storageVolLookupByName({ pool, name }, { services: { registry } }) {
    return { volume: nameOf(await findVolume(registry.require(pool), name)) };
  },

  async storageVolLookupByKey({ key }, { services: { registry } }) {
    const found = await findByKey(registry, key);
    if (found === undefined) throw new LibvirtError('no-volume', `no storage vol with matching key ${key}`);
    return { volume: nameOf(found) };
  },

  async storageVolLookupByPath({ path }, { services: { registry } }) {
    const found = await findByPath(registry, path);
    if (found === undefined) {
      throw new LibvirtError('no-volume', `no storage vol with matching path '${path}'`);
    }
    return { volume: nameOf(found) };
  },

  storageVolGetInfo: ({ volume }, call) => infoOf(volume, 0, call),
  storageVolGetInfoFlags({ volume, flags }, call) {
    checkFlags(flags, INFO_PHYSICAL, 'virStorageVolGetInfoFlags');
    return infoOf(volume, flags, call);
  },

  async storageVolGetXmlDesc({ volume, flags }, { services: { registry } }) {
    checkFlags(flags, 0, 'virStorageVolGetXMLDesc');
    return { xml: formatVolume(await describeVolume(await find(registry, volume))) };
  },

  async storageVolGetPath({ volume }, { services: { registry } }) {
    return { path: pathOf(await find(registry, volume)) };
  },

  async storageVolWipe({ volume, flags }, call) {
    checkFlags(flags, 0, 'virStorageVolWipe');
    await wipe(volume, 0, call);
  },

  async storageVolWipePattern({ volume, algorithm, flags }, call) {
    checkFlags(flags, 0, 'virStorageVolWipePattern');
    await wipe(volume, algorithm, call);
  },

  async storageVolUpload({ volume, offset, length, flags }, call) {
    checkFlags(flags, SPARSE_STREAM, 'virStorageVolUpload');
    const { registry, inUse } = call.services;
    const found = await find(registry, volume);
    const range = [checkBytes(offset, 'offset'), checkBytes(length, 'length')] as const;
    const writer = ContentWriter.open(found, ...range);
    call.transfer((channel) => {
      channel.atEnd(inUse.enter(found));
      return new Upload(channel, writer, (flags & SPARSE_STREAM) !== 0);
    });
  },

  async storageVolDownload({ volume, offset, length, flags }, call) {
    checkFlags(flags, SPARSE_STREAM, 'virStorageVolDownload');
    const { registry, inUse } = call.services;
    const found = await find(registry, volume);
    const { sizeBytes } = found.info;
    const start = Math.min(checkBytes(offset, 'offset'), sizeBytes);
    const wanted = checkBytes(length, 'length') || sizeBytes;
    const range = { offset: start, length: Math.min(wanted, sizeBytes - start) };
    const content = readContent(found, { ...range, sparse: (flags & SPARSE_STREAM) !== 0 });
    call.transfer((channel) => {
      channel.atEnd(inUse.enter(found));
      return new Download(channel, content);
    });
  },

  async storageVolResize({ volume, capacity, flags }, { services: { registry, inUse } }) {
    checkFlags(flags, RESIZE_FLAGS, 'virStorageVolResize');
    const found = await find(registry, volume);
    inUse.refuse(found);
    await resizeVolume(found, checkBytes(capacity, 'capacity'), flags);
  },
};

/** Rejects with LibvirtError 'no-pool', 'no-volume' or 'operation-invalid'. */
function find(registry: Registry, volume: VolumeName): Promise<Volume> {
  return findVolume(registry.requireName(volume.pool), volume.name);
}

async function wipe(volume: VolumeName, algorithm: number, { services }: Call): Promise<void> {
  const found = await find(services.registry, volume);
  services.inUse.refuse(found);
  await wipeVolume(found, algorithm);
}

async function infoOf(volume: VolumeName, flags: number, { services }: Call) {
  const { type, capacityBytes, allocationBytes, physicalBytes } = await describeVolume(
    await find(services.registry, volume),
  );
  const allocation = (flags & INFO_PHYSICAL) !== 0 ? physicalBytes : allocationBytes;
  return { type: VolumeType[type], capacity: BigInt(capacityBytes), allocation: BigInt(allocation) };
}

function checkCreateFlags(flags: number, libvirtName: string): void {
  if ((flags & CreateFlag.preallocMetadata) !== 0) {
    throw new LibvirtError('no-support', 'metadata preallocation is not supported by a cluster');
  }
  checkFlags(flags, CreateFlag.reflink | CreateFlag.validate, libvirtName);
}
