import { BLOCK_SIZE } from '../base/bytes.js';
import { AppError } from '../base/errors.js';
import { formatOid } from '../wire/oid.js';
import { PeerType } from '../wire/peer-message.js';
import { type ObjectAddress, objectBytesOf } from './address.js';
import { addressed, encodeMutation, type Mutation, removeOf, writeOf, zeroOf } from './mutation.js';
import { type EpochContext, EpochEnded, type ObjectNode } from './object-node.js';
import type { Placement } from './view.js';

/** Bytes moved by one message while replicas are made equal. */
const RUN_BYTES_MAX = 1024 * 1024;
const RETRY_MS = 10;

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
  async give(context: EpochContext, address: ObjectAddress, nodeId: string): Promise<number | undefined> {
    const { node } = this;
    try {
      let moved = 0;
      const inTwoSteps = context.view.locate(address).targets.includes(nodeId);
      if (inTwoSteps) {
        moved += await this.equalise(context, address, nodeId, 0).catch(ifObjectWent);
      }
      const release = await node.lock(address.oid, 0, Number.MAX_SAFE_INTEGER, true);
      try {
        if (context !== node.context || node.unsettled.hasObject(address.oid)) return undefined;
        moved += await this.equalise(context, address, nodeId, 0, inTwoSteps);
        await this.ask(context, nodeId, () => addressed(PeerType.replicaSettled, address));
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
    if (source !== undefined && source !== node.selfId) await this.pull(context, address, source);
    if (node.store.has(oid)) {
      const bad = await node.store.verify(oid);
      if (bad.length > 0) await this.repair(context, address, bad);
    }
    const others = node.others(placement);
    const { targets } = placement;
    await Promise.all(
      others.map((id) =>
        this.equalise(context, address, id, 0).catch((error) => {
          // It remembers what it has no room for; nobody else has to wait for that.
          if (!targets.includes(id) || !AppError.isCode(error, 'no-space')) throw error;
        }),
      ),
    );
    // Nodes that are away must find this object among those touched since.
    await node.applyWork(() => node.store.touch(oid, context.view.epoch));
    await Promise.all(
      others.map((id) => this.ask(context, id, () => addressed(PeerType.replicaSettled, address))),
    );
    if (context !== node.context) throw new EpochEnded();
    context.sources.delete(oid);
    node.unsettled.settle(oid);
    for (const run of context.afterSettling.get(oid) ?? []) run();
    context.afterSettling.delete(oid);
    await node.store.clearSuspects([oid]);
  }

  /**
   * Gives a replica what differs from this node's content. `sequence`: of the change this is part of, or 0. `trusting`:
   * its blocks have just been verified or written. Resolves with the bytes moved.
   */
  async equalise(
    context: EpochContext,
    address: ObjectAddress,
    nodeId: string,
    sequence: number,
    trusting = false,
  ): Promise<number> {
    const theirs = await this.checksumsOf(context, address, nodeId, trusting);
    const mine = this.node.store.checksums(address.oid);
    const runs = differences(mine, theirs, objectBytesOf(address));
    if (runs.length > 0) this.noteMoved(context, address, nodeId, runs);
    for (const run of runs) {
      const mutation = await this.mutationFor(address, run);
      await this.ask(context, nodeId, () => {
        const message = encodeMutation(PeerType.replicaWrite, address, mutation);
        message.sequence = sequence;
        return message;
      });
    }
    return runs.reduce((sum, run) => sum + (run.kind === 'data' ? run.length : 0), 0);
  }

  /** Replaces this node's content by another replica's. */
  private async pull(context: EpochContext, address: ObjectAddress, nodeId: string): Promise<void> {
    const { store } = this.node;
    const epoch = context.view.epoch;
    const { oid } = address;
    const theirs = await this.checksumsOf(context, address, nodeId);
    const mine = store.checksums(oid);
    const objectBytes = objectBytesOf(address);
    const common = { oid, objectBytes, epoch, sync: false };
    for (const run of differences(theirs, mine, objectBytes)) {
      await this.node.applyWork(async () => {
        if (run.kind === 'remove') await store.remove(oid, epoch, false);
        else if (run.kind === 'data') {
          const data = await this.fetch(context, address, nodeId, run.offset, run.length);
          await store.write({ ...common, mode: 'ensure', offset: run.offset, data });
        } else {
          const mode = run.kind === 'create' ? 'create' : 'ensure';
          await store.zero({ ...common, mode, offset: run.offset, length: run.length, allocate: false });
        }
      });
    }
  }

  /** Rewrites blocks of this node that do not verify with another replica's content (I-7). */
  async repair(context: EpochContext, address: ObjectAddress, blocks: readonly number[]): Promise<void> {
    const { node } = this;
    const objectBytes = objectBytesOf(address);
    const sources = context.view.locate(address).serving.filter((id) => id !== node.selfId);
    for (const block of blocks) {
      const offset = block * BLOCK_SIZE;
      const length = Math.min(BLOCK_SIZE, objectBytes - offset);
      const data = await this.firstGood(context, address, sources, offset, length);
      if (data !== undefined) {
        const common = { oid: address.oid, objectBytes, epoch: context.view.epoch, sync: false };
        await node.store.write({ ...common, mode: 'ensure', offset, data });
      } else if (node.unsettled.hasObject(address.oid)) {
        // Half written when the power went, and on no replica better: never acknowledged as durable, so what is there
        // is as right as anything.
        await node.store.adopt(address.oid, [block]);
      } else {
        throw new AppError(
          'io',
          `block ${block} of object ${address.oid.toString(16)} is bad on every replica`,
        );
      }
      node.options.log.warn({ oid: address.oid.toString(16), block }, 'a bad block was repaired');
    }
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
        return await this.fetch(context, address, id, offset, length);
      } catch (error) {
        if (!AppError.isCode(error, 'checksum', 'no-object', 'io')) throw error;
      }
    }
    return undefined;
  }

  private noteMoved(context: EpochContext, address: ObjectAddress, nodeId: string, runs: Difference[]): void {
    const moved = runs.map((r) => `${r.kind} ${r.offset}+${r.length}`).slice(0, 8);
    const fields = {
      oid: formatOid(address.oid),
      to: nodeId,
      epoch: context.view.epoch,
      runs: runs.length,
      moved,
    };
    this.node.options.log.debug(fields, 'a replica is made equal');
  }

  private async fetch(
    context: EpochContext,
    address: ObjectAddress,
    nodeId: string,
    offset: number,
    length: number,
  ): Promise<Uint8Array> {
    const answer = await this.ask(context, nodeId, () => {
      const message = addressed(PeerType.replicaRead, address);
      message.offset = offset;
      message.length = length;
      return message;
    });
    return answer.payload;
  }

  private async checksumsOf(
    context: EpochContext,
    address: ObjectAddress,
    nodeId: string,
    trusting = false,
  ): Promise<Uint32Array | undefined> {
    const answer = await this.ask(context, nodeId, () =>
      Object.assign(addressed(PeerType.replicaSums, address), { length: trusting ? 1 : 0 }),
    );
    if (answer.length === 0) return undefined;
    const bytes = new Uint8Array(answer.payload);
    return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  }

  private async mutationFor(address: ObjectAddress, run: Difference): Promise<Mutation> {
    const { kind, offset, length } = run;
    if (kind === 'remove') return removeOf(false);
    if (kind === 'data') {
      const data = await this.node.store.read(address.oid, offset, length);
      return writeOf(offset, data, { mode: 'ensure', sync: false });
    }
    const mode = kind === 'create' ? 'create' : 'ensure';
    return zeroOf(offset, length, { mode, sync: false, allocate: false });
  }

  /** Asks until there is an answer or the epoch ends. */
  private async ask(context: EpochContext, nodeId: string, build: () => ReturnType<typeof addressed>) {
    const { node } = this;
    for (;;) {
      if (context !== node.context || node.stopped) throw new EpochEnded();
      try {
        return await node.ask(context, nodeId, build());
      } catch (error) {
        if (!AppError.isCode(error, 'network', 'again', 'old-epoch', 'new-epoch')) throw error;
        await node.pauseInEpoch(context, RETRY_MS);
      }
    }
  }
}

/** An object that is removed or made anew while it is copied is copied again under the lock. */
function ifObjectWent(error: unknown): number {
  if (AppError.isCode(error, 'no-object')) return 0;
  throw error;
}

interface Difference {
  /** create: make it, all holes; remove: it must not exist; hole and data: a range. */
  readonly kind: 'create' | 'remove' | 'hole' | 'data';
  readonly offset: number;
  readonly length: number;
}

/** What turns an object with checksums `has` into one with checksums `want`, in order. Pure. */
export function differences(
  want: Uint32Array | undefined,
  has: Uint32Array | undefined,
  objectBytes: number,
): Difference[] {
  if (want === undefined) return has === undefined ? [] : [{ kind: 'remove', offset: 0, length: 0 }];
  const result: Difference[] = [];
  // A file that was cut short is no object of its size any more: it is made anew.
  if (has?.length !== want.length) {
    has = undefined;
    result.push({ kind: 'create', offset: 0, length: objectBytes });
  }
  for (let block = 0; block < want.length; ) {
    if (want[block] === (has?.[block] ?? 0)) {
      block++;
      continue;
    }
    const first = block;
    const hole = want[block] === 0;
    const limit = first + (hole ? want.length : RUN_BYTES_MAX / BLOCK_SIZE);
    while (
      block < want.length &&
      block < limit &&
      (want[block] === 0) === hole &&
      want[block] !== (has?.[block] ?? 0)
    ) {
      block++;
    }
    const offset = first * BLOCK_SIZE;
    const length = Math.min(block * BLOCK_SIZE, objectBytes) - offset;
    result.push({ kind: hole ? 'hole' : 'data', offset, length });
  }
  return result;
}
