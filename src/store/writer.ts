/**
 * The write path. What is submitted in one turn becomes one journal batch: written with one call, then applied to
 * the objects, then acknowledged. All of that is synchronous, so that steps of two writes never mix.
 *
 * FIRST TOUCH. The first change of an object since the current segment began is applied only after its batch is on
 * the platter. So every object whose file may hold changes that were never synced is named in the part of the
 * journal that survives a power cut. The same holds for everything that makes or destroys files. Later operations
 * on the object wait behind it.
 *
 * A crash (kill) between journal and apply: the batch is replayed; the write was not acknowledged, and appears.
 */
import { BLOCK_SIZE } from '../base/bytes.js';
import { AppError } from '../base/errors.js';
import { Acknowledgements } from './acknowledgements.js';
import { applyOperation } from './apply.js';
import { refusalOf, type StoreContext, toStoreError } from './context.js';
import type { DirectFlusher } from './direct-flusher.js';
import { DiskError } from './disk.js';
import { Holds } from './holds.js';
import { heritageFrom } from './inherit.js';
import type { Segment } from './journal.js';
import { BatchBuilder } from './journal-record.js';
import type { StoredObject } from './object-file.js';
import { type Lane, runCopy, runSecured } from './off-batch.js';
import type { Operation, Verdict } from './operation.js';
import { journalBytes, recordOperation } from './operation-records.js';
import { isStructural, keepsLent, planChange, planThin } from './plan-change.js';
import { isPartial, planAdopt, planSpoil } from './planner.js';
import { planConfirm, reconcile } from './refused-apply.js';

export class Writer implements Lane {
  uncommitted: () => readonly bigint[] = () => [];
  /** Called when a batch finds the current segment full or too old; answers whether there is a new one now. */
  onSegmentFull: () => boolean = () => false;
  /** Called after the first batch of a segment. */
  onSegmentUsed: () => void = () => {};
  private queue: Operation[] = [];
  private scheduled = false;
  private readonly holds = new Holds();
  private readonly builder = new BatchBuilder();
  private readonly acknowledgements: Acknowledgements;
  private idleWaiters: (() => void)[] = [];
  private readonly undone: Operation[] = [];

  constructor(
    readonly context: StoreContext,
    private readonly direct: DirectFlusher,
  ) {
    this.acknowledgements = new Acknowledgements(context, direct);
  }

  submit(op: Operation): void {
    const failure = this.context.failure();
    if (failure) {
      op.reject(failure);
    } else if (this.queue.length + this.holds.waiting >= this.context.limits.maxQueuedOps) {
      op.reject(new AppError('again', 'too many writes are waiting'));
    } else {
      this.queue.push(op);
      this.kick();
    }
  }

  /** Something may go on now. */
  wake(): void {
    this.kick();
    this.checkIdle();
  }

  /** The operation comes before all others. */
  goOn(op: Operation): void {
    this.queue.unshift(op);
  }

  kick(): void {
    if (this.scheduled || this.queue.length === 0) return;
    this.scheduled = true;
    this.context.clock.defer(() => {
      this.scheduled = false;
      this.run();
    });
  }

  /** Resolves when nothing is queued, held or waiting for its sync. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.idleWaiters.push(resolve);
      this.checkIdle();
    });
  }

  rejectAll(error: Error): void {
    const operations = [...this.queue, ...this.holds.clear()];
    this.queue = [];
    for (const op of operations) op.reject(error);
    this.checkIdle();
  }

  get busy(): boolean {
    return this.queue.length > 0 || this.holds.size > 0;
  }

  /** Objects with operations that are not applied yet. */
  underWay(): Set<bigint> {
    return new Set([...this.queue.map(({ oid }) => oid), ...this.holds.oids()]);
  }

  private checkIdle(): void {
    if (this.busy || this.idleWaiters.length === 0) return;
    const waiters = this.idleWaiters;
    this.idleWaiters = [];
    for (const resolve of waiters) resolve();
  }

  private run(): void {
    try {
      while (this.queue.length > 0 && !this.context.failure()) if (!this.writeBatch()) break;
    } catch (error) {
      this.context.fail(error);
    }
    this.checkIdle();
  }

  /** Writes and applies one batch; false when the journal is full and the rest has to wait. */
  private writeBatch(): boolean {
    const { journal, limits } = this.context;
    if (journal.current.dirty.size >= limits.maxActiveObjects) this.onSegmentFull();
    const sequence = journal.sequence + 1;
    const planned: Operation[] = [];
    this.plannedMissing.clear();
    const uncommittedCount = this.builder.begin(this.uncommitted(), limits.maxUncommitted);
    let taken = 0;
    let full = false;
    while (taken < this.queue.length) {
      const op = this.queue[taken]!;
      const verdict = this.plan(op, sequence);
      if (verdict === 'later') break;
      if (verdict === 'planned') {
        const bytes = journalBytes(op);
        const limit = planned.length > 0 ? Math.min(limits.maxBatchBytes, journal.room) : journal.room;
        if (this.builder.bytes + bytes > limit) {
          full = this.tooLarge(op, planned.length);
          break;
        }
        recordOperation(this.builder, op, journal.current);
        planned.push(op);
      }
      taken++;
    }
    this.queue.splice(0, taken);
    if (planned.length > 0) this.commit(planned, uncommittedCount);
    // A full segment stops the line only when there is no other: the checkpoint kicks again.
    return !full || this.onSegmentFull();
  }

  /** The operation does not fit in this batch: true when it needs another segment. */
  private tooLarge(op: Operation, before: number): boolean {
    this.unplan(op);
    const { journal } = this.context;
    if (this.builder.bytes + journalBytes(op) > journal.room) {
      if (before === 0 && journal.room === journal.largestBatchBytes) {
        this.queue.splice(this.queue.indexOf(op), 1);
        op.reject(new AppError('invalid', 'the request is larger than the journal'));
        return false;
      }
      return true;
    }
    return false;
  }

  // Planning ----------------------------------------------------------------------------------------------------

  private plan(op: Operation, sequence: number): Verdict {
    if (this.holds.park(op)) return 'aside';
    try {
      return this.planFree(op, sequence);
    } catch (error) {
      op.reject(refusalOf(this.context, error));
      return 'aside';
    }
  }

  private planFree(op: Operation, sequence: number): Verdict {
    const { cache, journal } = this.context;
    const object = cache.get(op.oid);
    const planned = this.plannedMissing.get(op.oid) === sequence || object?.plannedBatch === sequence;
    if (
      planned &&
      (!object || object.plannedBatch !== sequence || isPartial(op) || isStructural(op, object))
    ) {
      return 'later';
    }
    if (op.kind === 'barrier') {
      if (planned) return 'later';
      op.resolve();
      return 'aside';
    }
    op.object = object;
    op.creates = false;
    op.heritage = undefined;
    op.parts = [];
    if (op.mode === 'cow' && (op.kind === 'write' || op.kind === 'zero')) return this.planCow(op, sequence);
    if (object?.lent && !op.secured && !keepsLent(op, object)) return this.planLent(op, object);
    switch (op.kind) {
      case 'remove':
        op.waits = object !== undefined;
        break;
      case 'touch':
        op.waits = false;
        break;
      case 'adopt':
      case 'spoil':
        if (!object) throw new AppError('no-object', 'no such object');
        op.parts = op.kind === 'adopt' ? planAdopt(op, object) : planSpoil(op);
        op.waits = object.activeGeneration !== journal.current.generation;
        break;
      case 'confirm':
        op.parts = object ? planConfirm(op, object) : [];
        op.waits = object !== undefined && object.activeGeneration !== journal.current.generation;
        break;
      default:
        planChange(this.context, op, object);
    }
    op.instance = op.creates || !object ? this.context.nextInstance() : object.instance;
    if (object) {
      object.plannedBatch = isStructural(op, object) ? -2 : sequence;
      cache.pin(object);
    }
    if (!object || isStructural(op, object)) this.plannedMissing.set(op.oid, sequence);
    return 'planned';
  }

  /** Objects that are made or removed by a batch: nothing else about them fits into the same batch. */
  private readonly plannedMissing = new Map<bigint, number>();

  private unplan(op: Operation): void {
    if (!op.object) return;
    op.object.plannedBatch = -1;
    this.context.cache.unpin(op.object);
  }

  // Committing --------------------------------------------------------------------------------------------------

  private commit(operations: Operation[], uncommittedCount: number): void {
    const { journal } = this.context;
    const segment = journal.current;
    const first = segment.lastSequence < 0;
    const sequence = this.append(operations, uncommittedCount);
    if (sequence === undefined) return;
    this.plannedMissing.clear();
    const waiting: Operation[] = [];
    const durable: Operation[] = [];
    // An object's first touch holds back whatever the same batch does to it afterwards.
    for (const op of operations) {
      if (op.waits) {
        waiting.push(op);
        this.holds.hold(op.oid);
        if (op.heritage) this.holds.hold(op.heritage.parent.oid);
      } else {
        this.finish(op, segment, durable);
      }
    }
    this.undoFirst();
    if (durable.length > 0) this.acknowledgements.whenSynced(sequence, durable);
    if (waiting.length > 0) {
      segment.pending += waiting.length;
      journal.onSynced(sequence, (error) => this.applyWaiting(waiting, segment, error));
    }
    if (first) this.onSegmentUsed();
  }

  /** Undefined when the journal failed: the store has stopped then. */
  private append(operations: readonly Operation[], uncommittedCount: number): number | undefined {
    try {
      return this.context.journal.append(this.builder, uncommittedCount);
    } catch (error) {
      this.context.fail(error);
      for (const op of operations) {
        this.unplan(op);
        op.reject(this.context.failure()!);
      }
      return undefined;
    }
  }

  private applyWaiting(operations: Operation[], segment: Segment, error: Error | undefined): void {
    segment.pending -= operations.length;
    const settled: Operation[] = [];
    for (const op of operations) {
      if (error ?? this.context.failure()) op.reject((error ?? this.context.failure())!);
      else this.finish(op, segment, settled);
      this.release(op.oid);
      if (op.heritage) this.release(op.heritage.parent.oid);
    }
    this.undoFirst();
    // The journal is on the platter: what is left is what went straight to the objects.
    if (settled.length > 0) this.acknowledgements.settle(settled);
    this.kick();
    this.checkIdle();
  }

  /** Applies an operation, and acknowledges it unless it asked for more (then it joins `durable`). */
  private finish(op: Operation, segment: Segment, durable: Operation[]): void {
    try {
      if (!this.context.failure()) applyOperation(this.context, this.direct, op, segment);
    } catch (error) {
      if (error instanceof DiskError && error.code === 'no-space') {
        this.refuse(op, toStoreError(error));
        return;
      }
      this.context.fail(error);
    } finally {
      if (op.object) this.context.cache.unpin(op.object);
    }
    const failure = this.context.failure();
    if (failure) op.reject(failure);
    else if (op.sync) durable.push(op);
    // Journal and object are in the page cache: no kill can lose the write (I-1).
    else op.resolve();
  }

  /** Told only when the journal knows, too: a replay would carry it out. */
  private refuse(op: Operation, refusal: AppError): void {
    const tell = () => op.reject(this.context.failure() ?? refusal);
    try {
      this.undone.push(reconcile(this.context, op, tell, tell));
    } catch (error) {
      this.context.fail(error);
      tell();
    }
  }

  /** Before all that waits: it belongs to what has been applied. */
  private undoFirst(): void {
    if (this.undone.length === 0) return;
    this.queue.unshift(...this.undone.splice(0));
    this.kick();
  }

  /** Takes back one hold of an object; what waited for it goes on when it was the last. */
  release(oid: bigint): void {
    // Before everything that came in since: the order of each object's operations is kept.
    const operations = this.holds.release(oid);
    if (operations.length > 0) this.queue.unshift(...operations);
  }

  // Copy on write -----------------------------------------------------------------------------------------------

  private planCow(op: Operation, sequence: number): Verdict {
    const parentOid = op.parent!;
    const source = op.source ?? this;
    if (parentOid !== op.oid && source.holds.has(parentOid)) {
      this.holds.hold(op.oid);
      this.holds.park(op);
      source.holds.whenReleased(parentOid, () => {
        this.release(op.oid);
        this.kick();
      });
      return 'aside';
    }
    const parent = source.context.cache.get(parentOid);
    const parentPlanned =
      source === this &&
      (this.plannedMissing.get(parentOid) === sequence || parent?.plannedBatch === sequence);
    if (parentPlanned) return 'later';
    if (!parent) throw new AppError('no-object', `no parent object ${parentOid.toString(16)}`);
    if (!parent.learnBytes(op.objectBytes)) throw new AppError('invalid', 'parent of another size');
    const isNew = source === this && op.object === undefined && parentOid !== op.oid && !op.whole;
    const heritage = isNew && this.context.canLink ? heritageFrom(parent, op.oid) : undefined;
    if (heritage === undefined) return this.copyWhole(op, parent, source);
    planThin(this.context, op, parent, heritage);
    this.plannedMissing.set(op.oid, sequence);
    this.plannedMissing.set(parentOid, sequence);
    return 'planned';
  }

  private copyWhole(op: Operation, parent: StoredObject, source: Writer): Verdict {
    let allocated = 4;
    for (const sum of parent.table) if (sum !== 0) allocated++;
    this.context.space.need(allocated * BLOCK_SIZE);
    this.holds.hold(op.oid);
    source.holds.hold(parent.oid);
    void runCopy(this, this.builder, this.direct, op, parent, source);
    return 'aside';
  }

  /**
   * A change of a file that others inherit from. Its name may go, once that costs them nothing; a change of its bytes
   * goes to a copy, and the heirs keep the file. That is rare: what has heirs belongs to a snapshot.
   */
  private planLent(op: Operation, object: StoredObject): Verdict {
    if (!isStructural(op, object)) {
      if (!object.learnBytes(op.objectBytes)) throw new AppError('invalid', 'object of another size');
      return this.copyWhole(op, object, this);
    }
    this.holds.hold(op.oid);
    void runSecured(this, op, object);
    return 'aside';
  }
}
