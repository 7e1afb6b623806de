import { AppError } from '../base/errors.js';
import { writeOf } from '../cluster/objects/mutation.js';
import { addressIn } from '../volume/directory.js';
import type { VdiRecord } from '../volume/records.js';
import { objectCount, readIndexEntry } from '../volume/volume-index.js';
import { INODE_CLIENT_BYTES, indexEntryOffset } from '../wire/inode.js';
import {
  DATA_OBJECTS_MAX,
  indexOf,
  invalidOid,
  isAttr,
  isData,
  isInode,
  isVmstate,
  vidOf,
} from '../wire/oid.js';
import { Flag, Op, Result } from '../wire/sheepdog.js';
import type { Attributes } from './attributes.js';
import type { HeldDiscards } from './held-discards.js';
import type { InodeView } from './inode-view.js';
import { type InodeWrites, inodeWriteOf } from './inode-writes.js';
import type { Lines } from './lines.js';
import type { Openers } from './openers.js';
import type { Answer, Operation, Request } from './operation.js';
import { type DoorParts, isWorking, recordNow, untilSettled, workingOf } from './parts.js';

const SUCCESS: Answer = { result: Result.SUCCESS };

export interface ObjectParts extends DoorParts {
  readonly lines: Lines;
  readonly openers: Openers;
  readonly inodes: InodeView;
  readonly inodeWrites: InodeWrites;
  readonly held: HeldDiscards;
  readonly attributes: Attributes;
}

/** An object request taken apart (reference, sections 1.3 and 2.3). */
interface ObjectRequest {
  readonly oid: bigint;
  readonly offset: number;
  readonly request: Request;
  /** The write is on stable storage before it is answered: this client will not send a flush. */
  readonly durable: boolean;
  /** Nothing but zeros for index entries: what the client means is not clear yet (held-discards.ts). */
  readonly isZeroing: boolean;
}

/**
 * Object I/O of the sheepdog door. Its clients keep a copy of the index and do copy-on-write themselves; here the
 * volume's owner does, for all doors alike. So what they say of a data object of a working volume is carried out as
 * I/O on the volume: a create of an object that another door has made meanwhile keeps that door's data (D-1).
 */
export class ObjectOperations {
  constructor(private readonly parts: ObjectParts) {}

  operations(): [number, Operation][] {
    const settled =
      (work: (o: ObjectRequest) => Promise<Answer>): Operation =>
      async (request) => {
        const parsed = parse(request);
        const waiting = this.parts.held.before(request.client, parsed.isZeroing);
        if (waiting !== undefined) await waiting;
        return work(parsed).catch(asObjectError);
      };
    return [
      [Op.READ_OBJ, settled((o) => this.read(o))],
      [Op.WRITE_OBJ, settled((o) => this.write(o, false))],
      [Op.CREATE_AND_WRITE_OBJ, settled((o) => this.write(o, true))],
      [Op.REMOVE_OBJ, settled((o) => this.remove(o))],
      [Op.DISCARD_OBJ, settled((o) => this.discard(o))],
      [Op.FLUSH_VDI, settled((o) => this.flush(o))],
    ];
  }

  private async read({ oid, offset, request }: ObjectRequest): Promise<Answer> {
    const { dataLength } = request;
    if (isData(oid)) return ok(await this.readData(oid, offset, dataLength, request));
    if (isInode(oid)) return this.readInode(oid, offset, dataLength, request);
    if (isAttr(oid)) return ok(await this.parts.attributes.read(oid, offset, dataLength));
    if (isVmstate(oid)) {
      const record = await this.recordOf(oid);
      checkRange(record, offset, dataLength);
      return ok(await this.readStored(record, oid, offset, dataLength));
    }
    throw new AppError('no-object', 'no such object');
  }

  private async readInode(oid: bigint, offset: number, length: number, request: Request): Promise<Answer> {
    const { locks, directory } = this.parts;
    const vid = vidOf(oid);
    const record = directory.vdi(vid);
    const line = record?.line;
    const whole = offset === 0 && length === INODE_CLIENT_BYTES;
    const tgt = (request.flags & Flag.TGT) !== 0;
    if (tgt && line !== undefined) {
      if (whole) await locks.refreshed(line);
      else if (locks.ownState(line) === 'invalidated') return { result: Result.INODE_INVALIDATED };
    }
    const isOpaque =
      whole &&
      record !== undefined &&
      isWorking(this.parts, record) &&
      (tgt || this.isUsedElsewhere(record.line));
    const view = isOpaque ? 'opaque' : 'true';
    return ok(await this.parts.inodes.read(vid, offset, length, view));
  }

  /**
   * QEMU believes its copy of the index for as long as it has the volume open: where it saw a hole it never asks
   * again. So who opens a volume that somebody else may be changing is shown an index without holes, in which all
   * objects belong to the working version: then it asks for everything, and gets what is there at that moment.
   */
  private isUsedElsewhere(line: string): boolean {
    const { locks, manager } = this.parts;
    return locks.holders(line).length > 1 || manager.isUsedElsewhere(line);
  }

  private async readData(oid: bigint, offset: number, length: number, request: Request): Promise<Uint8Array> {
    const record = await this.recordOf(oid);
    checkRange(record, offset, length);
    const { lines } = this.parts;
    const { client } = request;
    if (isWorking(this.parts, record)) {
      lines.bind(client, record.line);
      return this.readVolume(record.line, indexOf(oid), offset, length);
    }
    const line = this.lineMeant(record, request);
    if (line !== undefined) return this.readVolume(line, indexOf(oid), offset, length);
    return this.readStored(record, oid, offset, length);
  }

  /**
   * A client that works on a volume and asks for an object of an ancestor has an entry in mind that another door may
   * have changed since: it wants what the volume has there now. One that reads a snapshot never works on the volume.
   */
  private lineMeant(record: VdiRecord, { client, flags }: Request): string | undefined {
    const { directory, lines } = this.parts;
    // tgt opens working volumes only.
    const line = (flags & Flag.TGT) !== 0 ? record.line : lines.boundTo(client);
    const working = line === undefined ? undefined : workingOf(this.parts, line);
    if (working === undefined || working.root !== record.root) return undefined;
    if (record.line === line) return line;
    for (let at: VdiRecord | undefined = working; at !== undefined; at = directory.vdi(at.parent)) {
      if (at.vid === record.vid) return line;
    }
    return undefined;
  }

  private readVolume(line: string, index: number, offset: number, length: number): Promise<Uint8Array> {
    return untilSettled(this.parts, () =>
      this.parts.lines.use(line, async (handle) => {
        const { sizeBytes, objectBytes } = handle.info();
        const size = Math.max(sizeBytes, workingOf(this.parts, line)?.sizeBytes ?? 0);
        const from = index * objectBytes + offset;
        const inside = Math.max(0, Math.min(length, size - from));
        const data = inside === 0 ? new Uint8Array(0) : await handle.read(from, inside);
        if (inside === length) return data;
        const out = new Uint8Array(length);
        out.set(data);
        return out;
      }),
    );
  }

  /** An object of a version that does not change any more, or of one that clients write to directly (vmstate). */
  private async readStored(
    record: VdiRecord,
    oid: bigint,
    offset: number,
    length: number,
  ): Promise<Uint8Array> {
    const { client } = this.parts.cluster;
    try {
      return await untilSettled(this.parts, () =>
        client.read(client.session(), addressIn(record, oid), offset, length),
      );
    } catch (error) {
      if (!AppError.isCode(error, 'no-object') || !isData(oid)) throw error;
      // An entry is set before its first write is done: when that never came, the object is a hole.
      const owner = await untilSettled(this.parts, () =>
        readIndexEntry(client, client.session(), record, indexOf(oid)),
      );
      if (owner !== record.vid) throw error;
      return new Uint8Array(length);
    }
  }

  private async write(o: ObjectRequest, create: boolean): Promise<Answer> {
    const { oid, request } = o;
    if ((request.flags & Flag.WRITE) === 0) throw new AppError('invalid', 'a write needs the WRITE flag');
    if (isData(oid)) await this.writeData(o, create);
    else if (isInode(oid) && !create) return this.writeInode(o);
    else if (isVmstate(oid)) await this.writeVmstate(o, create);
    else throw new AppError('not-supported', 'objects of this kind are made by the server');
    return SUCCESS;
  }

  private async writeData({ oid, offset, request, durable }: ObjectRequest, create: boolean): Promise<void> {
    const record = await this.recordOf(oid);
    const { client, payload } = request;
    const { openers, lines } = this.parts;
    checkRange(record, offset, payload.length);
    if (!isWorking(this.parts, record)) throw this.refusalOf(record);
    const { line, vid } = record;
    if (!openers.mayWriteNow(client, line)) await openers.mayWrite(client, line);
    lines.bind(client, line);
    const from = indexOf(oid) * 2 ** record.blockSizeShift + offset;
    const data = insideOf(record, from, payload);
    if (payload.length === 0) {
      if (create) await this.allocate(record, indexOf(oid));
      return;
    }
    if (data.length === 0) return;
    const options = { fua: durable, version: vid };
    try {
      await untilSettled(this.parts, () => lines.use(line, (handle) => handle.write(from, data, options)));
    } catch (error) {
      if (!AppError.isCode(error, 'read-only')) throw error;
      // It has just become a snapshot, or was deleted.
      await this.parts.directory.catchUp();
      throw this.refusalOf(this.parts.directory.vdi(vid) ?? record);
    }
  }

  /** An object without a byte in the request: its room is wanted (`dog vdi create -P` of the original). */
  private async allocate(record: VdiRecord, index: number): Promise<void> {
    const entry = await this.parts.inodes.index(record, index, 1);
    if (entry.readUInt32LE() !== 0) return;
    const objectBytes = 2 ** record.blockSizeShift;
    const from = index * objectBytes;
    const length = Math.min(objectBytes, record.sizeBytes - from);
    if (length <= 0) return;
    const options = { mayUnmap: false, version: record.vid };
    await untilSettled(this.parts, () =>
      this.parts.lines.use(record.line, (handle) => handle.writeZeroes(from, length, options)),
    );
  }

  private async writeInode(o: ObjectRequest): Promise<Answer> {
    const { oid, offset, request, durable, isZeroing } = o;
    const record = await this.recordOf(oid);
    const { inodeWrites, locks, held } = this.parts;
    const write = inodeWriteOf(offset, request.payload);
    // QEMU repeats a flush that was under way when its connection broke as a write of nothing to the inode.
    if (write.kind === 'nothing' && request.payload.length === 0) return this.flushLine(record);
    if (write.kind === 'header') await inodeWrites.header(record, offset, request.payload);
    if (write.kind !== 'index') return SUCCESS;
    if ((request.flags & Flag.TGT) !== 0) {
      if (locks.ownState(record.line) === 'invalidated') return { result: Result.INODE_INVALIDATED };
      await locks.invalidateOthers(record.line);
    }
    const work = () => inodeWrites.index(record, write.from, write.entries, durable);
    if (isZeroing) await held.run(request.client, write.entries.length, work);
    else await work();
    return SUCCESS;
  }

  /**
   * QEMU appends to the machine's state in pieces of any size; the first piece of an object makes it anew. The snapshot
   * that is made afterwards flushes all of it.
   */
  private async writeVmstate(o: ObjectRequest, create: boolean): Promise<void> {
    const { oid, offset, request, durable } = o;
    const record = await this.recordOf(oid);
    checkRange(record, offset, request.payload.length);
    if (!isWorking(this.parts, record)) throw this.refusalOf(record);
    const index = indexOf(oid);
    const { call, cluster, directory } = this.parts;
    const { client } = cluster;
    const address = addressIn(record, oid);
    if (create && (record.vmObjects ?? 0) <= index) {
      const name = directory.line(record.line)?.name;
      // Doubled each time: a few records for a machine of any size. Numbers without an object cost nothing.
      const objects = Math.min(DATA_OBJECTS_MAX, Math.max(16, index * 2));
      await untilSettled(this.parts, () => call('version.vmstate', { name, vid: record.vid, objects }));
    }
    await untilSettled(this.parts, async () => {
      const session = client.session();
      const mode = create ? ('create' as const) : ('update' as const);
      await client.change(session, address, writeOf(offset, request.payload, { mode, sync: durable }));
    });
  }

  private async remove({ oid, durable }: ObjectRequest): Promise<Answer> {
    const record = await this.recordOf(oid);
    if (!isData(oid)) throw new AppError('invalid', 'objects of this kind go with their volume');
    if (!isWorking(this.parts, record)) throw this.refusalOf(record);
    const entry = await this.parts.inodes.index(record, indexOf(oid), 1);
    if (entry.readUInt32LE() !== record.vid) throw new AppError('no-object', 'no such object');
    await this.parts.inodeWrites.discard(record, indexOf(oid), 1, durable);
    return SUCCESS;
  }

  private async discard({ oid, durable }: ObjectRequest): Promise<Answer> {
    const record = await this.recordOf(oid);
    if (!isData(oid)) throw new AppError('invalid', 'only data is discarded');
    if (!isWorking(this.parts, record)) throw this.refusalOf(record);
    await this.parts.inodeWrites.discard(record, indexOf(oid), 1, durable);
    return SUCCESS;
  }

  private async flush({ oid }: ObjectRequest): Promise<Answer> {
    return this.flushLine(await this.recordOf(oid));
  }

  private async flushLine({ line }: VdiRecord): Promise<Answer> {
    // Of a version that became a snapshot: its client's writes went on into the next one.
    if (workingOf(this.parts, line) !== undefined) {
      await untilSettled(this.parts, () => this.parts.lines.use(line, (handle) => handle.flush()));
    }
    return SUCCESS;
  }

  private async recordOf(oid: bigint): Promise<VdiRecord> {
    const record = await recordNow(this.parts, vidOf(oid));
    if (record === undefined || record.state === 'pending') throw new AppError('no-object', 'no such object');
    return record;
  }

  private refusalOf(record: VdiRecord): AppError {
    // After READONLY clients look for the next version and try again there, for ever where there is none.
    if (record.image !== undefined) return new AppError('not-supported', 'an image cannot be changed');
    if (record.state === 'live' && workingOf(this.parts, record.line) !== undefined) {
      return new AppError('read-only', 'a snapshot cannot be changed');
    }
    return new AppError('no-object', 'the volume has been deleted');
  }
}

function parse(request: Request): ObjectRequest {
  const { header, flags } = request;
  // Written out for the hot path; the table is objRequest of wire/headers.ts.
  const oid = header.readBigUInt64LE(16);
  const wrong = invalidOid(oid);
  if (wrong !== undefined) throw new AppError('invalid', wrong);
  if (header.readUInt32LE(44) !== 0) throw new AppError('invalid', 'no object is so large');
  const offset = header.readUInt32LE(40);
  const isZeroing = request.opcode === Op.WRITE_OBJ && isInode(oid) && zeroesIndex(offset, request.payload);
  return { oid, offset, request, durable: (flags & Flag.CACHE) === 0, isZeroing };
}

function ok(payload: Uint8Array): Answer {
  return { result: Result.SUCCESS, payload };
}

function checkRange(record: VdiRecord, offset: number, length: number): void {
  if (offset + length > 2 ** record.blockSizeShift) {
    throw new AppError('invalid', 'the range is outside of the object');
  }
}

/** The part of a write that lies in the volume. Zeros behind its end are what is there already; more is refused. */
function insideOf(record: VdiRecord, from: number, payload: Buffer): Buffer {
  const inside = Math.max(0, Math.min(payload.length, record.sizeBytes - from));
  if (inside === payload.length) return payload;
  if (
    from >= objectCount(record) * 2 ** record.blockSizeShift ||
    payload.subarray(inside).some((b) => b !== 0)
  ) {
    throw new AppError('invalid', 'the write ends behind the volume');
  }
  return payload.subarray(0, inside);
}

/** A volume that is gone has no objects. */
function asObjectError(error: unknown): never {
  if (AppError.isCode(error, 'no-vdi')) throw new AppError('no-object', 'the volume has been deleted');
  throw error;
}

function zeroesIndex(offset: number, payload: Buffer): boolean {
  return offset >= indexEntryOffset(0) && payload.length > 0 && payload.every((byte) => byte === 0);
}
