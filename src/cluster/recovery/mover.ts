import { AppError } from '../../base/errors.js';
import { forEachLimit } from '../../base/signal.js';
import { isInode } from '../../wire/oid.js';
import { isWhole } from '../epochs/epoch.js';
import type { ObjectLists } from '../objects/object-lists.js';
import { type EpochContext, EpochEnded, type ObjectNode } from '../objects/object-node.js';
import type { Comparison } from './comparison.js';
import { MoveList } from './mover-list.js';
import type { RecoveryPace } from './pace.js';
import { reserve } from './recovery-space.js';

const RETRY_MS = 50;
/** Waiting for somebody who is away, for room, or for a disk. */
const WAIT_MS = 1000;
/** Objects under way at once; how many really run is the pace's affair. */
const PARALLEL = 16;
/** Objects that could not be taken over now and are tried again at the end; with more of them the walk waits. */
const LATER_MAX = 4096;
/** Objects of a page that are looked for in the store, to estimate how many of all are here already. */
const LOOKED_FOR = 64;

/** What a node has been given so far; for people. */
export interface MoveProgress {
  /** Objects compared, and an estimate of those still to be. */
  readonly done: number;
  readonly remaining: number;
  readonly movedBytes: number;
  /** Why nothing happens, if so. */
  readonly waiting?: 'paused' | 'no-space' | 'holders' | 'unreadable';
  /** In words. */
  readonly reason?: string;
}

/**
 * Takes over what this node is to hold (D-4, D-5): all that the target of a move places on it, and all that it should
 * have and may not have any more since it lost a disk. Every write reaches it meanwhile, so what has been compared
 * stays right; when all has been, it says so. A new epoch interrupts the walk, and it goes on where it was.
 *
 * Nothing is copied before it is known to fit (I-8). A block that no replica can read is marked as unreadable here too:
 * the move must not wait for it for ever, and a hole in its place would be read as zeros (I-7); unless a sheep that is
 * down may have it: then the move waits, for afterwards nobody would ask that one any more. What cannot be compared
 * for another reason is passed by, tried again at the end, and holds up only that this node says it has everything.
 */
export class Mover {
  private key = '';
  private cursor = 0n;
  /** Everybody who could know of an object was there whenever lists were asked for since the walk began. */
  private sure = true;
  /** Before the cursor, but not compared. */
  private readonly later = new Set<bigint>();
  private completeFor = '';
  private done = 0;
  private remaining = 0;
  private movedBytes = 0;
  private waiting: MoveProgress['waiting'];
  private reason = '';
  /** The last one of an object that has to wait. */
  private failure: unknown;

  constructor(
    private readonly node: ObjectNode,
    private readonly comparison: Comparison,
    private readonly lists: ObjectLists,
    private readonly pace: RecoveryPace,
  ) {}

  get progress(): MoveProgress {
    const waiting = this.remaining > 0 && this.pace.paused ? 'paused' : this.waiting;
    const { done, remaining, movedBytes, reason } = this;
    return { done, remaining, movedBytes, ...(waiting !== undefined && { waiting, reason }) };
  }

  /** It has been given all that it may have lost before it came up in this epoch's view of it. */
  isWhole(context: EpochContext): boolean {
    return !context.view.self?.incomplete || this.completeFor === keyOf(context);
  }

  /** Called with every epoch in which this node is up. Resolves when nothing is left to do in it. */
  async enter(context: EpochContext): Promise<void> {
    const { self, record } = context.view;
    const moves = record.move !== undefined && self?.moved !== record.move;
    if (self === undefined || (!moves && !self.incomplete)) {
      this.remaining = 0;
      this.waiting = undefined;
      return;
    }
    this.begin(context);
    while (context === this.node.context && !this.node.stopped) {
      try {
        if (await this.walk(context)) return;
      } catch (error) {
        if (error instanceof EpochEnded) return;
        this.noteWaiting(error);
      }
      await this.node.pauseInEpoch(context, this.waiting === undefined ? RETRY_MS : WAIT_MS);
    }
  }

  private begin(context: EpochContext): void {
    const key = keyOf(context);
    if (this.key === key) return;
    this.key = key;
    // What was said of another target is void. What a node that was behind has said of having caught up is not: it may
    // be believed in the next epoch, so from then on it must not lack anything.
    const { self } = context.view;
    if (self === undefined || isWhole(self)) this.node.strict = false;
    this.cursor = 0n;
    this.sure = true;
    this.later.clear();
    this.done = 0;
    this.movedBytes = 0;
    this.waiting = undefined;
  }

  private noteWaiting(error: unknown): void {
    const { code, message } = AppError.from(error);
    const former = this.waiting;
    this.waiting =
      code === 'no-space'
        ? 'no-space'
        : code === 'again'
          ? 'holders'
          : isUnreadable(error)
            ? 'unreadable'
            : undefined;
    const isNews = this.waiting !== former || this.reason !== message;
    this.reason = message;
    const { log } = this.node.options;
    if (isNews) log.warn({ err: message }, 'taking objects over was interrupted, going on');
    else log.debug({ err: message }, 'taking objects over still waits');
  }

  /** True: everything has been compared, and that was said. */
  private async walk(context: EpochContext): Promise<boolean> {
    const { node } = this;
    const { view } = context;
    await Promise.race([context.peered.promise, view.ended.promise]);
    const { moveUnfinished } = node.options.mutants ?? {};
    if (this.completeFor !== this.key && !moveUnfinished) await this.takeAll(context);
    // Somebody who knows more of some objects may not have been there to list them.
    if (!view.everySetServed(node.options.copiesInUse()))
      throw new AppError('again', 'some holders are awaited');
    await this.comparison.complete(context);
    await node.store.flush();
    if (context !== node.context) throw new EpochEnded();
    if (this.completeFor !== this.key) {
      node.options.log.info(
        { objects: this.done, bytes: this.movedBytes },
        'this node has been given its objects',
      );
    }
    this.completeFor = this.key;
    this.remaining = 0;
    this.waiting = undefined;
    const { move } = view.record;
    if (move !== undefined) await node.options.membership.declareMoved(move);
    return true;
  }

  /** Resolves when all that anybody knows of has been compared. */
  private async takeAll(context: EpochContext): Promise<void> {
    const { node } = this;
    if (!context.view.everySetServed(node.options.copiesInUse())) this.sure = false;
    else if (!this.sure) {
      // Who was away then may know of objects that the walk has passed: it has to pass there again.
      this.sure = true;
      this.cursor = 0n;
    }
    const list = await MoveList.open(node, this.lists, context, this.cursor);
    for (;;) {
      const page = await list.next();
      if (context !== node.context) throw new EpochEnded();
      this.remaining = list.remaining + page.length + this.later.size;
      if (page.length === 0) break;
      this.makeSureItFits(page, list);
      await this.take(context, page);
      // A walk for another target may have begun at the beginning: its cursor is none of this one's business.
      if (context !== node.context) throw new EpochEnded();
      this.waiting = undefined;
      this.cursor = page[page.length - 1]!;
      if (this.later.size > LATER_MAX) break;
    }
    await this.takeLater(context);
  }

  /** Room is there before anything is copied (I-8). What is here already, from an earlier try, needs none. */
  private makeSureItFits(page: readonly bigint[], list: MoveList): void {
    const { store } = this.node;
    const step = Math.max(1, Math.floor(page.length / LOOKED_FOR));
    const looked = page.filter((_, i) => i % step === 0);
    const missing = looked.filter((oid) => !store.has(oid)).length / looked.length;
    reserve(store, missing * (page.length + list.remainingObjects) * list.bytesPerObject);
  }

  private async take(context: EpochContext, page: Iterable<bigint>): Promise<void> {
    await forEachLimit(page, PARALLEL, async (oid) => {
      try {
        const bytes = await this.pace.run(() => this.comparison.run(context, oid, true), isInode(oid));
        this.movedBytes += bytes;
        this.later.delete(oid);
        this.done++;
        this.remaining = Math.max(0, this.remaining - 1);
      } catch (error) {
        if (!AppError.isCode(error, 'again') && !isUnreadable(error)) throw error;
        this.later.add(oid);
        this.failure = error;
      }
    });
  }

  private async takeLater(context: EpochContext): Promise<void> {
    if (this.later.size === 0) return;
    await this.take(context, [...this.later]);
    if (context !== this.node.context) throw new EpochEnded();
    if (this.later.size === 0) return;
    const { code, message } = AppError.from(this.failure);
    throw new AppError(code, `${this.later.size} objects have to wait: ${message}`, { cause: this.failure });
  }
}

/** A disk somewhere does not give what it should. */
function isUnreadable(error: unknown): boolean {
  return AppError.isCode(error, 'io', 'checksum');
}

/** What a walk is for: a move, and a loss of this start of the node. */
function keyOf(context: EpochContext): string {
  const { self, record } = context.view;
  return `${record.move ?? 0}/${self?.incomplete ? self.upSince : 0}`;
}
