import type { Clock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { VdiInfo } from '../control/api.js';
import { FuseError } from '../fuse/errors.js';
import { vdiBytesMax } from '../wire/sheepdog.js';
import type { Cluster, VolumeData } from './cluster-link.js';
import { asFuseError } from './errors.js';
import { dataEnd } from './extents.js';
import {
  decodeRecord,
  encodeRecord,
  type FileRecord,
  lengthOf,
  newRecord,
  now,
  RECORD_KEY,
} from './file-record.js';
import { ROOM_BYTES_MAX, ROOM_BYTES_MIN, ROOM_SHARE } from './limits.js';
import { Mutex } from './mutex.js';

/** What the files of a mount have in common. */
export interface FileWorld {
  readonly cluster: Cluster;
  readonly clock: Clock;
  /** Of volumes that were never a file. */
  readonly defaults: { readonly mode: number; readonly uid: number; readonly gid: number };
}

const ALLOCATION_BYTES = 4096;

/**
 * A working volume as a file. Its length is the volume's size, or less: a file may have no bytes, may be shortened,
 * and grows with every append, none of which a volume can; the difference is in the file's record. Two rules keep a
 * length that was acknowledged, whoever is killed:
 *
 * - before the first append is acknowledged the record says that the file grows; whoever finds that later looks for
 * the
 *   last data in the volume;
 * - what lies behind the length in the volume is zeros: a file that is shortened is zeroed before its record says so.
 */
export class VolumeFile {
  info: VdiInfo;
  record: FileRecord;
  /** Bytes. */
  length: number;
  /** Opened this many times, and of these for writing. */
  users = 0;
  writers = 0;
  private readonly metadata = new Mutex();
  private connection: VolumeData | undefined;
  /** The record in memory is newer than the stored one. */
  private dirty = false;
  /** Appends of which the length does not tell yet. */
  private appending = 0;
  /** The stored record says that the file grows, and it is this mount that makes it grow. */
  private growing = false;

  constructor(
    readonly world: FileWorld,
    public name: string,
    info: VdiInfo,
    record?: FileRecord,
  ) {
    this.info = info;
    this.record = record ?? this.defaultRecord();
    this.length = lengthOf(this.record, info.sizeBytes);
  }

  /** A volume that is there. Rejects with FuseError ENOENT. */
  static async find(world: FileWorld, name: string): Promise<VolumeFile> {
    const info = await world.cluster.call('vdi.info', { name }).catch(rethrow);
    const file = new VolumeFile(world, name, info);
    await file.refresh();
    return file;
  }

  get data(): VolumeData {
    this.connection ??= this.world.cluster.openVolume(this.name);
    return this.connection;
  }

  /** Nobody changes it, at any door. */
  get isImage(): boolean {
    return this.info.image !== undefined;
  }

  /** Bytes that are really taken, as st_blocks tells them: whole objects, but never more than the file could fill. */
  get allocatedBytes(): number {
    const full = Math.ceil(this.length / ALLOCATION_BYTES) * ALLOCATION_BYTES;
    return Math.min(this.info.usedBytes + this.info.sharedBytes, full);
  }

  /** Asks the cluster how the file is now: others may have changed it at other doors. */
  refresh(): Promise<void> {
    return this.metadata.run(() => this.load());
  }

  private async load(): Promise<void> {
    const { cluster } = this.world;
    const { name } = this;
    const [info, stored] = await Promise.all([
      cluster.call('vdi.info', { name }),
      this.dirty ? undefined : this.loadRecord(),
    ]).catch(rethrow);
    this.info = info;
    this.connection?.grown(info.sizeBytes);
    if (stored !== undefined) this.record = stored;
    const known = this.record.length?.sizes.includes(info.sizeBytes) ?? false;
    if (this.growing && known) return;
    this.growing = false;
    if (info.image !== undefined) this.length = info.image.contentBytes;
    else if (!this.dirty || !known) this.length = lengthOf(this.record, info.sizeBytes);
    // Whoever appended may be at it on another host, or was killed.
    if (known && this.record.length?.growing) this.length = await this.findEnd();
  }

  private async loadRecord(): Promise<FileRecord> {
    const { cluster } = this.world;
    try {
      const { value } = await cluster.call('vdi.getattr', { name: this.name, key: RECORD_KEY });
      return decodeRecord(value) ?? this.defaultRecord();
    } catch (error) {
      if (AppError.isCode(error, 'missing')) return this.defaultRecord();
      throw error;
    }
  }

  private defaultRecord(): FileRecord {
    return newRecord(this.info.createdMs, this.world.defaults);
  }

  private async findEnd(): Promise<number> {
    const end = await dataEnd(this.data, this.length, this.info.sizeBytes).catch(rethrow);
    if (this.users === 0) this.disconnect();
    return end;
  }

  /** Fewer bytes than `size` at the end of the file only, of which the cluster was asked just then. */
  async read(offset: number, size: number): Promise<readonly Uint8Array[]> {
    if (offset + size > this.length) await this.refresh();
    const bytes = Math.min(size, this.length - offset);
    return bytes > 0 ? this.data.read(offset, bytes).catch(rethrow) : [];
  }

  /** `durable`: data and length are on stable storage when it resolves. */
  async write(offset: number, bytes: Buffer, options: { durable: boolean }): Promise<void> {
    if (offset + bytes.length > this.length) return this.append(offset, bytes, options);
    await this.data.write(offset, bytes, { fua: options.durable }).catch(rethrow);
    this.touch();
  }

  private async append(offset: number, bytes: Buffer, options: { durable: boolean }): Promise<void> {
    const end = offset + bytes.length;
    await this.metadata.run(async () => {
      await this.makeRoom(end);
      this.appending++;
    });
    try {
      await this.data.write(offset, bytes, { fua: options.durable }).catch(rethrow);
      if (end > this.length) this.length = end;
      this.touch();
    } finally {
      this.appending--;
    }
    // The record says already that the file grows; who wants it durable wants it exact.
    if (options.durable) await this.save();
  }

  /** The volume reaches to `end`, and the stored record says that the file may. */
  private async makeRoom(end: number): Promise<void> {
    this.checkLength(end);
    await this.load();
    const { sizeBytes, blockSizeShift } = this.info;
    if (end <= this.length) return;
    if (end <= sizeBytes) {
      if (!this.growing) await this.store([sizeBytes], true);
      return;
    }
    const room = Math.min(ROOM_BYTES_MAX, Math.max(ROOM_BYTES_MIN, Math.floor(end * ROOM_SHARE)));
    const wanted = Math.min(vdiBytesMax(blockSizeShift), end + room);
    // A crash here leaves a record that holds for the volume as it is, and as it would have become.
    await this.store([sizeBytes, wanted], true);
    await this.resizeVolume(wanted);
  }

  /** Makes the file at least this long, as a write that ends there would. */
  extendTo(bytes: number): Promise<void> {
    return this.metadata.run(async () => {
      await this.makeRoom(bytes);
      if (bytes > this.length) this.length = bytes;
      this.touch();
    });
  }

  /** Throws EFBIG when no volume could have as many bytes. */
  checkLength(bytes: number): void {
    if (!Number.isSafeInteger(bytes) || bytes > vdiBytesMax(this.info.blockSizeShift))
      throw new FuseError('EFBIG');
  }

  /** ftruncate. A shortened file leaves its volume as large as it was: volumes cannot shrink. */
  setLength(bytes: number): Promise<void> {
    return this.metadata.run(async () => {
      this.checkLength(bytes);
      await this.load();
      const { sizeBytes } = this.info;
      if (bytes > sizeBytes) {
        // A crash while it grew may have left a record that holds for just that size.
        if (this.record.length?.sizes.includes(bytes)) await this.store([sizeBytes], this.growing);
        await this.resizeVolume(bytes);
        this.length = bytes;
        this.growing = false;
        this.touch();
      } else if (bytes !== this.length) {
        if (bytes < this.length) {
          const options = { mayUnmap: true };
          await this.data.zero(bytes, this.length - bytes, options).catch(rethrow);
        }
        this.length = bytes;
        this.touch();
        await this.store([sizeBytes], this.growing);
      }
    });
  }

  private async resizeVolume(sizeBytes: number): Promise<void> {
    this.info = await this.world.cluster.call('vdi.resize', { name: this.name, sizeBytes }).catch(rethrow);
    this.connection?.grown(sizeBytes);
  }

  touch(): void {
    this.record.mtime = this.record.ctime = now(this.world.clock.wallMs());
    this.dirty = true;
  }

  /** Changes what the record has beside the length, durably. */
  change(edit: (record: FileRecord) => void): Promise<void> {
    return this.metadata.run(async () => {
      if (!this.dirty) await this.load();
      const next = structuredClone(this.record);
      edit(next);
      const before = this.record;
      this.record = next;
      try {
        await this.store([this.info.sizeBytes], this.growing);
      } catch (error) {
        this.record = before;
        throw error;
      }
    });
  }

  /** fsync: what was written, and how long the file is. */
  async sync(): Promise<void> {
    if (this.connection !== undefined) await this.connection.flush().catch(rethrow);
    await this.save();
  }

  /** Stores the record if it has changed: others know then how long the file is, to the byte. */
  save(): Promise<void> {
    return this.metadata.run(async () => {
      if (this.dirty || this.growing) await this.store([this.info.sizeBytes], this.appending > 0);
    });
  }

  private async store(sizes: number[], growing: boolean): Promise<void> {
    const { length: _, ...rest } = this.record;
    const asVolume = !growing && sizes.length === 1 && sizes[0] === this.length;
    const next: FileRecord = asVolume ? rest : { ...rest, length: { bytes: this.length, sizes, growing } };
    const params = { name: this.name, key: RECORD_KEY, mode: 'set', value: encodeRecord(next) } as const;
    await this.world.cluster.call('vdi.setattr', params).catch(rethrow);
    this.record = next;
    this.growing = growing;
    this.dirty = false;
  }

  opened(writes: boolean): void {
    this.users++;
    if (writes) this.writers++;
  }

  /** The last one out writes how long the file is now, and hangs up. */
  async released(writes: boolean): Promise<void> {
    this.users--;
    if (writes) this.writers--;
    if (this.writers === 0) await this.save();
    if (this.users === 0) this.disconnect();
  }

  /** The volume has another name now; the connection stays, and comes back under the new one. */
  renamed(name: string): void {
    this.name = name;
    if (this.connection !== undefined) this.connection.exportName = name;
  }

  /** Another volume has taken the place of this one, with its name. */
  async replaced(info: VdiInfo): Promise<void> {
    this.disconnect();
    this.dirty = this.growing = false;
    this.info = info;
    await this.refresh();
  }

  disconnect(): void {
    this.connection?.close();
    this.connection = undefined;
  }
}

function rethrow(error: unknown): never {
  throw asFuseError(error);
}
