import { BLOCK_SIZE, isZero } from '../../src/base/bytes.js';
import { AppError } from '../../src/base/errors.js';
import type {
  BlockDevice,
  BlockDeviceInfo,
  DeviceProvider,
  Extent,
  WriteOptions,
  ZeroOptions,
} from '../../src/volume/device.js';

/** What a device did, for tests that ask whether a flush or a FUA really arrived. */
export interface MemoryCounters {
  reads: number;
  writes: number;
  fuaWrites: number;
  flushes: number;
  discards: number;
  zeroes: number;
  closes: number;
}

/** The bytes of one volume in memory: sparse, in blocks; a missing block is a hole. Shared by all its handles. */
export class MemoryVolume {
  readonly blocks = new Map<number, Buffer>();
  readonly listeners = new Set<(sizeBytes: number) => void>();
  readonly counters: MemoryCounters = {
    reads: 0,
    writes: 0,
    fuaWrites: 0,
    flushes: 0,
    discards: 0,
    zeroes: 0,
    closes: 0,
  };

  constructor(
    readonly name: string,
    public sizeBytes: number,
    readonly readOnly = false,
  ) {}

  resize(sizeBytes: number): void {
    this.sizeBytes = sizeBytes;
    for (const listener of this.listeners) listener(sizeBytes);
  }

  /** Calls back for every block touched: its index, where in it, how many bytes, and how far into the range. */
  forBlocks(
    offset: number,
    length: number,
    visit: (block: number, inBlock: number, count: number, done: number) => void,
  ): void {
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const inBlock = at % BLOCK_SIZE;
      const count = Math.min(BLOCK_SIZE - inBlock, length - done);
      visit((at - inBlock) / BLOCK_SIZE, inBlock, count, done);
      done += count;
    }
  }

  write(offset: number, data: Uint8Array): void {
    this.forBlocks(offset, data.length, (block, inBlock, count, done) => {
      let bytes = this.blocks.get(block);
      if (bytes === undefined) this.blocks.set(block, (bytes = Buffer.alloc(BLOCK_SIZE)));
      bytes.set(data.subarray(done, done + count), inBlock);
    });
  }

  zero(offset: number, length: number, mayUnmap: boolean): void {
    this.forBlocks(offset, length, (block, inBlock, count) => {
      if (mayUnmap && count === BLOCK_SIZE) this.blocks.delete(block);
      else if (this.blocks.has(block)) this.blocks.get(block)!.fill(0, inBlock, inBlock + count);
      else if (!mayUnmap) this.blocks.set(block, Buffer.alloc(BLOCK_SIZE));
    });
  }
}

/** One handle on a MemoryVolume. */
export class MemoryDevice implements BlockDevice {
  private readonly mine = new Set<(sizeBytes: number) => void>();

  constructor(readonly volume: MemoryVolume) {}

  info(): BlockDeviceInfo {
    const { name, sizeBytes, readOnly } = this.volume;
    return { name, sizeBytes, readOnly, preferredBlockBytes: BLOCK_SIZE, objectBytes: 4 * 1024 * 1024 };
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    this.volume.counters.reads++;
    const out = Buffer.allocUnsafe(length);
    this.volume.forBlocks(offset, length, (block, inBlock, count, done) => {
      const bytes = this.volume.blocks.get(block);
      if (bytes === undefined) out.fill(0, done, done + count);
      else out.set(bytes.subarray(inBlock, inBlock + count), done);
    });
    return out;
  }

  async write(offset: number, data: Uint8Array, options?: WriteOptions): Promise<void> {
    this.volume.counters.writes++;
    if (options?.fua) this.volume.counters.fuaWrites++;
    this.volume.write(offset, data);
  }

  async writeZeroes(offset: number, length: number, options: ZeroOptions): Promise<void> {
    this.volume.counters.zeroes++;
    this.volume.zero(offset, length, options.mayUnmap);
  }

  async discard(offset: number, length: number): Promise<void> {
    this.volume.counters.discards++;
    // Only whole blocks: a discard is a hint, and must not zero a neighbour's bytes.
    const start = Math.ceil(offset / BLOCK_SIZE) * BLOCK_SIZE;
    const end = Math.floor((offset + length) / BLOCK_SIZE) * BLOCK_SIZE;
    if (end > start) this.volume.zero(start, end - start, true);
  }

  async flush(): Promise<void> {
    this.volume.counters.flushes++;
  }

  async blockStatus(offset: number, length: number, limit: number): Promise<Extent[]> {
    const extents: { lengthBytes: number; hole: boolean; zero: boolean }[] = [];
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const block = Math.floor(at / BLOCK_SIZE);
      const count = Math.min((block + 1) * BLOCK_SIZE, end) - at;
      const bytes = this.volume.blocks.get(block);
      const zero = bytes === undefined || isZero(bytes);
      const last = extents.at(-1);
      if (last !== undefined && last.hole === (bytes === undefined) && last.zero === zero)
        last.lengthBytes += count;
      else if (extents.length === limit) break;
      else extents.push({ lengthBytes: count, hole: bytes === undefined, zero });
      at += count;
    }
    return extents;
  }

  onResize(listener: (sizeBytes: number) => void): () => void {
    this.volume.listeners.add(listener);
    this.mine.add(listener);
    return () => this.volume.listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.volume.counters.closes++;
    for (const listener of this.mine) this.volume.listeners.delete(listener);
  }
}

/** Volumes in memory by name. `wrap` puts a delay or a fault around every device that is opened. */
export class MemoryProvider implements DeviceProvider {
  readonly volumes = new Map<string, MemoryVolume>();
  opened = 0;

  constructor(private readonly wrap: (device: BlockDevice) => BlockDevice = (device) => device) {}

  add(name: string, sizeBytes: number, readOnly = false): MemoryVolume {
    const volume = new MemoryVolume(name, sizeBytes, readOnly);
    this.volumes.set(name, volume);
    return volume;
  }

  async open(exportName: string): Promise<BlockDevice> {
    const volume = this.volumes.get(exportName);
    if (volume === undefined) throw new AppError('no-vdi', `no volume named ${exportName}`);
    this.opened++;
    return this.wrap(new MemoryDevice(volume));
  }

  async list(): Promise<string[]> {
    return [...this.volumes.keys()];
  }
}

/** Calls `before` ahead of every operation; it may wait (a delay, a gate) or throw (a fault). */
export function intercept(
  device: BlockDevice,
  before: (operation: string, offset: number, length: number) => Promise<void> | void,
): BlockDevice {
  return {
    info: () => device.info(),
    async read(offset, length) {
      await before('read', offset, length);
      return device.read(offset, length);
    },
    async write(offset, data, options) {
      await before('write', offset, data.length);
      return device.write(offset, data, options);
    },
    async writeZeroes(offset, length, options) {
      await before('writeZeroes', offset, length);
      return device.writeZeroes(offset, length, options);
    },
    async discard(offset, length, options) {
      await before('discard', offset, length);
      return device.discard(offset, length, options);
    },
    async flush() {
      await before('flush', 0, 0);
      return device.flush();
    },
    async blockStatus(offset, length, limit) {
      await before('blockStatus', offset, length);
      return device.blockStatus(offset, length, limit);
    },
    onResize: (listener) => device.onResize(listener),
    close: () => device.close(),
  };
}
