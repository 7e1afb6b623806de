/** A cluster as sheepfs sees it, in memory: names, sizes, attributes, snapshots, data. Calls can be made to fail. */
import { AppError } from '../../src/base/errors.js';
import type { ControlMethod, ControlParams, ControlResult, VdiInfo } from '../../src/control/api.js';
import type { Cluster, VolumeData } from '../../src/sheepfs/cluster-link.js';
import { MemoryDevice, MemoryVolume } from './memory-device.js';

const BLOCK_SIZE_SHIFT = 22;

/** Of all calls; each has those that it needs. */
interface Fields {
  readonly name: string;
  readonly newName: string;
  readonly sizeBytes: number;
  readonly key: string;
  readonly value: string;
}

interface Fake {
  readonly volume: MemoryVolume;
  readonly attributes: Map<string, string>;
  readonly vid: number;
}

export class FakeVolumes implements Cluster {
  readonly volumes = new Map<string, Fake>();
  /** Methods called, in order. */
  readonly calls: string[] = [];
  /** Throws to refuse, or to stand for the death of the caller at this place. */
  before: (method: string, params: Fields) => void = () => {};
  private nextVid = 1;

  async call<M extends ControlMethod>(method: M, params: ControlParams<M>): Promise<ControlResult<M>> {
    await Promise.resolve();
    const fields = params as unknown as Fields;
    this.before(method, fields);
    this.calls.push(method);
    return this.answer(method, fields) as ControlResult<M>;
  }

  private answer(method: string, fields: Fields): unknown {
    const { name, newName, sizeBytes, key, value } = fields;
    switch (method) {
      case 'vdi.create':
        if (this.volumes.has(name)) throw new AppError('vdi-exists', 'VDI exists already');
        this.volumes.set(name, {
          volume: new MemoryVolume(name, sizeBytes),
          attributes: new Map(),
          vid: this.nextVid++,
        });
        return this.info(name);
      case 'vdi.info':
        return this.info(name);
      case 'vdi.list':
        return [...this.volumes.keys()]
          .filter((each) => name === undefined || each === name)
          .map((each) => this.info(each));
      case 'vdi.resize':
        if (sizeBytes < this.find(name).volume.sizeBytes) throw new AppError('invalid', 'no shrinking');
        this.find(name).volume.resize(sizeBytes);
        return this.info(name);
      case 'vdi.rename':
        if (this.volumes.has(newName)) throw new AppError('vdi-exists', 'VDI exists already');
        this.volumes.set(newName, this.find(name));
        this.volumes.delete(name);
        return this.info(newName);
      case 'vdi.delete':
        this.find(name);
        this.volumes.delete(name);
        return { freedObjects: 0 };
      case 'vdi.setattr':
        this.find(name).attributes.set(key, value);
        return {};
      case 'vdi.getattr': {
        const found = this.find(name).attributes.get(key);
        if (found === undefined) throw new AppError('missing', 'the attribute does not exist');
        return { value: found };
      }
      default:
        throw new Error(`the fake has no ${method}`);
    }
  }

  openVolume(exportName: string): VolumeData {
    const { volume } = this.find(exportName);
    const device = new MemoryDevice(volume);
    return {
      exportName,
      connected: true,
      read: async (offset, length) => [await device.read(offset, length)],
      write: async (offset, data, options) => {
        if (offset + data.length > volume.sizeBytes) throw new Error('written beyond the volume');
        await device.write(offset, data, { fua: options?.fua ?? false });
      },
      zero: (offset, length, options) => device.writeZeroes(offset, length, options),
      blockStatus: (offset, length) => device.blockStatus(offset, length, 4096),
      flush: () => device.flush(),
      grown: () => {},
      close: () => {},
    };
  }

  private find(name: string): Fake {
    const found = this.volumes.get(name);
    if (found === undefined) throw new AppError('no-vdi', 'No VDI found');
    return found;
  }

  private info(name: string): VdiInfo {
    const { volume, vid } = this.find(name);
    const objects = new Set([...volume.blocks.keys()].map((block) => block >> (BLOCK_SIZE_SHIFT - 12)));
    return {
      ...{ name, tag: '', snapId: 0, vid, parentVid: 0, rootVid: vid, snapshot: false, clone: false },
      ...{ sizeBytes: volume.sizeBytes, usedBytes: objects.size * 2 ** BLOCK_SIZE_SHIFT, sharedBytes: 0 },
      ...{ copies: 1, blockSizeShift: BLOCK_SIZE_SHIFT, createdMs: 1_700_000_000_000 + vid, snapshotMs: 0 },
    };
  }
}
