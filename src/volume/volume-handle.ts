import { AppError } from '../base/errors.js';
import { PeerFlag, type PeerMessage } from '../wire/peer-message.js';
import type { BlockDevice, BlockDeviceInfo, Extent, WriteOptions, ZeroOptions } from './device.js';
import type { OwnedVolume } from './owned-volume.js';
import { DeviceOp, decodeJson, deviceRequest } from './remote-codec.js';
import type { VolumeManager } from './volume-manager.js';

const RETRY_MS = 10;
/** Largest part of a request that is sent to another gateway in one message. */
const REMOTE_BYTES_MAX = 4 * 1024 * 1024;

/** A change as it is asked of another gateway. */
interface RemoteChange {
  readonly op: number;
  readonly fields: Partial<PeerMessage>;
}

/**
 * A door's handle on a volume, wherever it is served. Each request goes to the present owner; when the owner is gone
 * before it answers, the request is done again at the next one, which is right because requests are idempotent and
 * the client has not been answered.
 */
export class VolumeHandle implements BlockDevice {
  private held: OwnedVolume | undefined;
  private closed = false;
  onClosed: () => void = () => {};

  private constructor(
    private readonly manager: VolumeManager,
    private readonly line: string,
    private readonly readOnly: boolean,
    private present: BlockDeviceInfo,
  ) {}

  static async open(manager: VolumeManager, line: string, readOnly: boolean): Promise<VolumeHandle> {
    const placeholder = { name: '', sizeBytes: 0, readOnly, preferredBlockBytes: 4096, objectBytes: 0 };
    const handle = new VolumeHandle(manager, line, readOnly, placeholder);
    handle.present = await handle.run(
      async (device) => device.info(),
      async (send) => decodeJson<BlockDeviceInfo>((await send(deviceRequest(line, DeviceOp.info))).payload),
    );
    return handle;
  }

  info(): BlockDeviceInfo {
    const record = this.held?.device.info() ?? this.present;
    return { ...record, readOnly: this.readOnly };
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    return this.run(
      (device) => device.read(offset, length),
      async (send) => {
        if (length <= REMOTE_BYTES_MAX) {
          return (await send(deviceRequest(this.line, DeviceOp.read, { offset, length }))).payload;
        }
        const out = Buffer.allocUnsafe(length);
        for (let at = 0; at < length; at += REMOTE_BYTES_MAX) {
          const size = Math.min(REMOTE_BYTES_MAX, length - at);
          out.set(
            (await send(deviceRequest(this.line, DeviceOp.read, { offset: offset + at, length: size })))
              .payload,
            at,
          );
        }
        return out;
      },
    );
  }

  async write(offset: number, data: Uint8Array, options: WriteOptions = {}): Promise<void> {
    const flags = options.fua ? PeerFlag.sync : 0;
    const commit = options.version ?? 0;
    const parts: RemoteChange[] = [];
    for (let at = 0; at < data.length; at += REMOTE_BYTES_MAX) {
      const payload = data.subarray(at, at + REMOTE_BYTES_MAX);
      parts.push({ op: DeviceOp.write, fields: { offset: offset + at, flags, commit, payload } });
    }
    await this.change((device) => device.write(offset, data, options), parts);
  }

  async writeZeroes(offset: number, length: number, options: ZeroOptions): Promise<void> {
    const flags = (options.fua ? PeerFlag.sync : 0) | (options.mayUnmap ? 0 : PeerFlag.allocate);
    const fields = { offset, length, flags, commit: options.version ?? 0 };
    const parts = [{ op: DeviceOp.zero, fields }];
    await this.change((device) => device.writeZeroes(offset, length, options), parts);
  }

  async discard(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    const flags = options.fua ? PeerFlag.sync : 0;
    const fields = { offset, length, flags, commit: options.version ?? 0 };
    const parts = [{ op: DeviceOp.discard, fields }];
    await this.change((device) => device.discard(offset, length, options), parts);
  }

  async flush(): Promise<void> {
    await this.run(
      (device) => device.flush(),
      async (send) => {
        await send(deviceRequest(this.line, DeviceOp.flush));
      },
    );
  }

  async blockStatus(offset: number, length: number, limit: number): Promise<Extent[]> {
    return this.run(
      (device) => device.blockStatus(offset, length, limit),
      async (send) => {
        const request = deviceRequest(this.line, DeviceOp.status, { offset, length, commit: limit });
        return decodeJson<Extent[]>((await send(request)).payload);
      },
    );
  }

  onResize(): () => void {
    // NBD has no resize notice in use; a client that opens anew sees the new size.
    return () => {};
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.onClosed();
    this.let();
  }

  private checkWritable(): void {
    if (this.readOnly) throw new AppError('read-only', 'this volume was opened for reading');
  }

  /** A change may have been done before its answer got lost: it is asked for again under its number (forwarded.ts). */
  private async change(
    local: (device: BlockDevice) => Promise<void>,
    parts: readonly RemoteChange[],
  ): Promise<void> {
    this.checkWritable();
    const { confirmer } = this.manager;
    const ids = parts.map(() => confirmer.begin());
    try {
      await this.run(local, async (send, nodeId) => {
        for (const [i, { op, fields }] of parts.entries()) {
          confirmer.ask(ids[i]!, this.line, nodeId);
          await send(deviceRequest(this.line, op, { ...fields, parent: ids[i]! }));
        }
      });
    } finally {
      for (const id of ids) confirmer.end(id);
    }
  }

  private async run<T>(
    local: (device: BlockDevice) => Promise<T>,
    remote: (send: (message: PeerMessage) => Promise<PeerMessage>, nodeId: string) => Promise<T>,
  ): Promise<T> {
    const { manager } = this;
    for (;;) {
      if (manager.stopped) throw new AppError('shutdown', 'this sheep stops');
      try {
        const target = await manager.locate(this.line);
        if (target.kind === 'local') {
          this.hold(target.owned);
          return await manager.use(target.owned, local);
        }
        this.let();
        const send = (message: PeerMessage) => manager.options.cluster.links.request(target.nodeId, message);
        return await remote(send, target.nodeId);
      } catch (error) {
        if (
          !AppError.isCode(error, 'again', 'network', 'old-epoch', 'new-epoch', 'shutdown', 'cluster-error')
        )
          throw error;
        if (this.closed) throw error;
      }
      await new Promise<void>((resolve) => manager.options.clock.after(RETRY_MS, resolve));
    }
  }

  private hold(owned: OwnedVolume): void {
    if (this.held === owned || this.closed) return;
    this.let();
    this.held = owned;
    this.manager.acquire(owned);
  }

  private let(): void {
    if (this.held !== undefined) this.manager.release(this.held);
    this.held = undefined;
  }
}
