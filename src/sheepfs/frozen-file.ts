import type { VdiInfo } from '../control/api.js';
import { Mode } from '../fuse/protocol.js';
import type { VolumeData } from './cluster-link.js';
import { asFuseError } from './errors.js';
import { type FileRecord, newRecord } from './file-record.js';
import type { FileWorld } from './volume-file.js';

const WRITE_BITS = 0o222;

/** A snapshot as a file: it never changes, so that the kernel may keep all of it. */
export class FrozenFile {
  readonly record: FileRecord;
  readonly length: number;
  private connection: VolumeData | undefined;
  private users = 0;

  constructor(
    private readonly world: FileWorld,
    readonly info: VdiInfo,
  ) {
    const { defaults } = world;
    const mode = defaults.mode & ~WRITE_BITS & Mode.PERMISSIONS;
    this.record = newRecord(info.snapshotMs, { ...defaults, mode });
    this.length = info.sizeBytes;
  }

  get data(): VolumeData {
    this.connection ??= this.world.cluster.openVolume(`${this.info.name}@${this.info.snapId}`);
    return this.connection;
  }

  get allocatedBytes(): number {
    return Math.min(this.info.usedBytes + this.info.sharedBytes, Math.ceil(this.length / 512) * 512);
  }

  async read(offset: number, size: number): Promise<readonly Uint8Array[]> {
    const bytes = Math.min(size, this.length - offset);
    if (bytes <= 0) return [];
    return this.data.read(offset, bytes).catch((error: unknown) => {
      throw asFuseError(error);
    });
  }

  opened(): void {
    this.users++;
  }

  released(): void {
    this.users--;
    if (this.users > 0) return;
    this.connection?.close();
    this.connection = undefined;
  }
}
