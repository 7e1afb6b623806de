import { BLOCK_SIZE, isZero } from '../../base/bytes.js';
import { AppError } from '../../base/errors.js';
import { BAD } from '../../store/checksum.js';
import { BadBlocksError } from '../../store/object-store.js';
import { formatOid } from '../../wire/oid.js';
import { emptyMessage, PeerType } from '../../wire/peer-message.js';
import { type ObjectAddress, objectBytesOf } from '../epochs/address.js';
import type { Placement } from '../epochs/view.js';
import { type Difference, differences, without } from './differences.js';
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
import { askReplica, fetchBytes, fetchGood, fetchSums, isHoleAt } from './replica-requests.js';

/**
 * Makes the replicas of one object equal, as its primary and under its lock: for objects that had writes in flight
 * when an epoch ended, and for nodes that catch up. Only blocks whose checksums differ are moved (D-5).
 */
export class Settler {
  constructor(private readonly node: ObjectNode) {}

  /** True: the object is the same on all replicas that are up. False: the epoch ended first. */
  settle(context: EpochContext, address: ObjectAddress): Promise<boolean> {
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

  private async run(context: EpochContext, address: ObjectAddress): Promise<boolean> {
    const { node } = this;
    const placement = context.view.locate(address);
    if (this.mustWait(placement)) {
      await context.view.ended.promise;
      return false;
    }
    const release = await node.lock(address.oid, 0, Number.MAX_SAFE_INTEGER, true);
    try {
      if (context !== node.context) return false;
      if (node.unsettled.hasObject(address.oid)) await this.makeEqual(context, placement, address);
      return true;
    } catch (error) {
      if (error instanceof EpochEnded) return false;
      throw error;
    } finally {
      release();
    }
  }

  /** Gives all replicas that are up this node's content; the object stays unsettled. False: the epoch ended first. */
  async share(context: EpochContext, address: ObjectAddress): Promise<boolean> {
    const { node } = this;
    const release = await node.lock(address.oid, 0, Number.MAX_SAFE_INTEGER, true);
    try {
      if (context !== node.context) return false;
      const others = node.others(context.view.locate(address));
      await Promise.all(others.map((id) => this.equalise(context, address, id, 0)));
      return true;
    } catch (error) {
      if (error instanceof EpochEnded) return false;
      throw error;
    } finally {
      release();
    }
  }

  /**
   * Makes one other replica equal to this one. What differs is copied first while clients go on; only the rest, what
   * they changed meanwhile, under the lock. Resolves with the bytes moved; undefined: the epoch ended first, or the
   * object has to be settled.
   */
  async give(
    context: EpochContext,
    address: ObjectAddress,
    nodeId: string,
    turn?: Turn,
  ): Promise<number | undefined> {
    const { node } = this;
    try {
      let moved = 0;
      const { targets, placed } = context.view.locate(address);
      const inTwoSteps = targets.includes(nodeId);
      // Once it has taken over, the object may lie elsewhere than on those who are away: they are not asked again.
      const takesOver = !placed.includes(nodeId);
      if (inTwoSteps) {
        const how = { unlocked: true, ...(turn && { turn }) };
        moved += await this.equalise(context, address, nodeId, 0, how).catch(ifObjectWent);
      }
      const release = await node.lock(address.oid, 0, Number.MAX_SAFE_INTEGER, true);
      try {
        if (context !== node.context || node.unsettled.hasObject(address.oid)) return undefined;
        moved += await this.equalise(context, address, nodeId, 0, { trusting: inTwoSteps, takesOver });
        await askReplica(node, context, nodeId, () => addressed(PeerType.replicaSettled, address));
        return moved;
      } finally {
        release();
      }
    } catch (error) {
      if (error instanceof EpochEnded) return undefined;
      throw error;
    }
  }

  private async makeEqual(
    context: EpochContext,
    placement: Placement,
    address: ObjectAddress,
  ): Promise<void> {
    const { node } = this;
    const { oid } = address;
    const source = context.sources.get(oid);
    if (source !== undefined && source !== node.selfId) {
      await this.pull(context, address, source);
      await node.store.flush();
    }
    if (node.store.has(oid)) {
      const bad = await node.store.verify(oid);
      if (bad.length > 0) await this.mend(context, address, bad);
    }
    const others = node.others(placement);
    const { targets } = placement;
    const makeRight = async (id: string) => {
      try {
        if ((await this.equalise(context, address, id, 0)) > 0) await this.sync(context, address, id);
      } catch (error) {
        // It remembers what it has no room for; nobody else has to wait for that.
        if (!targets.includes(id) || !AppError.isCode(error, 'no-space')) throw error;
      }
    };
    await Promise.all(others.map(makeRight));
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
   * Gives a replica what differs from this node's content. `sequence`: of the change this is part of, or 0. Resolves
   * with the bytes moved.
   */
  async equalise(
    context: EpochContext,
    address: ObjectAddress,
    nodeId: string,
    sequence: number,
    how: Equalising = {},
  ): Promise<number> {
    const { trusting, turn } = how;
    const theirs = await fetchSums(this.node, context, address, nodeId, trusting);
    const mine = this.node.store.checksums(address.oid);
    const runs = differences(mine, theirs, objectBytesOf(address));
    if (runs.length > 0) this.noteMoved(context, address, nodeId, runs);
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
      if (lost.length > 0) {
        const payload = encodeSpoiled(lost, mine!);
        await askReplica(this.node, context, nodeId, () =>
          Object.assign(addressed(PeerType.replicaSpoil, address), { payload }),
        );
      }
    }
    return runs.reduce((sum, run) => sum + (run.kind === 'data' ? run.length : 0), 0);
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

  /** Rewrites blocks of this node that do not verify with another replica's content (I-7); 'io' when nobody has it. */
  async repair(context: EpochContext, address: ObjectAddress, blocks: readonly number[]): Promise<void> {
    const [lost] = await this.mend(context, address, blocks);
    if (lost !== undefined) {
      throw new AppError('io', `block ${lost} of object ${formatOid(address.oid)} is bad on every replica`);
    }
  }

  /** The same; resolves with the blocks of which no replica that is in sync has the content. */
  private async mend(
    context: EpochContext,
    address: ObjectAddress,
    blocks: readonly number[],
  ): Promise<number[]> {
    const { node } = this;
    const { oid } = address;
    const objectBytes = objectBytesOf(address);
    const { serving, targets, placed } = context.view.locate(address);
    const sources = serving.filter((id) => id !== node.selfId);
    const lost: number[] = [];
    for (const block of blocks) {
      const offset = block * BLOCK_SIZE;
      const length = Math.min(BLOCK_SIZE, objectBytes - offset);
      const data =
        (await this.firstGood(context, address, sources, offset, length)) ??
        (await this.sameAtTarget(context, address, targets, block));
      if (data !== undefined) {
        const common = { oid, objectBytes, epoch: context.view.epoch, sync: false };
        if (isZero(data) && (await isHoleAt(node, context, address, sources, block))) {
          await node.store.zero({ ...common, mode: 'ensure', offset, length, allocate: false });
        } else {
          await node.store.write({ ...common, mode: 'ensure', offset, data });
        }
      } else if (this.mayBeHalfWritten(oid, block)) {
        if (placed.some((id) => isAwaited(context, id)))
          throw new AppError('again', 'a holder that is away may have it');
        await node.store.adopt(oid, [block]);
      } else {
        lost.push(block);
        continue;
      }
      node.options.log.warn({ oid: formatOid(oid), block }, 'a bad block was repaired');
    }
    return lost;
  }

  /**
   * When the power went, and it is on no replica better: never acknowledged as durable, so what is there is as right as
   * anything. Without a power cut, or without its checksum, it is not: a disk has lost it, and reads must say so.
   */
  private mayBeHalfWritten(oid: bigint, block: number): boolean {
    const { unsettled, store } = this.node;
    return unsettled.hasObject(oid) && store.mayBeTorn(oid) && store.checksums(oid)?.[block] !== BAD;
  }

  private async firstGood(
    context: EpochContext,
    address: ObjectAddress,
    nodeIds: readonly string[],
    offset: number,
    length: number,
  ): Promise<Uint8Array | undefined> {
    for (const id of nodeIds) {
      try {
        return await fetchBytes(this.node, context, address, id, offset, length);
      } catch (error) {
        if (!AppError.isCode(error, 'checksum', 'no-object', 'io')) throw error;
      }
    }
    return undefined;
  }

  /**
   * The block of a replica that is not in sync yet, when it verifies with the very checksum that it has here: then it
   * is the content that is looked for.
   */
  private async sameAtTarget(
    context: EpochContext,
    address: ObjectAddress,
    targets: readonly string[],
    block: number,
  ): Promise<Uint8Array | undefined> {
    const { node } = this;
    const sum = node.store.checksums(address.oid)?.[block];
    const offset = block * BLOCK_SIZE;
    const length = Math.min(BLOCK_SIZE, objectBytesOf(address) - offset);
    for (const id of targets) {
      if (id === node.selfId || sum === undefined) continue;
      const theirs = await fetchSums(node, context, address, id, true);
      if (theirs?.[block] !== sum) continue;
      const data = await this.firstGood(context, address, [id], offset, length);
      if (data !== undefined) return data;
    }
    return undefined;
  }

  private noteMoved(context: EpochContext, address: ObjectAddress, nodeId: string, runs: Difference[]): void {
    const moved = runs.map((r) => `${r.kind} ${r.offset}+${r.length}`).slice(0, 8);
    const oid = formatOid(address.oid);
    const fields = { oid, to: nodeId, epoch: context.view.epoch, runs: runs.length, moved };
    this.node.options.log.debug(fields, 'a replica is made equal');
  }

  /** What brings the run to another replica; `lost`: blocks that nobody has. */
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
        const pieces = without(run, left);
        const data = await Promise.all(pieces.map((piece) => store.read(oid, piece.offset, piece.length)));
        const options = { mode: 'ensure', sync: false } as const;
        const mutations = pieces.map((piece, i) => writeOf(piece.offset, data[i]!, options));
        return { mutations, lost: how.unlocked === true ? [] : [...left] };
      } catch (error) {
        const cause = error instanceof AppError ? error.cause : undefined;
        if (!AppError.isCode(error, 'checksum') || !(cause instanceof BadBlocksError)) throw error;
        // Without the lock a newer write could be overwritten: such blocks are left for when it is held. What was
        // mended and is bad again is beyond help.
        const fresh = cause.blocks.filter((block) => how.unlocked !== true && !mended.has(block));
        for (const block of cause.blocks) if (!fresh.includes(block)) left.add(block);
        for (const block of fresh) mended.add(block);
        const lost = await this.mend(context, address, fresh);
        const isAway = (id: string) => isAwaited(context, id);
        if (lost.length > 0 && how.takesOver && context.view.locate(address).placed.some(isAway))
          throw new AppError('io', `block ${lost[0]} is bad here, and a sheep that is away may have it`);
        for (const block of lost) left.add(block);
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
  /** The other is to hold the object from now on, and did not before. */
  readonly takesOver?: boolean;
}

/** It is away, and will be back as far as anybody knows: also one that lost its newest writes may have older ones. */
function isAwaited({ view }: EpochContext, nodeId: string): boolean {
  const node = view.nodes.get(nodeId);
  return node?.up === false && node.in && !node.incomplete;
}

/** An object that is removed or made anew while it is copied is copied again under the lock. */
function ifObjectWent(error: unknown): number {
  if (AppError.isCode(error, 'no-object')) return 0;
  throw error;
}
