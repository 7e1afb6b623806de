import { AppError } from '../base/errors.js';
import { forEachLimit } from '../base/signal.js';
import { emptyMessage, PeerType } from '../wire/peer-message.js';
import type { Comparison } from './comparison.js';
import { compareOids, LISTED_PAGE_ENTRIES, type ObjectLists } from './object-lists.js';
import { type EpochContext, EpochEnded, type ObjectNode } from './object-node.js';
import { decodeOids } from './oid-list.js';
import type { RecoveryPace } from './pace.js';

const RETRY_MS = 50;
/** Objects under way at once; how many really run is the pace's affair. */
const PARALLEL = 16;

/** What a node has been given so far; for people. */
export interface MoveProgress {
  /** Objects compared, and an estimate of those still to be. */
  readonly done: number;
  readonly remaining: number;
  readonly movedBytes: number;
  /** Why nothing happens, if so. */
  readonly waiting?: 'paused' | 'no-space' | 'holders';
}

/**
 * Takes over what this node is to hold (D-4, D-5): all that the target of a move places on it, and all that it should
 * have and may not have any more since it lost a disk. Every write reaches it meanwhile, so what has been compared
 * stays right; when all has been, it says so. A new epoch interrupts the walk, and it goes on where it was.
 */
export class Mover {
  private key = '';
  private cursor = 0n;
  private completeFor = '';
  private done = 0;
  private remaining = 0;
  private movedBytes = 0;
  private waiting: MoveProgress['waiting'];

  constructor(
    private readonly node: ObjectNode,
    private readonly comparison: Comparison,
    private readonly lists: ObjectLists,
    private readonly pace: RecoveryPace,
  ) {}

  get progress(): MoveProgress {
    const waiting = this.remaining > 0 && this.pace.paused ? 'paused' : this.waiting;
    const { done, remaining, movedBytes } = this;
    return { done, remaining, movedBytes, ...(waiting !== undefined && { waiting }) };
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
      return;
    }
    this.begin(keyOf(context));
    while (context === this.node.context && !this.node.stopped) {
      try {
        if (await this.walk(context)) return;
      } catch (error) {
        if (error instanceof EpochEnded) return;
        this.noteWaiting(error);
      }
      await this.node.pauseInEpoch(context, RETRY_MS);
    }
  }

  private begin(key: string): void {
    if (this.key === key) return;
    this.key = key;
    this.node.strict = false;
    this.cursor = 0n;
    this.done = 0;
    this.movedBytes = 0;
  }

  private noteWaiting(error: unknown): void {
    const { code, message } = AppError.from(error);
    this.waiting = code === 'no-space' ? 'no-space' : code === 'again' ? 'holders' : undefined;
    this.node.options.log.warn({ err: message }, 'taking objects over was interrupted, going on');
  }

  /** True: everything has been compared, and that was said. */
  private async walk(context: EpochContext): Promise<boolean> {
    const { node } = this;
    const { view } = context;
    await Promise.race([context.peered.promise, view.ended.promise]);
    while (this.completeFor !== this.key) {
      if (context !== node.context) throw new EpochEnded();
      const page = await this.nextPage(context);
      if (page.length === 0) break;
      await forEachLimit(page, PARALLEL, async (oid) => {
        this.movedBytes += await this.pace.run(() => this.comparison.run(context, oid));
        this.done++;
        this.remaining = Math.max(0, this.remaining - 1);
      });
      this.waiting = undefined;
      this.cursor = page[page.length - 1]!;
    }
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

  /** The next objects of all lists together, in their order: those up to where every list is known. */
  private async nextPage(context: EpochContext): Promise<bigint[]> {
    const { node } = this;
    const own = await this.lists.of(context, node.selfId);
    const pages = [ownPage(own, this.cursor)];
    for (const id of context.view.peers) pages.push(await this.pageOf(context, id));
    // A list goes on behind its page: what others have behind that must wait.
    const ends = pages.filter((p) => p.left > p.oids.length).map((p) => p.oids[p.oids.length - 1]!);
    const end = ends.length === 0 ? undefined : ends.reduce((a, b) => (compareOids(a, b) < 0 ? a : b));
    const merged = [...new Set(pages.flatMap((p) => p.oids))].sort(compareOids);
    // Most objects are in the lists of several.
    this.remaining = Math.max(merged.length, ...pages.map((p) => p.left));
    return end === undefined ? merged : merged.filter((oid) => compareOids(oid, end) <= 0);
  }

  private async pageOf(context: EpochContext, nodeId: string): Promise<Page> {
    const message = emptyMessage(PeerType.listed);
    message.oid = this.cursor;
    const answer = await this.node.ask(context, nodeId, message);
    return { oids: decodeOids(answer.payload), left: answer.length };
  }
}

interface Page {
  readonly oids: readonly bigint[];
  /** Entries of the list from the beginning of the page on. */
  readonly left: number;
}

function ownPage(list: readonly bigint[], cursor: bigint): Page {
  const rest = cursor === 0n ? list : list.filter((oid) => compareOids(oid, cursor) > 0);
  return { oids: rest.slice(0, LISTED_PAGE_ENTRIES), left: rest.length };
}

/** What a walk is for: a move, and a loss of this start of the node. */
function keyOf(context: EpochContext): string {
  const { self, record } = context.view;
  return `${record.move ?? 0}/${self?.incomplete ? self.upSince : 0}`;
}
