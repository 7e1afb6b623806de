import { AppError } from '../base/errors.js';
import { forEachLimit } from '../base/signal.js';
import { formatOid, isInode } from '../wire/oid.js';
import { emptyMessage, PeerType } from '../wire/peer-message.js';
import type { ObjectAddress } from './address.js';
import { addressed } from './mutation.js';
import { decodeOids, type EpochContext, EpochEnded, type ObjectNode } from './object-node.js';
import type { Primary } from './primary.js';
import { MISSED_PAGE_ENTRIES } from './replica.js';

/** Objects made equal at the same time. */
const PARALLEL = 4;
const RETRY_MS = 50;
/** Before objects that could not be settled are tried once more. */
const SETTLE_AGAIN_MS = 1000;
const SETTLE_PARALLEL = 16;

/**
 * A node that was away takes every write from the moment it is up, and meanwhile has each object that was touched
 * in its absence compared with the primary's (D-5). When the list is done it says so, and is a full member again.
 */
export class CatchUp {
  /** Objects still to compare; for people. */
  remaining = 0;
  /** Objects compared since this node came up: writes reach it too, so they stay right. */
  private done = new Set<bigint>();
  private doneFor = -1;

  constructor(
    private readonly node: ObjectNode,
    private readonly primary: Primary,
  ) {}

  /** Objects compared since this node came up; for people. */
  get compared(): number {
    return this.done.size;
  }

  /** Called with every epoch this node enters. */
  enter(context: EpochContext): void {
    const self = context.view.self;
    if (self === undefined || !self.up) return;
    void this.settleOwn(context);
    if (self.behindSince === undefined) {
      this.remaining = 0;
      return;
    }
    if (this.doneFor !== self.upSince) {
      this.done = new Set();
      this.doneFor = self.upSince;
    }
    void this.run(context, self.behindSince + 1, self.upSince);
  }

  /**
   * A primary settles what it has to, also when no client asks for it, and then says so: from then on the others
   * may read from their own replicas. Before that, an old content there could be shown although the primary will
   * choose the newer one (I-2).
   */
  private async settleOwn(context: EpochContext): Promise<void> {
    const { node } = this;
    await Promise.race([context.peered.promise, context.view.ended.promise]);
    while (context === node.context && !node.stopped) {
      try {
        if (await this.settleAll(context)) {
          await Promise.all(context.view.peers.map((id) => this.announceSettled(context, id)));
          return;
        }
      } catch (error) {
        if (error instanceof EpochEnded) return;
        node.options.log.warn({ err: AppError.from(error).message }, 'settling was interrupted, going on');
      }
      await node.pauseInEpoch(context, SETTLE_AGAIN_MS);
    }
  }

  /** False when some object could not be settled: it stands in nobody's way but its own. */
  private async settleAll(context: EpochContext): Promise<boolean> {
    let all = true;
    await forEachLimit([...this.node.unsettled.pending], SETTLE_PARALLEL, async (oid) => {
      try {
        await this.settleOne(context, oid);
      } catch (error) {
        if (error instanceof EpochEnded) throw error;
        all = false;
        this.node.options.log.warn(
          { err: AppError.from(error).message, oid: formatOid(oid) },
          'an object cannot be settled',
        );
      }
    });
    return all;
  }

  private async announceSettled(context: EpochContext, nodeId: string): Promise<void> {
    const { node } = this;
    while (context === node.context && !node.stopped) {
      try {
        await node.ask(context, nodeId, emptyMessage(PeerType.replicaSettled));
        return;
      } catch (error) {
        if (!AppError.isCode(error, 'network', 'again', 'old-epoch', 'new-epoch')) throw error;
      }
      await node.pauseInEpoch(context, RETRY_MS);
    }
  }

  private async settleOne(context: EpochContext, oid: bigint): Promise<void> {
    const address = await this.node.options.resolve(oid);
    if (context !== this.node.context || this.node.stopped) throw new EpochEnded();
    if (address === undefined) await this.drop(context, oid);
    else if (context.view.locate(address).serving[0] === this.node.selfId) {
      await this.primary.settler.settle(context, address);
    }
  }

  private async run(context: EpochContext, since: number, upSince: number): Promise<void> {
    const { node } = this;
    while (context === node.context && !node.stopped) {
      try {
        await context.drained.promise;
        const missed = await this.collect(context, since);
        this.remaining = missed.length;
        await forEachLimit(missed, PARALLEL, (oid) => this.makeRight(context, oid));
        if (context !== node.context) return;
        if (context.view.everySetServed(node.options.copiesInUse())) {
          await node.store.flush();
          if (context !== node.context) return;
          node.options.log.info({ objects: missed.length, since }, 'caught up');
          await node.options.membership.declareCaughtUp(upSince);
          return;
        }
      } catch (error) {
        if (error instanceof EpochEnded) return;
        node.options.log.warn({ err: AppError.from(error).message }, 'catching up was interrupted, going on');
      }
      await node.pauseInEpoch(context, RETRY_MS);
    }
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
    for (const oid of this.done) missed.delete(oid);
    return [...missed].sort((a, b) => Number(isInode(b)) - Number(isInode(a)));
  }

  private async makeRight(context: EpochContext, oid: bigint): Promise<void> {
    const { node } = this;
    if (context !== node.context || node.stopped) throw new EpochEnded();
    const address = await node.options.resolve(oid);
    if (address === undefined) await this.drop(context, oid);
    else await this.reconcile(context, address);
    this.done.add(oid);
    this.remaining--;
  }

  private async reconcile(context: EpochContext, address: ObjectAddress): Promise<void> {
    const { node } = this;
    const placement = context.view.locate(address);
    if (!placement.holders.includes(node.selfId)) return;
    const primary = placement.serving[0];
    if (primary === undefined) throw new AppError('again', 'the holders with the newest content are awaited');
    if (primary === node.selfId) await this.primary.reconcile(address);
    else await node.ask(context, primary, addressed(PeerType.reconcile, address));
  }

  /** An object of a volume that does not exist any more. */
  private async drop(context: EpochContext, oid: bigint): Promise<void> {
    await this.node.applyWork(() => this.node.store.remove(oid, context.view.epoch, false));
    this.node.unsettled.settle(oid);
    await this.node.store.clearSuspects([oid]);
  }
}
