import { alignDown, alignUp, BLOCK_SIZE } from '../../base/bytes.js';
import { AppError } from '../../base/errors.js';
import type { Release } from '../../base/range-lock.js';
import { BadBlocksError, type BlockRun } from '../../store/object-store.js';
import { formatOid } from '../../wire/oid.js';
import { PeerType } from '../../wire/peer-message.js';
import { type ObjectAddress, objectBytesOf } from '../epochs/address.js';
import type { Placement } from '../epochs/view.js';
import type { Origin } from '../reach/links.js';
import { applyTo, encodeMutation, type Mutation, rangeOf, sumUp } from './mutation.js';
import { type EpochContext, EpochEnded, type ObjectNode } from './object-node.js';
import type { Turn } from './pace-lane.js';
import { Settler } from './settler.js';

const CARRY_RETRY_MS = 10;
/** Of one bad block within one request. */
const REPAIR_TRIES = 3;

/** Who wants a replica made right, and why. */
export interface Reconciling {
  readonly asker: string;
  /** It is to hold the object by the target of a move. */
  readonly forMove?: boolean;
  /** The pace. */
  readonly turn?: Turn;
}

/**
 * A node's part as the primary of an object: it puts all changes of the object in one order, carries each to every
 * replica that is up, and answers when all have it (I-1). Reads wait for changes in flight, so nothing is shown that
 * a crash could take back (I-2).
 */
export class Primary {
  readonly settler: Settler;

  constructor(private readonly node: ObjectNode) {
    this.settler = new Settler(node);
  }

  async read(address: ObjectAddress, offset: number, length: number, origin: Origin): Promise<Uint8Array> {
    return this.execute(address, { start: offset, end: offset + length }, false, origin, async () => {
      try {
        return await this.readVerified(address, offset, length);
      } finally {
        // Also for 'no-object': others may have made it since this node was excluded.
        this.checkLease();
      }
    });
  }

  async change(address: ObjectAddress, mutation: Mutation, origin: Origin): Promise<void> {
    // Each replica copies its own parent: these must be equal before that.
    const sources = mutation.mode === 'cow' ? [mutation.parent] : [];
    const work = (context: EpochContext, placement: Placement) =>
      this.replicate(context, placement, address, mutation);
    await this.execute(address, rangeOf(mutation, address), true, origin, work, sources);
  }

  async status(address: ObjectAddress, origin: Origin): Promise<BlockRun[] | undefined> {
    const range = { start: 0, end: objectBytesOf(address) };
    return this.execute(address, range, false, origin, async () => {
      const runs = this.node.store.blockRuns(address.oid);
      this.checkLease();
      return runs;
    });
  }

  /**
   * Gives a node that catches up, or takes objects over, what this one has. Resolves with the bytes moved. For a move,
   * 'io' when a block is bad that somebody who is down may have: the move must not end before.
   */
  async reconcile(address: ObjectAddress, { asker, forMove, turn }: Reconciling): Promise<number> {
    const { node, settler } = this;
    for (;;) {
      const context = this.contextFor(address);
      await this.ready(context);
      if (context !== node.context) continue;
      // It may have asked in an epoch in which it was to have the object: what it were given now would stay there.
      const placement = context.view.locate(address);
      if (!placement.holders.includes(asker)) return 0;
      // With too few copies nothing is settled yet; but the node that asks can already be given what there is, and is
      // then one copy more.
      const mustWait = settler.mustWait(placement);
      if (asker === node.selfId && !mustWait) node.unsettled.add(address.oid);
      let bytes = 0;
      let lost: readonly number[] | undefined;
      if (mustWait) lost = await settler.share(context, address);
      else if (node.unsettled.hasObject(address.oid)) {
        const left = await settler.settle(context, address);
        // Settling passes over a target without room: whether this one has everything, it is asked itself.
        if (!placement.targets.includes(asker)) lost = left;
      } else {
        const outcome = await settler.give(context, address, asker, turn);
        bytes = outcome?.bytes ?? 0;
        lost = outcome?.lost;
      }
      if (lost === undefined) continue;
      if (forMove) settler.mender.checkNobodyHas(context, address, lost);
      return bytes;
    }
  }

  private contextFor(address: ObjectAddress): EpochContext {
    const { node } = this;
    const context = node.context;
    if (context === undefined || node.stopped) throw new AppError('again', 'not in the cluster yet');
    if (context.view.locate(address).serving[0] !== node.selfId) {
      throw new AppError('again', 'another node is the primary');
    }
    return context;
  }

  private async ready(context: EpochContext): Promise<void> {
    if (!context.peered.fired) await Promise.race([context.peered.promise, context.view.ended.promise]);
  }

  /** Runs `work` under the object's lock in an epoch in which this node is its primary, starting over as epochs end. */
  private async execute<T>(
    address: ObjectAddress,
    range: { start: number; end: number },
    isChange: boolean,
    origin: Origin,
    work: (context: EpochContext, placement: Placement) => Promise<T>,
    sources: readonly bigint[] = [],
  ): Promise<T> {
    const { node } = this;
    const { oid } = address;
    for (;;) {
      const context = this.contextFor(address);
      if (!context.peered.fired) {
        await this.ready(context);
        continue;
      }
      this.checkOrigin(context, origin);
      const placement = context.view.locate(address);
      const tooFew = placement.serving.length < placement.needed && !node.options.mutants?.tooFewCopies;
      if (isChange && tooFew) {
        // Too few copies: the write waits; it is neither failed nor acknowledged (I-4).
        await node.nextEpoch();
        continue;
      }
      // With too few copies to settle, what is not in doubt can still be read (I-4).
      const readable = () =>
        !isChange &&
        this.settler.mustWait(placement) &&
        !node.unsettled.overlaps(oid, range.start, range.end);
      const unsettled = [oid, ...sources].find((o) => node.unsettled.hasObject(o));
      if (unsettled !== undefined && !readable()) {
        await this.settler.settle(context, { ...address, oid: unsettled });
        continue;
      }
      const beginMs = node.foreground.begin();
      const taken = node.lock(
        oid,
        alignDown(range.start, BLOCK_SIZE),
        alignUp(range.end, BLOCK_SIZE),
        isChange,
      );
      const release: Release = taken instanceof Promise ? await taken : taken;
      try {
        if (context !== node.context || node.stopped) continue;
        if ([oid, ...sources].some((o) => node.unsettled.hasObject(o)) && !readable()) continue;
        this.checkOrigin(context, origin);
        const result = await work(context, placement);
        node.foreground.end(beginMs);
        return result;
      } catch (error) {
        if (error instanceof NeedsSettling) node.unsettled.add(oid);
        else if (!(error instanceof EpochEnded)) throw error;
      } finally {
        release();
      }
    }
  }

  private async replicate(
    context: EpochContext,
    placement: Placement,
    address: ObjectAddress,
    asked: Mutation,
  ): Promise<void> {
    const { node } = this;
    const { oid } = address;
    const mutation = this.howToCopy(placement, address, asked);
    this.checkSources(address, mutation);
    const range = rangeOf(mutation, address);
    node.noteChange(oid);
    const changes = node.inFlight.get(oid) ?? new Set();
    node.inFlight.set(oid, changes.add(range));
    const finish: (() => void)[] = [];
    try {
      const others = node.others(placement);
      // The store then need not look at the data once more.
      if (others.length > 0) sumUp(mutation);
      const local = node.applyWork(() => this.applyLocally(context, address, mutation));
      const remote = others.map((id) => {
        const stream = context.stream(id);
        const sequence = stream.issue();
        finish.push(() => {
          if (stream.finish(sequence)) node.announceCommits(context, id);
        });
        // The parent of a node that catches up may be old: it gets the outcome, not the order to copy.
        const handOver = mutation.mode === 'cow' && placement.targets.includes(id);
        if (handOver) return this.handOver(context, id, sequence, address, local);
        return this.carry(context, id, sequence, address, mutation, local);
      });
      if (node.options.mutants?.ackBeforeReplicas) {
        for (const promise of remote) promise.catch(() => {});
        await local;
      } else {
        await this.allOrUnsettled(context, address, [local, ...remote], [node.selfId, ...others], finish);
      }
      if (context !== node.context) throw new EpochEnded();
      for (const run of finish) run();
    } finally {
      changes.delete(range);
      if (changes.size === 0) node.inFlight.delete(oid);
    }
  }

  /**
   * A copy on write that inherits looks at no block of the parent: one that is bad here is bad in the copy too, and
   * comes from the other replicas. Where there are fewer than there should be, the copy is whole, and verified.
   */
  private howToCopy(placement: Placement, { copies }: ObjectAddress, mutation: Mutation): Mutation {
    if (mutation.mode !== 'cow') return mutation;
    const copying = this.node.others(placement).filter((id) => !placement.targets.includes(id));
    return 1 + copying.length < copies ? { ...mutation, whole: true } : mutation;
  }

  /** What cannot work here is refused before any replica hears of it. */
  private checkSources(address: ObjectAddress, mutation: Mutation): void {
    const { store } = this.node;
    if (mutation.kind === 'remove') return;
    const source =
      mutation.mode === 'cow' ? mutation.parent : mutation.mode === 'update' ? address.oid : undefined;
    if (source !== undefined && !store.has(source)) {
      throw new AppError('no-object', `object ${formatOid(source)} does not exist`);
    }
  }

  /**
   * Waits for all. When one refused for good, the replicas differ: the object is settled before its next use, from the
   * one that refused, which still has the content from before; so a failed change is undone everywhere.
   */
  private async allOrUnsettled(
    context: EpochContext,
    address: ObjectAddress,
    work: Promise<void>[],
    nodes: string[],
    finish: (() => void)[],
  ): Promise<void> {
    const results = await Promise.allSettled(work);
    const failures = results.map((r, i) => ({ reason: r.status === 'rejected' ? r.reason : undefined, i }));
    const real = failures.filter((f) => f.reason !== undefined);
    if (real.length === 0) return;
    const refused = real.find(
      (f) => !(f.reason instanceof EpochEnded) && !(f.reason instanceof NeedsSettling),
    );
    if (context === this.node.context) {
      this.node.unsettled.add(address.oid);
      const source = refused && nodes[refused.i]!;
      // One that does not count yet may lack more than this change.
      if (source !== undefined && context.view.locate(address).serving.includes(source)) {
        context.sources.set(address.oid, source);
      }
      const later = context.afterSettling.get(address.oid) ?? [];
      context.afterSettling.set(address.oid, [...later, ...finish]);
    }
    throw (refused ?? real[0]!).reason;
  }

  private async applyLocally(
    context: EpochContext,
    address: ObjectAddress,
    mutation: Mutation,
  ): Promise<void> {
    const { store } = this.node;
    await this.repairing(context, address, 'write', async () =>
      applyTo(store, address, mutation, context.view.epoch),
    );
  }

  /**
   * Does it again after bad blocks that it met were repaired from another replica; of a copy they may be the parent's.
   * A disk that has lost the repair too gets some tries, then the answer is 'io'.
   */
  private async repairing<T>(
    context: EpochContext,
    address: ObjectAddress,
    by: 'read' | 'write',
    work: () => Promise<T>,
  ): Promise<T> {
    const tries = new Map<number, number>();
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const cause = error instanceof AppError ? error.cause : undefined;
        if (!AppError.isCode(error, 'checksum') || !(cause instanceof BadBlocksError)) throw error;
        for (const block of cause.blocks) {
          const count = (tries.get(block) ?? 0) + 1;
          if (count > REPAIR_TRIES) throw new AppError('io', error.message, { cause: error });
          tries.set(block, count);
        }
        const text = `bad blocks found by a ${by}: repairing from another replica`;
        this.node.options.log.warn({ err: error.message }, text);
        await this.settler.mender.repair(context, { ...address, oid: cause.oid }, cause.blocks);
      }
    }
  }

  /** One replica's copy of a change, repeated over broken links until it has it or the epoch ends. */
  private async carry(
    context: EpochContext,
    nodeId: string,
    sequence: number,
    address: ObjectAddress,
    mutation: Mutation,
    local: Promise<void>,
  ): Promise<void> {
    const { node } = this;
    for (;;) {
      if (context !== node.context || node.stopped) throw new EpochEnded();
      const message = encodeMutation(PeerType.replicaWrite, address, mutation);
      message.sequence = sequence;
      try {
        await node.ask(context, nodeId, message);
        return;
      } catch (error) {
        if (AppError.isCode(error, 'no-object', 'checksum')) {
          if (mutation.mode !== 'cow') throw new NeedsSettling();
          // It lacks the parent (its copies were fewer).
          return this.handOver(context, nodeId, sequence, address, local);
        }
        if (!AppError.isCode(error, 'network', 'again', 'old-epoch', 'new-epoch')) throw error;
        await node.pauseInEpoch(context, CARRY_RETRY_MS);
      }
    }
  }

  /** The whole object is locked by this very change, so it can be given as it is afterwards. */
  private async handOver(
    context: EpochContext,
    nodeId: string,
    sequence: number,
    address: ObjectAddress,
    local: Promise<void>,
  ): Promise<void> {
    await local;
    await this.settler.equalise(context, address, nodeId, sequence);
    // What the parent had may have been flushed long ago: a power cut must not take it from a replica that counts.
    await this.settler.sync(context, address, nodeId);
  }

  private async readVerified(address: ObjectAddress, offset: number, length: number): Promise<Uint8Array> {
    const { node } = this;
    // Repair writes blocks of the range that this read has locked: others wait, and nobody changes them.
    return this.repairing(node.context!, address, 'read', async () =>
      node.store.read(address.oid, offset, length),
    );
  }

  /** The sender still waits, and has not been excluded since it asked: another may own its volume by now (I-9). */
  private checkOrigin(context: EpochContext, origin: Origin): void {
    const sender = context.view.nodes.get(origin.nodeId);
    if (origin.closed || sender === undefined || !sender.up || sender.incarnation !== origin.incarnation) {
      throw new AppError('network', 'the sender has gone');
    }
  }

  private checkLease(): void {
    if (!this.node.options.membership.leaseValid()) throw new AppError('again', 'the lease has run out');
  }
}

/** Thrown inside the primary: a replica can only go on after the whole object was made equal. */
class NeedsSettling extends Error {
  override readonly name = 'NeedsSettling';
}
