import { BLOCK_SIZE } from '../../base/bytes.js';
import { AppError } from '../../base/errors.js';
import { HOLE } from '../../store/checksum.js';
import { BadBlocksError } from '../../store/object-store.js';
import { formatOid } from '../../wire/oid.js';
import { emptyMessage, PeerType } from '../../wire/peer-message.js';
import { type ObjectAddress, objectBytesOf } from '../epochs/address.js';
import type { Placement } from '../epochs/view.js';
import { type Difference, differences, without } from './differences.js';
import { Mender } from './mender.js';
import {
  addressed,
  encodeMutation,
  encodeSpoiled,
  type Mutation,
  removeOf,
  writeOf,
  zeroOf,
} from './mutation.js';
import { type EpochContext, EpochEnded, type ObjectNode } from './object-node.js';
import type { Turn } from './pace-lane.js';
import { askReplica, fetchGood, fetchSums } from './replica-requests.js';

type Blocks = readonly number[];

/** What came of making one other replica equal. */
export interface Outcome {
  /** Copied from this node. */
  readonly bytes: number;
  /** Blocks whose content no replica has that is up. */
  readonly lost: Blocks;
}

const NOTHING: Outcome = { bytes: 0, lost: [] };

/**
 * Makes the replicas of one object equal, as its primary and under its lock: for objects that had writes in flight
 * when an epoch ended, and for nodes that catch up. Only blocks whose checksums differ are moved (D-5).
 */
export class Settler {
  readonly mender: Mender;

  constructor(private readonly node: ObjectNode) {
    this.mender = new Mender(node);
  }

  /**
   * Afterwards the object is the same on all replicas that are up. Resolves with the blocks that are lost; undefined:
   * the epoch ended first.
   */
  settle(context: EpochContext, address: ObjectAddress): Promise<Blocks | undefined> {
    const running = context.settling.get(address.oid);
    if (running !== undefined) return running;
    const work = this.run(context, address).finally(() => context.settling.delete(address.oid));
    context.settling.set(address.oid, work);
    return work;
  }

  /**
   * Somebody who is away has as good a copy, perhaps with the other outcome, and could serve without this node later:
   * nothing in doubt may be shown before the outcome is on enough copies.
   */
  mustWait({ serving, needed, authority }: Placement): boolean {
    return serving.length < needed && serving.length < authority.length;
  }

  private async run(context: EpochContext, address: ObjectAddress): Promise<Blocks | undefined> {
    const { node } = this;
    const placement = context.view.locate(address);
    if (this.mustWait(placement)) {
      await context.view.ended.promise;
      return undefined;
    }
    const release = await node.lock(address.oid, 0, Number.MAX_SAFE_INTEGER, true);
    try {
      if (context !== node.context) return undefined;
      if (!node.unsettled.hasObject(address.oid)) return [];
      return await this.makeEqual(context, placement, address);
    } catch (error) {
      return ifEpochEnded(error);
    } finally {
      release();
    }
  }

  /** Gives all replicas that are up this node's content; the object stays unsettled. The result is that of settle. */
  async share(context: EpochContext, address: ObjectAddress): Promise<Blocks | undefined> {
    const { node } = this;
    const release = await node.lock(address.oid, 0, Number.MAX_SAFE_INTEGER, true);
    try {
      if (context !== node.context) return undefined;
      const others = node.others(context.view.locate(address));
      return lostOf(await Promise.all(others.map((id) => this.equalise(context, address, id, 0))));
    } catch (error) {
      return ifEpochEnded(error);
    } finally {
      release();
    }
  }

  /**
   * Makes one other replica equal to this one. What differs is copied first while clients go on; only the rest, what
   * they changed meanwhile, under the lock. Undefined: the epoch ended first, or the object has to be settled.
   */
  async give(
    context: EpochContext,
    address: ObjectAddress,
    nodeId: string,
    turn?: Turn,
  ): Promise<Outcome | undefined> {
    const { node } = this;
    try {
      let before = NOTHING;
      const inTwoSteps = context.view.locate(address).targets.includes(nodeId);
      if (inTwoSteps) {
        const how = { unlocked: true, ...(turn && { turn }) };
        before = await this.equalise(context, address, nodeId, 0, how).catch(ifObjectWent);
      }
      const release = await node.lock(address.oid, 0, Number.MAX_SAFE_INTEGER, true);
      try {
        if (context !== node.context || node.unsettled.hasObject(address.oid)) return undefined;
        // What was left is bad here, and may be there too with the same checksum: it is looked at.
        const trusting = inTwoSteps && before.lost.length === 0;
        const { bytes, lost } = await this.equalise(context, address, nodeId, 0, { trusting });
        await askReplica(node, context, nodeId, () => addressed(PeerType.replicaSettled, address));
        return { bytes: before.bytes + bytes, lost };
      } finally {
        release();
      }
    } catch (error) {
      return ifEpochEnded(error);
    }
  }

  private async makeEqual(
    context: EpochContext,
    placement: Placement,
    address: ObjectAddress,
  ): Promise<Blocks> {
    const { node } = this;
    const { oid } = address;
    const source = context.sources.get(oid);
    if (source !== undefined && source !== node.selfId) {
      await this.pull(context, address, source);
      await node.store.flush();
    }
    const bad = node.store.has(oid) ? await node.store.verify(oid) : [];
    const lost = bad.length > 0 ? await this.mender.mend(context, address, bad) : [];
    const others = node.others(placement);
    const { targets } = placement;
    const makeRight = async (id: string) => {
      try {
        const outcome = await this.equalise(context, address, id, 0);
        if (outcome.bytes > 0) await this.sync(context, address, id);
        return outcome;
      } catch (error) {
        // It remembers what it has no room for; nobody else has to wait for that.
        if (!targets.includes(id) || !AppError.isCode(error, 'no-space')) throw error;
        return NOTHING;
      }
    };
    const outcomes = await Promise.all(others.map(makeRight));
    // Nodes that are away must find this object among those touched since.
    await node.applyWork(() => node.store.touch(oid, context.view.epoch));
    await Promise.all(
      others.map((id) => askReplica(node, context, id, () => addressed(PeerType.replicaSettled, address))),
    );
    if (context !== node.context) throw new EpochEnded();
    context.sources.delete(oid);
    node.unsettled.settle(oid);
    for (const run of context.afterSettling.get(oid) ?? []) run();
    context.afterSettling.delete(oid);
    await node.store.clearSuspects([oid]);
    return lostOf([{ bytes: 0, lost }, ...outcomes]);
  }

  /**
   * What a replica was given instead of carrying a change out itself may have been flushed before: where it counts, it
   * is made durable at once (I-1).
   */
  async sync(context: EpochContext, address: ObjectAddress, nodeId: string): Promise<void> {
    if (!context.view.locate(address).serving.includes(nodeId)) return;
    await askReplica(this.node, context, nodeId, () => emptyMessage(PeerType.flush));
  }

  /**
   * Gives a replica what differs from this node's content. `sequence`: of the change this is part of, or 0.
   */
  async equalise(
    context: EpochContext,
    address: ObjectAddress,
    nodeId: string,
    sequence: number,
    how: Equalising = {},
  ): Promise<Outcome> {
    const { trusting, turn } = how;
    const theirs = await fetchSums(this.node, context, address, nodeId, trusting);
    const mine = this.node.store.checksums(address.oid);
    const runs = differences(mine, theirs, objectBytesOf(address));
    if (runs.length > 0) this.noteMoved(context, address, nodeId, runs);
    const allLost: number[] = [];
    for (const run of runs) {
      if (run.kind === 'data') await turn?.step(run.length);
      const { mutations, lost } = await this.mutationsFor(context, address, run, how);
      for (const mutation of mutations) {
        await askReplica(this.node, context, nodeId, () => {
          const message = encodeMutation(PeerType.replicaWrite, address, mutation);
          message.sequence = sequence;
          return message;
        });
      }
      allLost.push(...lost);
      if (lost.length > 0 && !how.unlocked) {
        const payload = encodeSpoiled(lost, mine!);
        await askReplica(this.node, context, nodeId, () =>
          Object.assign(addressed(PeerType.replicaSpoil, address), { payload }),
        );
      }
    }
    return {
      bytes: runs.reduce((sum, run) => sum + (run.kind === 'data' ? run.length : 0), 0),
      lost: allLost,
    };
  }

  /** Replaces this node's content by another replica's. */
  private async pull(context: EpochContext, address: ObjectAddress, nodeId: string): Promise<void> {
    const { store } = this.node;
    const epoch = context.view.epoch;
    const { oid } = address;
    const theirs = await fetchSums(this.node, context, address, nodeId);
    const mine = store.checksums(oid);
    const objectBytes = objectBytesOf(address);
    const common = { oid, objectBytes, epoch, sync: false };
    for (const run of differences(theirs, mine, objectBytes)) {
      await this.node.applyWork(async () => {
        if (run.kind === 'remove') await store.remove(oid, epoch, false);
        else if (run.kind === 'data') {
          for (const { offset, data } of await fetchGood(this.node, context, address, nodeId, run)) {
            await store.write({ ...common, mode: 'ensure', offset, data });
          }
        } else {
          const mode = run.kind === 'create' ? 'create' : 'ensure';
          await store.zero({ ...common, mode, offset: run.offset, length: run.length, allocate: false });
        }
      });
    }
  }

  private noteMoved(context: EpochContext, address: ObjectAddress, nodeId: string, runs: Difference[]): void {
    const moved = runs.map((r) => `${r.kind} ${r.offset}+${r.length}`).slice(0, 8);
    const oid = formatOid(address.oid);
    const fields = { oid, to: nodeId, epoch: context.view.epoch, runs: runs.length, moved };
    this.node.options.log.debug(fields, 'a replica is made equal');
  }

  /** What brings the run to another replica; `lost`: blocks that nobody has, or that are left for the lock. */
  private async mutationsFor(
    context: EpochContext,
    address: ObjectAddress,
    run: Difference,
    how: Equalising,
  ): Promise<{ mutations: Mutation[]; lost: number[] }> {
    const { kind, offset, length } = run;
    if (kind === 'remove') return { mutations: [removeOf(false)], lost: [] };
    if (kind !== 'data') {
      const mode = kind === 'create' ? 'create' : 'ensure';
      return { mutations: [zeroOf(offset, length, { mode, sync: false, allocate: false })], lost: [] };
    }
    const { store } = this.node;
    const { oid } = address;
    const left = new Set<number>();
    const mended = new Set<number>();
    for (;;) {
      try {
        const sums = store.checksums(oid);
        const holes = [...mended].filter((block) => sums?.[block] === HOLE);
        const pieces = without(run, [...left, ...holes]);
        const data = await Promise.all(pieces.map((piece) => store.read(oid, piece.offset, piece.length)));
        const options = { mode: 'ensure', sync: false } as const;
        const mutations = pieces.map((piece, i) => writeOf(piece.offset, data[i]!, options));
        // A block that was mended may have turned out to be a hole, and is to be one there too.
        for (const block of holes) {
          const at = block * BLOCK_SIZE;
          const size = Math.min(BLOCK_SIZE, offset + length - at);
          mutations.push(zeroOf(at, size, { ...options, allocate: false }));
        }
        return { mutations, lost: [...left] };
      } catch (error) {
        const cause = error instanceof AppError ? error.cause : undefined;
        if (!AppError.isCode(error, 'checksum') || !(cause instanceof BadBlocksError)) throw error;
        // Without the lock a newer write could be overwritten: such blocks are left for when it is held. What was
        // mended and is bad again is beyond help.
        const fresh = cause.blocks.filter((block) => how.unlocked !== true && !mended.has(block));
        for (const block of cause.blocks) if (!fresh.includes(block)) left.add(block);
        for (const block of fresh) mended.add(block);
        for (const block of await this.mender.mend(context, address, fresh)) left.add(block);
      }
    }
  }
}

interface Equalising {
  /** The other's blocks have just been verified or written. */
  readonly trusting?: boolean;
  /** The pace, when nobody waits for it. */
  readonly turn?: Turn;
  /** Clients may change the object meanwhile. */
  readonly unlocked?: boolean;
}

/** An object that is removed or made anew while it is copied is copied again under the lock. */
function ifObjectWent(error: unknown): Outcome {
  if (AppError.isCode(error, 'no-object')) return NOTHING;
  throw error;
}

function ifEpochEnded(error: unknown): undefined {
  if (!(error instanceof EpochEnded)) throw error;
}

function lostOf(outcomes: readonly Outcome[]): Blocks {
  return [...new Set(outcomes.flatMap(({ lost }) => lost))];
}
