/**
 * The object store: what stands behind ObjectStore. It joins the parts; each of them says in its own file what it
 * promises. Timers: one, for the age of the current journal segment.
 */
import { BLOCK_SIZE } from '../base/bytes.js';
import type { Clock, Timer } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { markDirty } from './apply.js';
import { checkRequest } from './check-request.js';
import { checkpointSegment } from './checkpoint.js';
import { type StoreContext, toStoreError } from './context.js';
import { DirectFlusher } from './direct-flusher.js';
import type { Disk } from './disk.js';
import type { Journal } from './journal.js';
import type { StoreLimits } from './limits.js';
import { NewBases } from './new-bases.js';
import type { ObjectCache } from './object-cache.js';
import { objectIds } from './object-path.js';
import type { BlockRun, ObjectStore, StoreStats, StoreWrite, StoreZero } from './object-store.js';
import { newOperation, type OperationRequest } from './operation.js';
import { blockRuns, checkRange, readObject, verifyObject } from './reader.js';
import { Space } from './space.js';
import { firstInstance, type Superblock, writeSuperblock } from './superblock.js';
import type { Suspects } from './suspects.js';
import { tidyUp } from './tidy-up.js';
import type { TouchedLog } from './touched-log.js';
import { Trimmer } from './trimmer.js';
import { Writer } from './writer.js';

const ADOPT_BLOCKS = 16;

/** What recovery hands over. */
export interface StoreParts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: StoreLimits;
  readonly cache: ObjectCache;
  readonly touched: TouchedLog;
  readonly suspects: Suspects;
  readonly superblock: Superblock;
  readonly lossy: boolean;
  readonly canLink: boolean;
  /** What requests get once the store has stopped. */
  readonly failureCode: 'io' | 'again';
  readonly makeJournal: (onFailure: (error: unknown) => void) => Journal;
}

export class Store implements ObjectStore {
  readonly failed: Promise<Error>;
  lossy: boolean;
  /** For disks/, which joins several stores. */
  readonly context: StoreContext;
  private readonly direct = new DirectFlusher();
  private readonly writer: Writer;
  private readonly suspectList: Suspects;
  private superblock: Superblock;
  private superblockWrite: Promise<void> = Promise.resolve();
  private failure: AppError | undefined;
  private readonly failureCode: 'io' | 'again';
  private resolveFailed: (error: Error) => void = () => {};
  private timer: Timer | undefined;
  private checkpointing: Promise<void> | undefined;
  private closing: Promise<void> | undefined;
  private instanceCount = 0;

  constructor(parts: StoreParts) {
    const { disk, clock, log, limits, cache, touched } = parts;
    this.failed = new Promise((resolve) => {
      this.resolveFailed = resolve;
    });
    this.lossy = parts.lossy;
    this.failureCode = parts.failureCode;
    this.suspectList = parts.suspects;
    this.superblock = parts.superblock;
    const fail = (error: unknown) => this.fail(error);
    this.context = {
      disk,
      clock,
      log,
      limits,
      cache,
      touched,
      newBases: new NewBases(),
      canLink: parts.canLink,
      trimmer: new Trimmer(),
      journal: parts.makeJournal(fail),
      space: new Space(disk, clock, limits.reserveBytes),
      nextInstance: () => firstInstance(parts.superblock) + ++this.instanceCount,
      fail,
      failure: () => this.failure,
      isReplaceable: parts.failureCode === 'again',
      usedBytes: parts.superblock.usedBytes,
      checksumErrors: 0,
    };
    this.writer = new Writer(this.context, this.direct);
    this.direct.context = this.context;
    this.context.trimmer.context = this.context;
    this.direct.pending = () => this.writer.busy;
    this.writer.onSegmentFull = () => this.switchSegment();
    this.writer.onSegmentUsed = () => this.startTimer();
  }

  // Reading -----------------------------------------------------------------------------------------------------

  read(oid: bigint, offset: number, length: number): Uint8Array | Promise<Uint8Array> {
    try {
      return readObject(this.context, oid, offset, length);
    } catch (error) {
      throw toStoreError(error);
    }
  }

  has(oid: bigint): boolean {
    return this.context.cache.get(oid) !== undefined;
  }

  objectBytes(oid: bigint): number | undefined {
    return this.context.cache.get(oid)?.objectBytes;
  }

  /** Epoch of the object's last change; undefined when it is missing. */
  objectEpoch(oid: bigint): number | undefined {
    return this.context.cache.get(oid)?.epoch;
  }

  blockRuns(oid: bigint): BlockRun[] | undefined {
    const object = this.context.cache.get(oid);
    return object && blockRuns(object);
  }

  checksums(oid: bigint): Uint32Array | undefined {
    return this.context.cache.get(oid)?.table.slice();
  }

  async verify(oid: bigint, options: { readonly fromDevice?: boolean } = {}): Promise<number[]> {
    const { bad, tailDamaged } = await verifyObject(this.context, oid, options.fromDevice === true);
    if (tailDamaged) this.mendTail(oid);
    return bad;
  }

  /** The next checkpoint writes the object's checksums anew. A crash before it leaves the damage for the next scrub. */
  private mendTail(oid: bigint): void {
    const { cache, log, journal } = this.context;
    const object = cache.get(oid);
    if (object === undefined || object.dirtyIn > 0 || this.failure) return;
    this.context.checksumErrors++;
    log.warn({ oid: oid.toString(16) }, 'checksums on the disk are damaged: they are written anew');
    markDirty(journal.current, object);
    // With batches in it the segment has its timer.
    if (journal.current.lastSequence < 0) this.startTimer();
  }

  async *objects(vid?: number): AsyncIterable<bigint> {
    yield* objectIds(this.context.disk, vid);
  }

  // Changing ----------------------------------------------------------------------------------------------------

  /** `source`: the store that has the parent of a copy, when it is another one. */
  write(request: StoreWrite, source?: Store): Promise<void> {
    // Field by field: this runs for each write, and a spread would cost as much as the rest of it.
    const { oid, objectBytes, mode, parent, whole, epoch, offset, data, dataSums, sync } = request;
    const { length } = data;
    const what = {
      kind: 'write',
      oid,
      objectBytes,
      mode,
      parent,
      whole,
      epoch,
      offset,
      length,
      data,
      dataSums,
      sync,
    } as const;
    return this.submit(what, source);
  }

  zero(request: StoreZero, source?: Store): Promise<void> {
    return this.submit({ ...request, kind: 'zero', data: undefined }, source);
  }

  /** Objects with changes that are not applied yet. */
  underWay(): Set<bigint> {
    return this.writer.underWay();
  }

  /** Resolves when every change of the object that was asked for before is applied or refused. */
  barrier(oid: bigint): Promise<void> {
    return this.submit({ kind: 'barrier', oid, epoch: 0 });
  }

  remove(oid: bigint, epoch: number, sync: boolean): Promise<void> {
    return this.submit({ kind: 'remove', oid, epoch, sync });
  }

  touch(oid: bigint, epoch: number): Promise<void> {
    return this.submit({ kind: 'touch', oid, epoch });
  }

  async adopt(oid: bigint, blocks: readonly number[]): Promise<void> {
    const object = this.context.cache.get(oid);
    if (!object) throw new AppError('no-object', `no object ${oid.toString(16)}`);
    const { objectBytes, epoch } = object;
    const known = blocks.filter((block) => block >= 0 && block < object.blocks);
    const slices: Promise<void>[] = [];
    for (let at = 0; at < known.length; at += ADOPT_BLOCKS) {
      const slice = known.slice(at, at + ADOPT_BLOCKS);
      slices.push(this.submit({ kind: 'adopt', oid, objectBytes, epoch, blocks: slice }));
    }
    await Promise.all(slices);
  }

  async spoil(oid: bigint, blocks: readonly number[], sums: readonly number[], epoch: number): Promise<void> {
    const object = this.context.cache.get(oid);
    if (!object) throw new AppError('no-object', `no object ${oid.toString(16)}`);
    for (const block of blocks) checkRange(object, block * BLOCK_SIZE, 1);
    await this.submit({ kind: 'spoil', oid, objectBytes: object.objectBytes, epoch, blocks, sums });
  }

  async flush(): Promise<void> {
    if (this.failure) throw this.failure;
    const { journal } = this.context;
    await Promise.all([journal.synced(journal.sequence), this.direct.flush()]);
    if (this.failure) throw this.failure;
  }

  // Epochs and suspects -----------------------------------------------------------------------------------------

  async touchedSince(epoch: number): Promise<bigint[]> {
    return this.context.touched.since(epoch);
  }

  async forgetTouchedBefore(epoch: number): Promise<void> {
    this.context.touched.forgetBefore(epoch);
  }

  /** One disk is there as a whole or not at all. */
  readonly incomplete = false;
  onIncomplete(): void {}
  admitIncomplete(): void {}
  async clearIncomplete(): Promise<void> {}

  setUncommittedSource(source: () => readonly bigint[]): void {
    this.writer.uncommitted = source;
  }

  suspects(): ReadonlySet<bigint> {
    return this.suspectList.oids;
  }

  async clearSuspects(oids: readonly bigint[]): Promise<void> {
    // What tells the absent of these objects instead, that they were touched, must outlast a power cut first (D-5).
    if (oids.some((oid) => this.suspectList.oids.has(oid))) await this.flush();
    try {
      await this.suspectList.clear(oids);
    } catch (error) {
      const failure = toStoreError(error);
      // The file names some too many then, which costs a comparison after the next start.
      if (failure.code !== 'no-space') throw failure;
    }
  }

  /** Durable when it resolves: suspects of a disk that is taken out. */
  async addSuspects(oids: Iterable<bigint>, torn: (oid: bigint) => boolean): Promise<void> {
    for (const oid of oids) this.suspectList.add(oid, torn(oid));
    await this.suspectList.save();
  }

  mayBeTorn(oid: bigint): boolean {
    return this.suspectList.torn.has(oid);
  }

  readonly stats = (): StoreStats => {
    const { disk, checksumErrors, journal } = this.context;
    // Counted by what changes: of an object that lost its checksums it is not known.
    const usedBytes = Math.max(0, this.context.usedBytes);
    const { totalBytes, freeBytes } = disk.space();
    const { syncs: journalSyncs, batches: journalBatches } = journal;
    return { totalBytes, freeBytes, usedBytes, journalSyncs, journalBatches, checksumErrors };
  };

  // Life --------------------------------------------------------------------------------------------------------

  /** Makes the journal empty: everything is in the objects, durable. */
  async checkpoint(): Promise<void> {
    await this.writer.idle();
    while (this.checkpointing) await this.checkpointing;
    if (this.failure) throw this.failure;
    this.switchSegment();
    await this.checkpointing;
    if (this.failure) throw this.failure;
  }

  /** After a crash (tidy-up.ts). */
  tidy(): Promise<void> {
    return tidyUp(this.context, this.objects(), firstInstance(this.superblock));
  }

  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  /** The cluster has made up for what this store had lost: a restart need not say so again. */
  async clearLossy(): Promise<void> {
    if (!this.lossy || this.closing !== undefined) return;
    this.lossy = false;
    this.superblock = { ...this.superblock, lossy: false };
    this.superblockWrite = writeSuperblock(this.context.disk, this.superblock);
    await this.superblockWrite;
  }

  private async shutDown(): Promise<void> {
    const { disk, journal, cache, touched } = this.context;
    try {
      if (this.failure) return;
      await this.writer.idle();
      await this.checkpoint();
      await this.superblockWrite.catch(() => {});
      const { usedBytes } = this.context;
      await writeSuperblock(disk, { ...this.superblock, clean: true, usedBytes });
    } finally {
      this.timer?.cancel();
      this.context.trimmer.stop();
      this.failure ??= new AppError('shutdown', 'the store is closed');
      this.writer.rejectAll(this.failure);
      journal.fail(this.failure);
      journal.close();
      touched.close();
      cache.closeAll();
    }
  }

  private submit(request: OperationRequest, source?: Store): Promise<void> {
    return new Promise((resolve, reject) => {
      const op = newOperation(request, source?.writer, resolve, reject);
      if (op.kind === 'write' || op.kind === 'zero') checkRequest(op);
      this.writer.submit(op);
    });
  }

  /** What stopped the store; undefined while it works. */
  get stopped(): AppError | undefined {
    return this.failure;
  }

  get identity(): Superblock {
    return this.superblock;
  }

  /** Stops the store for a reason that it cannot know. Its files stay open until `close`. */
  abandon(cause: Error): void {
    this.fail(cause);
  }

  private fail(cause: unknown): void {
    if (this.failure) return;
    const message = cause instanceof Error ? cause.message : String(cause);
    this.failure = new AppError(this.failureCode, `the store has stopped: ${message}`, { cause });
    this.context.log.error({ err: message }, 'the store has stopped');
    this.timer?.cancel();
    this.context.journal.fail(this.failure);
    this.writer.rejectAll(this.failure);
    this.resolveFailed(this.failure);
  }

  private startTimer(): void {
    this.timer?.cancel();
    this.timer = this.context.clock.after(this.context.limits.checkpointAgeMs, () => {
      // When the other segment is still being checkpointed, this one is next anyway.
      if (!this.switchSegment()) this.startTimer();
    });
  }

  /** Begins the checkpoint of the current segment; false when the other one is not free yet. */
  private switchSegment(): boolean {
    const { journal } = this.context;
    const old = journal.current;
    if (this.failure || !journal.switch()) return false;
    this.timer?.cancel();
    const saveUncommitted = () => this.suspectList.keepInFlight(this.writer.uncommitted());
    this.checkpointing = checkpointSegment(this.context, this.direct, old, saveUncommitted)
      .catch((error) => this.fail(error))
      .finally(() => {
        this.checkpointing = undefined;
        this.writer.kick();
      });
    return true;
  }
}
