import { AppError } from '../base/errors.js';
import { RangeLocks, type Release } from '../base/range-lock.js';
import type { ObjectAddress } from '../cluster/epochs/address.js';
import { type Mutation, removeOf, writeOf, zeroOf } from '../cluster/objects/mutation.js';
import type { ObjectClient, Session } from '../cluster/objects/object-client.js';
import { dataOid } from '../wire/oid.js';
import type { BlockDevice, BlockDeviceInfo, Extent, WriteOptions, ZeroOptions } from './device.js';
import { addressIn } from './directory.js';
import { addExtent, extentsOf } from './extents.js';
import { FlushHabit } from './flush-habit.js';
import { cutParts, forParts, type Part } from './parts.js';
import type { VdiRecord } from './records.js';
import type { VolumeIndex } from './volume-index.js';

const PREFERRED_BLOCK_BYTES = 4096;
/** Data of one message; ranges to discard are not cut by it. */
const PART_BYTES_MAX = 4 * 1024 * 1024;

/** The change of one object, as it is made when the object is there, is new, or is copied from an ancestor's. */
type Build = (how: { mode: Mutation['mode']; parent?: bigint }) => Mutation;

export interface OwnerWriteOptions extends WriteOptions {
  /** Takes over the lock of the range when the change is done, instead of its release. */
  readonly keep?: (release: Release) => void;
  /** Asked before the change begins: false when whoever wanted it is gone. */
  readonly isWanted?: () => boolean;
}

export interface VolumeDeviceOptions {
  readonly client: ObjectClient;
  readonly session: Session;
  readonly name: string;
  readonly record: VdiRecord;
  readonly index: VolumeIndex;
  /** Snapshots never change. */
  readonly readOnly: boolean;
  /** An object that the index names is missing: throws when the version itself has been deleted. */
  readonly confirmLive?: () => Promise<void>;
  /** The records here do not show the version as it was opened: its vid may be another one's by now. */
  readonly isDoubtful?: () => boolean;
  /** Nobody sees the version before it is complete; whoever cleans up after a crash finds its objects by the index. */
  readonly entriesFirst?: boolean;
  /** After a write or discard stopped referring to an inherited object, which may now be nobody's. */
  readonly onReleased: (index: number, owner: number) => void;
}

/**
 * A volume as its one owner serves it (I-9): cuts requests into objects, keeps the index, does copy-on-write. Requests
 * that overlap run in the order of their arrival.
 */
export class VolumeDevice implements BlockDevice {
  record: VdiRecord;
  readonly index: VolumeIndex;
  private readonly ranges = new RangeLocks<'bytes'>();
  /** Changes under way: reads of the same bytes wait, so that a change whose client is gone has its outcome (I-2). */
  private readonly running = new RangeLocks<'bytes'>();
  /** Held shared by every change, alone by what needs a still volume. */
  private readonly gate = new RangeLocks<'gate'>();
  /** First writes into an object: others wait until it is there. */
  private readonly making = new Map<number, Promise<void>>();
  private readonly flushes = new FlushHabit();
  private ended = false;
  /** There may be an object of the present version that its index does not name: making one failed. */
  loose = false;
  private readonly resizeListeners = new Set<(sizeBytes: number) => void>();

  constructor(private readonly options: VolumeDeviceOptions) {
    this.record = options.record;
    this.index = options.index;
  }

  info(): BlockDeviceInfo {
    return {
      name: this.options.name,
      sizeBytes: this.record.sizeBytes,
      readOnly: this.options.readOnly,
      preferredBlockBytes: PREFERRED_BLOCK_BYTES,
      objectBytes: this.objectBytes,
    };
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    this.checkRange(offset, length);
    if (this.running.size > 0) await this.settled(offset, length);
    const parts = this.parts(offset, length, PART_BYTES_MAX);
    if (parts.length === 1) return this.readPart(parts[0]!);
    const out = Buffer.allocUnsafe(length);
    await forParts(parts, async (part) => {
      out.set(await this.readPart(part), part.at);
    });
    return out;
  }

  async write(offset: number, data: Uint8Array, options: OwnerWriteOptions = {}): Promise<void> {
    const build = (part: Part, sync: boolean) => (how: { mode: Mutation['mode']; parent?: bigint }) =>
      writeOf(part.offset, data.subarray(part.at, part.at + part.length), { ...how, sync });
    const work = (part: Part, sync: boolean) => this.writePart(part, build(part, sync));
    await this.change(offset, data.length, PART_BYTES_MAX, work, options);
  }

  async writeZeroes(offset: number, length: number, options: ZeroOptions & OwnerWriteOptions): Promise<void> {
    const work = (part: Part, sync: boolean) => this.zeroPart(part, !options.mayUnmap, sync);
    await this.change(offset, length, Number.MAX_SAFE_INTEGER, work, options);
  }

  async discard(offset: number, length: number, options: OwnerWriteOptions = {}): Promise<void> {
    const work = (part: Part, sync: boolean) => this.zeroPart(part, false, sync);
    await this.change(offset, length, Number.MAX_SAFE_INTEGER, work, options);
  }

  async flush(): Promise<void> {
    const { client, session } = this.options;
    const mark = this.flushes.beginFlush();
    // Every change since the last flush was durable before it was acknowledged.
    if (mark === undefined) return client.confirm(session);
    await client.flush(session, this.record);
    this.flushes.flushedAll(mark);
  }

  async blockStatus(offset: number, length: number, limit: number): Promise<Extent[]> {
    this.checkRange(offset, length);
    const extents: Extent[] = [];
    for (const part of this.parts(offset, length)) {
      for (const extent of await this.partStatus(part))
        if (!addExtent(extents, extent, limit)) return extents;
    }
    return extents;
  }

  onResize(listener: (sizeBytes: number) => void): () => void {
    this.resizeListeners.add(listener);
    return () => this.resizeListeners.delete(listener);
  }

  async close(): Promise<void> {}

  /** The volume has been deleted: every later request is refused. */
  end(): void {
    this.ended = true;
  }

  /** Runs `work` while no change is under way and none begins. */
  async still<T>(work: () => Promise<T>): Promise<T> {
    const release = await this.gate.acquire('gate', 0, 1, true);
    try {
      return await work();
    } finally {
      release();
    }
  }

  /** The same, and reads that begin meanwhile wait: what they would show is about to change (I-2). To call within. */
  async unread<T>(work: () => Promise<T>): Promise<T> {
    const release = await this.running.acquire('bytes', 0, Number.MAX_SAFE_INTEGER, true);
    try {
      return await work();
    } finally {
      release();
    }
  }

  /** The same volume goes on as another version (snapshot, rollback) or with another size. */
  continueAs(record: VdiRecord): void {
    const grown = record.sizeBytes !== this.record.sizeBytes;
    if (record.vid !== this.record.vid) this.loose = false;
    this.record = record;
    this.index.continueAs(record);
    if (grown) for (const listener of this.resizeListeners) listener(record.sizeBytes);
  }

  private get objectBytes(): number {
    return 2 ** this.record.blockSizeShift;
  }

  private checkRange(offset: number, length: number): void {
    if (this.ended) throw new AppError('no-vdi', 'the volume has been deleted');
    if (offset < 0 || length < 0 || offset + length > this.record.sizeBytes) {
      throw new AppError(
        'invalid',
        `range ${offset}+${length} is outside the volume of ${this.record.sizeBytes} bytes`,
      );
    }
  }

  private async change(
    offset: number,
    length: number,
    partMax: number,
    work: (part: Part, sync: boolean) => Promise<void>,
    { fua, keep, isWanted, version }: OwnerWriteOptions,
  ): Promise<void> {
    if (this.options.readOnly) throw new AppError('read-only', 'a snapshot cannot be changed');
    this.checkRange(offset, length);
    if (length === 0) return;
    const sync = this.flushes.begin(length, fua ?? false);
    const open = await this.gate.acquire('gate', 0, 1, false);
    let release: Release | undefined;
    let durable = false;
    try {
      release = await this.ranges.acquire('bytes', offset, offset + length, true);
      if (isWanted?.() === false) throw new AppError('network', 'the gateway that asked for this is gone');
      this.checkRange(offset, length);
      // Behind the gate: a snapshot is made before all of this or after it.
      if (version !== undefined && version !== this.record.vid) {
        throw new AppError('read-only', 'the volume goes on as another version');
      }
      const parts = this.parts(offset, length, partMax);
      const done = await this.running.acquire('bytes', offset, offset + length, true);
      try {
        if (parts.length === 1) await work(parts[0]!, sync);
        else await forParts(parts, (part) => work(part, sync));
        durable = sync;
      } finally {
        done();
      }
      if (keep !== undefined) {
        keep(release);
        release = undefined;
      }
    } finally {
      this.flushes.end(durable);
      release?.();
      open();
    }
  }

  private parts(offset: number, length: number, partMax = Number.MAX_SAFE_INTEGER): Part[] {
    return cutParts(offset, length, this.objectBytes, partMax);
  }

  private address(owner: number, index: number) {
    return addressIn(this.record, dataOid(owner, index));
  }

  /** Resolves when no change of these bytes is under way that was there before. */
  private async settled(offset: number, length: number): Promise<void> {
    const release = await this.running.acquire('bytes', offset, offset + length, false);
    release();
    this.checkRange(offset, length);
  }

  private async readPart(part: Part): Promise<Uint8Array> {
    const { client, session } = this.options;
    const bytes = await this.fromOwner(part.index, (address) =>
      orMissing(client.read(session, address, part.offset, part.length)),
    );
    return bytes ?? new Uint8Array(part.length);
  }

  /** What the object says that the index has at this place (`ask`: undefined when it is missing); undefined: a hole. */
  private async fromOwner<T>(
    index: number,
    ask: (address: ObjectAddress) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    for (;;) {
      if (this.index.isUnsaved(index)) await this.saved(index);
      const owner = this.index.entries[index]!;
      if (owner === 0) {
        this.confirmHole();
        return undefined;
      }
      const answer = await ask(this.address(owner, index));
      // A discard removes the object first, and a power cut may keep the entry alone: then it is a hole.
      const isMissing = answer === undefined;
      if (isMissing && this.index.entries[index] !== owner) continue;
      // Or the whole version has been deleted meanwhile, and this object with it: that must not pass for zeros.
      if (isMissing || this.options.isDoubtful?.()) await this.options.confirmLive?.();
      return answer;
    }
  }

  /** What the inode may not have goes with this owner: nobody is shown it before (I-2). */
  private async saved(index: number): Promise<void> {
    if (this.index.isUnsaved(index)) await this.index.set(index, this.index.entries[index]!);
  }

  /** No replica is asked about a hole, so nobody else notices when this gateway has lost the volume (I-2, I-9). */
  private confirmHole(): void {
    if (!this.options.readOnly) this.options.client.confirm(this.options.session);
  }

  private async writePart(part: Part, build: Build): Promise<void> {
    const { client, session } = this.options;
    const { vid } = this.record;
    for (;;) {
      const making = this.making.get(part.index);
      if (making !== undefined) {
        await making.catch(() => {
          // Its own request reports that; this one tries for itself.
        });
        continue;
      }
      const owner = this.index.entries[part.index]!;
      const address = this.address(vid, part.index);
      if (owner === vid) {
        const write = client.change(session, address, build({ mode: 'ensure' }));
        return this.index.isUnsaved(part.index) ? both(write, this.saved(part.index)) : write;
      }
      return this.make(part.index, this.makeObject(part.index, owner, build));
    }
  }

  /**
   * The object is whole before the index points to it: a crash in between leaves the volume as it was. A new one too:
   * an old one may be there whose entry a power cut or a crash took away, and must not be seen again (I-2).
   */
  private async makeObject(index: number, owner: number, build: Build): Promise<void> {
    const { onReleased, entriesFirst } = this.options;
    const { vid } = this.record;
    if (entriesFirst) return this.makeListed(index, owner, build);
    await this.fill(index, owner, build);
    await this.index.set(index, vid);
    if (owner !== 0) onReleased(index, owner);
  }

  private async makeListed(index: number, owner: number, build: Build): Promise<void> {
    await this.index.set(index, this.record.vid);
    try {
      await this.fill(index, owner, build);
    } catch (error) {
      await this.index.set(index, owner).catch(() => {
        // Marked as unsaved: it is tried again before anything relies on it.
      });
      throw error;
    }
  }

  private async fill(index: number, owner: number, build: Build): Promise<void> {
    const { client, session } = this.options;
    const address = this.address(this.record.vid, index);
    const create = () => client.change(session, address, build({ mode: 'create' }));
    if (owner === 0) return create();
    try {
      await client.change(session, address, build({ mode: 'cow', parent: dataOid(owner, index) }));
    } catch (error) {
      if (!AppError.isCode(error, 'no-object')) throw error;
      // The ancestor's entry was set, but its object is not there: there is nothing to copy.
      await create();
    }
  }

  private async make(index: number, work: Promise<unknown>): Promise<void> {
    const made = work.then(() => {});
    this.making.set(index, made);
    try {
      await made;
    } catch (error) {
      this.loose = true;
      throw error;
    } finally {
      this.making.delete(index);
    }
  }

  private async zeroPart(part: Part, allocate: boolean, sync: boolean): Promise<void> {
    const { client, session, onReleased } = this.options;
    await this.making.get(part.index)?.catch(() => {});
    const owner = this.index.entries[part.index]!;
    if (allocate) {
      return this.writePart(part, (how) => zeroOf(part.offset, part.length, { ...how, sync, allocate }));
    }
    if (owner === 0) return this.saved(part.index);
    if (part.length === this.objectSize(part.index)) {
      if (owner === this.record.vid)
        await client.change(session, this.address(owner, part.index), removeOf(sync));
      await this.index.set(part.index, 0);
      if (owner !== this.record.vid) onReleased(part.index, owner);
      return;
    }
    await this.writePart(part, (how) => zeroOf(part.offset, part.length, { ...how, sync, allocate: false }));
  }

  /** The last object ends with the volume. */
  private objectSize(index: number): number {
    return Math.min(this.objectBytes, this.record.sizeBytes - index * this.objectBytes);
  }

  private async partStatus(part: Part): Promise<Extent[]> {
    const { client, session } = this.options;
    const runs = await this.fromOwner(part.index, (address) => client.status(session, address, part));
    return extentsOf(runs, part);
  }
}

/** Undefined instead of an error when the object is missing. */
async function orMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (!AppError.isCode(error, 'no-object')) throw error;
    return undefined;
  }
}

/** Waits for both also when one fails: what is still under way could otherwise arrive after the client's next try. */
async function both(first: Promise<void>, second: Promise<void>): Promise<void> {
  for (const settled of await Promise.allSettled([first, second])) {
    if (settled.status === 'rejected') throw settled.reason;
  }
}
