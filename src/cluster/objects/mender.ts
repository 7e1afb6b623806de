import { BLOCK_SIZE, isZero } from '../../base/bytes.js';
import { AppError } from '../../base/errors.js';
import { BAD } from '../../store/checksum.js';
import { formatOid } from '../../wire/oid.js';
import { type ObjectAddress, objectBytesOf } from '../epochs/address.js';
import type { ClusterView } from '../epochs/view.js';
import type { EpochContext, ObjectNode } from './object-node.js';
import { fetchBytes, fetchSums, isHoleAt } from './replica-requests.js';

/** Rewrites blocks of this node that do not verify, from whoever has their content (I-7). */
export class Mender {
  constructor(private readonly node: ObjectNode) {}

  /**
   * As an object's primary and under its lock. AppError 'io' when nobody has a block; 'again' when one that is away may
   * have it: a request waits for what is not lost, until that member is back, given up or declared lost.
   */
  async repair(context: EpochContext, address: ObjectAddress, blocks: readonly number[]): Promise<void> {
    const [lost] = await this.mend(context, address, blocks);
    if (lost === undefined) return;
    const what = `block ${lost} of object ${formatOid(address.oid)} is bad on every replica`;
    const isAwaitedFrom = context.view.locate(address).placed.some((id) => isAwaited(context, id));
    throw isAwaitedFrom
      ? new AppError('again', `${what} that is here; a holder that is away may have it`)
      : new AppError('io', what);
  }

  /** The same; resolves with the blocks of which no replica that is in sync has the content. */
  async mend(context: EpochContext, address: ObjectAddress, blocks: readonly number[]): Promise<number[]> {
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
   * What a move must not pass by: once it is over, the object lies elsewhere than on those who are down, and they are
   * not asked again. Their data is waited for, however long they have been away, until it is declared lost.
   */
  checkNobodyHas(context: EpochContext, address: ObjectAddress, lost: readonly number[]): void {
    const { view } = context;
    const [nodeId] = view.locate(address).placed.filter((id) => isAway(view, id));
    if (lost.length === 0 || nodeId === undefined) return;
    const { host, port } = view.nodes.get(nodeId)!;
    const name = `${host}:${port}`;
    throw new AppError(
      'io',
      `block ${lost[0]} is bad here, and ${name}, which is down, may have it: start that sheep; ` +
        `if its data is gone: 'dog node lost ${name}'`,
    );
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
}

/** It is away, and will be back as far as anybody knows: one that lost its newest writes may have older ones too. */
function isAwaited({ view }: EpochContext, nodeId: string): boolean {
  return isAway(view, nodeId) && view.nodes.get(nodeId)!.in;
}

/** It is down with its data, which nobody has declared lost. */
function isAway(view: ClusterView, nodeId: string): boolean {
  const node = view.nodes.get(nodeId);
  return node?.up === false && !node.incomplete;
}
