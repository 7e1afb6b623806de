import { AppError } from '../../base/errors.js';
import { forEachLimit } from '../../base/signal.js';
import { isInode } from '../../wire/oid.js';
import { emptyMessage, PeerType } from '../../wire/peer-message.js';
import { type EpochContext, EpochEnded, type ObjectNode } from '../objects/object-node.js';
import { decodeOids } from '../objects/oid-list.js';
import { MISSED_PAGE_ENTRIES } from '../objects/replica.js';
import type { Comparison } from './comparison.js';
import type { Mover } from './mover.js';
import type { RecoveryPace } from './pace.js';

/** Objects under way at once; how many really run is the pace's affair. */
const PARALLEL = 16;
const RETRY_MS = 50;
/** What needs room, or another disk, is not there a moment later. */
const WAIT_MS = 1000;

/**
 * A node that was away takes every write from the moment it is up, and meanwhile has each object that was touched
 * in its absence compared with the primary's (D-5). When the list is done it says so, and is a full member again.
 */
export class CatchUp {
  /** Objects still to compare; for people. */
  remaining = 0;
  movedBytes = 0;
  /** Objects compared since this node came up: writes reach it too, so they stay right. */
  private done = new Set<bigint>();
  private doneFor = -1;
  /** Of an object that has to wait while the others go on, and what was said of it last. */
  private failure: AppError | undefined;
  private said = '';

  constructor(
    private readonly node: ObjectNode,
    private readonly comparison: Comparison,
    private readonly mover: Mover,
    private readonly pace: RecoveryPace,
  ) {}

  /** Objects compared since this node came up; for people. */
  get compared(): number {
    return this.done.size;
  }

  /** Why it does not come to an end, if so, and the same in words. */
  get waiting(): { readonly code: 'no-space' | 'unreadable'; readonly reason: string } | undefined {
    if (this.failure === undefined) return undefined;
    const { code, message: reason } = this.failure;
    return { code: code === 'no-space' ? 'no-space' : 'unreadable', reason };
  }

  /** Called with every epoch this node enters. */
  enter(context: EpochContext): void {
    const self = context.view.self;
    if (self === undefined || !self.up) return;
    if (self.behindSince === undefined && !self.incomplete) {
      this.remaining = 0;
      this.failure = undefined;
      return;
    }
    if (this.doneFor !== self.upSince) {
      this.done = new Set();
      this.doneFor = self.upSince;
      this.node.strict = false;
      this.movedBytes = 0;
    }
    // Incomplete without an absence: it missed nothing since it came up.
    void this.run(context, (self.behindSince ?? self.upSince - 1) + 1, self.upSince);
  }

  private async run(context: EpochContext, since: number, upSince: number): Promise<void> {
    const { node } = this;
    while (context === node.context && !node.stopped) {
      try {
        await Promise.race([context.peered.promise, context.view.ended.promise]);
        const missed = await this.collect(context, since);
        this.remaining = missed.length;
        this.failure = undefined;
        await forEachLimit(missed, PARALLEL, (oid) => this.makeRight(context, oid));
        if (context !== node.context) return;
        if (this.failure !== undefined) throw this.failure;
        if (this.mover.isWhole(context) && context.view.everySetServed(node.options.copiesInUse())) {
          await this.comparison.complete(context);
          await node.store.flush();
          if (context !== node.context) return;
          node.options.log.info({ objects: missed.length, since }, 'caught up');
          await node.options.membership.declareCaughtUp(upSince);
          return;
        }
      } catch (error) {
        if (error instanceof EpochEnded) return;
        if (mayWait(error)) this.failure = AppError.from(error);
        this.note(AppError.from(error));
      }
      await node.pauseInEpoch(context, mayWait(this.failure) ? WAIT_MS : RETRY_MS);
    }
  }

  /** Said once: a disk may be full for days. */
  private note({ message: err }: AppError): void {
    const { log } = this.node.options;
    if (err !== this.said) log.warn({ err }, 'catching up was interrupted, going on');
    else log.debug({ err }, 'catching up still waits');
    this.said = err;
  }

  /** Everything any member touched since, and what this node itself may have that nobody else has; inodes first. */
  private async collect(context: EpochContext, since: number): Promise<bigint[]> {
    const missed = new Set<bigint>(this.node.unsettled.pending);
    for (const oid of await this.node.store.touchedSince(since)) missed.add(oid);
    for (const nodeId of context.view.peers) {
      for (let from = 0, total = 1; from < total; from += MISSED_PAGE_ENTRIES) {
        const message = emptyMessage(PeerType.missed);
        message.length = since;
        message.offset = from;
        const answer = await this.node.ask(context, nodeId, message);
        total = answer.length;
        for (const oid of decodeOids(answer.payload)) missed.add(oid);
      }
    }
    if (this.node.options.mutants?.skipTouched) missed.clear();
    for (const oid of this.done) missed.delete(oid);
    return [...missed].sort((a, b) => Number(isInode(b)) - Number(isInode(a)));
  }

  private async makeRight(context: EpochContext, oid: bigint): Promise<void> {
    try {
      const bytes = await this.pace.run(() => this.comparison.run(context, oid), isInode(oid));
      this.movedBytes += bytes;
    } catch (error) {
      if (error instanceof EpochEnded || !mayWait(error)) throw error;
      // What is removed further on may make the room that this one needs.
      this.failure = AppError.from(error);
      return;
    }
    this.done.add(oid);
    this.remaining--;
  }
}

function mayWait(error: unknown): boolean {
  return AppError.isCode(error, 'no-space', 'io', 'checksum');
}
