import { AppError } from '../base/errors.js';
import { inodeAddress } from '../volume/directory.js';
import type { VdiRecord } from '../volume/records.js';
import { encodeHeader, objectCount } from '../volume/volume-index.js';
import { sdHashVdi } from '../wire/hash.js';
import { INODE_BYTES, INODE_HEADER_BYTES, INODE_INDEX_OFFSET } from '../wire/inode.js';
import { VID_COUNT } from '../wire/oid.js';
import { type DoorParts, isWorking, recordNow, untilSettled } from './parts.js';

/**
 * A name's versions lie in a run of vids that begins at the name's hash, and QEMU lists snapshots by walking it until a
 * vid is free. Ours may leave gaps (a deleted version is forgotten): a shorter one is shown as a row of deleted VDIs.
 * A longer one comes from renaming; filling it would make that walk endless.
 */
const GAP_MAX = 256;

/** What the index shows: what is there, or that all of it may be (see `opaque`). */
export type IndexView = 'true' | 'opaque';

/** The inode object as clients of the protocol read it, made from the records and the owner's index (reference, 5). */
export class InodeView {
  constructor(private readonly parts: DoorParts) {}

  /** Bytes of the inode. Deleted versions and gaps are tombstones: without a name, all zero behind the header. */
  async read(vid: number, offset: number, length: number, view: IndexView): Promise<Uint8Array> {
    if (offset + length > INODE_BYTES) throw new AppError('invalid', 'the range is outside of the inode');
    const record = await recordNow(this.parts, vid);
    const out = Buffer.alloc(length);
    if (record === undefined || record.state === 'pending') {
      if (record === undefined && !this.shown().has(vid)) throw new AppError('no-object', 'no such inode');
      return out;
    }
    if (offset < INODE_HEADER_BYTES) this.header(record).copy(out, 0, offset, INODE_HEADER_BYTES);
    if (record.state === 'deleted') return out;
    const from = Math.max(0, Math.floor((offset - INODE_INDEX_OFFSET) / 4));
    const to = Math.min(objectCount(record), Math.ceil((offset + length - INODE_INDEX_OFFSET) / 4));
    if (from < to) {
      const index = await this.index(record, from, to - from, view);
      const at = INODE_INDEX_OFFSET + from * 4 - offset;
      index.copy(out, Math.max(0, at), Math.max(0, -at));
    }
    return out;
  }

  /** The header as it is now. */
  header(record: VdiRecord): Buffer {
    const name = record.state === 'deleted' ? '' : (this.parts.directory.line(record.line)?.name ?? '');
    const shown = record.state === 'deleted' ? { ...record, sizeBytes: 0 } : record;
    // A record may lag behind what its family's copies are now.
    const copies = this.parts.cluster.objects.context?.view.copiesOf(record) ?? record.copies;
    return Buffer.from(encodeHeader({ ...shown, copies }, name));
  }

  /** Entries of the index as little-endian u32, from the owner when the version can still change. */
  async index(record: VdiRecord, from: number, count: number, view: IndexView = 'true'): Promise<Buffer> {
    if (view === 'opaque') {
      const entries = new Uint32Array(count).fill(record.vid);
      return Buffer.from(entries.buffer);
    }
    const { cluster, directory, call } = this.parts;
    return untilSettled(this.parts, async () => {
      const line = directory.line(record.line);
      if (line !== undefined && isWorking(this.parts, record)) {
        const params = { name: line.name, vid: record.vid, from, count };
        const { result, blob } = await call('version.index', params);
        // Nothing: it has become a snapshot in this moment.
        if (blob !== undefined && (result as { current: boolean }).current) return Buffer.from(blob);
      }
      const at = INODE_INDEX_OFFSET + from * 4;
      const bytes = await cluster.client.read(cluster.client.session(), inodeAddress(record), at, count * 4);
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    });
  }

  /** Vids that are in use, and those of them that are deleted, as the bitmaps show them. */
  bitmaps(): { used: Set<number>; deleted: Set<number> } {
    const used = new Set<number>();
    const deleted = new Set<number>();
    for (const vid of this.shown()) {
      used.add(vid);
      if (this.parts.directory.vdi(vid)?.state !== 'live') deleted.add(vid);
    }
    return { used, deleted };
  }

  private shown(): Set<number> {
    const { directory } = this.parts;
    const shown = new Set<number>();
    for (const record of directory.vdis()) {
      shown.add(record.vid);
      const name = directory.line(record.line)?.name;
      if (name === undefined || record.state !== 'live') continue;
      const start = sdHashVdi(name) || 1;
      const gap = (record.vid - start + VID_COUNT) % VID_COUNT;
      if (gap > GAP_MAX) continue;
      for (let vid = start; vid !== record.vid; vid = vid + 1 === VID_COUNT ? 1 : vid + 1) shown.add(vid);
    }
    return shown;
  }
}
