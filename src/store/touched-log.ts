/**
 * Which objects were touched in which epoch (D-5): `touched/<epoch, 8 hex digits>`, entries of 16 bytes:
 * u64 oid, u32 epoch, u32 CRC of the first 12 bytes. An entry may be there twice. Entries reach the platter at a
 * checkpoint; until then the journal's records stand for them. A torn entry does not verify and is skipped. What a full
 * disk has no room for is kept in memory, and no checkpoint frees its records before it is written.
 */
import { alignDown, crc32 } from '../base/bytes.js';
import { withBallast } from './ballast.js';
import { type Disk, DiskError, type DiskFile } from './disk.js';
import { readSmall } from './small-file.js';

export const TOUCHED_FOLDER = 'touched';
const ENTRY_BYTES = 16;
/** Ids remembered per epoch file, to keep objects that have no metadata (removed ones) from being listed often. */
const MAX_RECENT = 65_536;

interface EpochFile {
  readonly file: DiskFile;
  end: number;
  readonly recent: Set<bigint>;
  /** Syncs under way: a file is closed only after them. */
  syncs: number;
}

export class TouchedLog {
  private readonly files = new Map<number, EpochFile>();
  /** By epoch, the objects for whose entries there was no room. */
  private readonly unwritten = new Map<number, Set<bigint>>();

  constructor(private readonly disk: Disk) {}

  /** False: there is no room, so far it is noted in memory only. */
  add(oid: bigint, epoch: number): boolean {
    try {
      this.write(oid, epoch);
      return true;
    } catch (error) {
      if (!(error instanceof DiskError && error.code === 'no-space')) throw error;
      const oids = this.unwritten.get(epoch) ?? new Set();
      this.unwritten.set(epoch, oids.add(oid));
      return false;
    }
  }

  private write(oid: bigint, epoch: number): void {
    const open = this.open(epoch);
    if (open.recent.has(oid)) return;
    withBallast(this.disk, () => open.file.write([encodeTouched(oid, epoch)], open.end));
    open.end += ENTRY_BYTES;
    if (open.recent.size >= MAX_RECENT) open.recent.clear();
    open.recent.add(oid);
  }

  /** Makes the files of these epochs durable. DiskError 'no-space': not all that was noted is in them. */
  async sync(epochs: Iterable<number>): Promise<void> {
    for (const [epoch, oids] of this.unwritten) {
      for (const oid of oids) this.write(oid, epoch);
      this.unwritten.delete(epoch);
    }
    const files: Promise<void>[] = [];
    for (const epoch of epochs) {
      // A file that was closed meanwhile still has entries to sync; one that was forgotten has none.
      if (this.disk.exists(touchedPath(epoch))) files.push(this.syncOne(this.open(epoch)));
    }
    await Promise.all(files);
    if (files.length === 0) return;
    await this.disk.syncDir(TOUCHED_FOLDER);
    this.closeOld();
  }

  since(epoch: number): bigint[] {
    const oids = new Set<bigint>();
    for (const each of this.epochs()) if (each >= epoch) this.readInto(each, oids);
    return [...oids];
  }

  readInto(epoch: number, oids: Set<bigint>): void {
    for (const oid of this.unwritten.get(epoch) ?? []) oids.add(oid);
    this.readFile(epoch, oids);
  }

  private readFile(epoch: number, oids: Set<bigint>): void {
    const bytes = readSmall(this.disk, touchedPath(epoch));
    if (!bytes) return;
    for (let at = 0; at + ENTRY_BYTES <= bytes.length; at += ENTRY_BYTES) {
      const entry = decodeTouched(bytes.subarray(at, at + ENTRY_BYTES));
      if (entry && entry.epoch === epoch) oids.add(entry.oid);
    }
  }

  forgetBefore(epoch: number): void {
    for (const each of this.epochs()) {
      if (each >= epoch) continue;
      this.unwritten.delete(each);
      this.closeFile(each);
      if (this.disk.exists(touchedPath(each))) this.disk.unlink(touchedPath(each));
    }
  }

  epochs(): number[] {
    const written = this.disk
      .list(TOUCHED_FOLDER)
      .filter((name) => /^[0-9a-f]{8}$/.test(name))
      .map((name) => Number.parseInt(name, 16));
    return [...new Set([...written, ...this.unwritten.keys()])];
  }

  close(): void {
    for (const epoch of [...this.files.keys()]) this.closeFile(epoch);
  }

  /** Only the newest epochs are written in practice: files of older ones are closed again. */
  private closeOld(): void {
    const old = [...this.files.keys()].sort((a, b) => b - a).slice(4);
    for (const epoch of old) {
      this.closeFile(epoch);
    }
  }

  private async syncOne(open: EpochFile): Promise<void> {
    open.syncs++;
    try {
      await open.file.sync();
    } finally {
      open.syncs--;
      if (open.syncs === 0 && ![...this.files.values()].includes(open)) open.file.close();
    }
  }

  private closeFile(epoch: number): void {
    const open = this.files.get(epoch);
    this.files.delete(epoch);
    if (open !== undefined && open.syncs === 0) open.file.close();
  }

  private open(epoch: number): EpochFile {
    const known = this.files.get(epoch);
    if (known) return known;
    const path = touchedPath(epoch);
    const recent = new Set<bigint>();
    if (this.disk.exists(path)) this.readFile(epoch, recent);
    const file = withBallast(this.disk, () => this.disk.open(path, { create: true }));
    // A torn last entry is overwritten.
    const opened: EpochFile = { file, end: alignDown(file.size(), ENTRY_BYTES), recent, syncs: 0 };
    this.files.set(epoch, opened);
    return opened;
  }
}

export function touchedPath(epoch: number): string {
  return `${TOUCHED_FOLDER}/${epoch.toString(16).padStart(8, '0')}`;
}

export function encodeTouched(oid: bigint, epoch: number): Buffer {
  const entry = Buffer.alloc(ENTRY_BYTES);
  entry.writeBigUInt64LE(oid, 0);
  entry.writeUInt32LE(epoch, 8);
  entry.writeUInt32LE(crc32(entry.subarray(0, 12)), 12);
  return entry;
}

export function decodeTouched(entry: Buffer): { oid: bigint; epoch: number } | undefined {
  if (crc32(entry.subarray(0, 12)) !== entry.readUInt32LE(12)) return undefined;
  return { oid: entry.readBigUInt64LE(0), epoch: entry.readUInt32LE(8) };
}
