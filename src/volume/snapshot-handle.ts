import { AppError } from '../base/errors.js';
import type { BlockDevice, BlockDeviceInfo, Extent } from './device.js';

const RETRY_MS = 20;

/**
 * A snapshot as a door sees it. A snapshot has no owner: any gateway reads it. When this one loses its place in the
 * cluster, the snapshot is opened anew under the next one.
 */
export class SnapshotHandle implements BlockDevice {
  private constructor(
    private device: BlockDevice,
    private readonly openDevice: () => Promise<BlockDevice>,
    private readonly pause: (delayMs: number) => Promise<void>,
  ) {}

  static async open(
    openDevice: () => Promise<BlockDevice>,
    pause: (delayMs: number) => Promise<void>,
  ): Promise<SnapshotHandle> {
    const device = await retrying(openDevice, pause);
    return new SnapshotHandle(device, openDevice, pause);
  }

  info(): BlockDeviceInfo {
    return this.device.info();
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    return this.run((device) => device.read(offset, length));
  }

  write(): Promise<void> {
    return refuse();
  }

  writeZeroes(): Promise<void> {
    return refuse();
  }

  discard(): Promise<void> {
    return refuse();
  }

  async flush(): Promise<void> {}

  blockStatus(offset: number, length: number, limit: number): Promise<Extent[]> {
    return this.run((device) => device.blockStatus(offset, length, limit));
  }

  onResize(): () => void {
    return () => {};
  }

  close(): Promise<void> {
    return this.device.close();
  }

  private async run<T>(work: (device: BlockDevice) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work(this.device);
      } catch (error) {
        if (!AppError.isCode(error, 'again')) throw error;
      }
      this.device = await retrying(this.openDevice, this.pause);
    }
  }
}

async function retrying(
  openDevice: () => Promise<BlockDevice>,
  pause: (delayMs: number) => Promise<void>,
): Promise<BlockDevice> {
  for (;;) {
    try {
      return await openDevice();
    } catch (error) {
      if (!AppError.isCode(error, 'again')) throw error;
    }
    await pause(RETRY_MS);
  }
}

async function refuse(): Promise<never> {
  throw new AppError('read-only', 'snapshots and images cannot be changed');
}
