import { AppError } from '../../base/errors.js';
import { PeerFlag, PeerType } from '../../wire/peer-message.js';
import { type ObjectAddress, objectBytesOf } from '../epochs/address.js';
import { addressed } from '../objects/mutation.js';
import { type EpochContext, EpochEnded, type ObjectNode } from '../objects/object-node.js';
import type { Primary } from '../objects/primary.js';
import { reserve, roomBytes } from './recovery-space.js';

/** Larger objects are mostly holes. */
const EXPECTED_BYTES_MAX = 4 * 1024 * 1024;

/** Has one object of this node made what its primary says it is, for nodes that catch up or take objects over. */
export class Comparison {
  /** Since the process started, whatever for. */
  readonly totals = { objects: 0, bytes: 0 };

  constructor(
    private readonly node: ObjectNode,
    private readonly primary: Primary,
  ) {}

  /**
   * Resolves with the bytes that had to be moved. Throws EpochEnded; 'again' while nobody can say what is right; for a
   * move, 'io' while a block of it may only be with somebody who is down.
   */
  async run(context: EpochContext, oid: bigint, forMove = false): Promise<number> {
    const bytes = await this.compare(context, oid, forMove);
    this.totals.objects++;
    this.totals.bytes += bytes;
    return bytes;
  }

  private async compare(context: EpochContext, oid: bigint, forMove: boolean): Promise<number> {
    const { node } = this;
    if (context !== node.context || node.stopped) throw new EpochEnded();
    const address = await node.resolveOrDrop(context, oid);
    if (address === undefined) return 0;
    const { holders, serving } = context.view.locate(address);
    if (!holders.includes(node.selfId)) {
      // What was removed while this node was away, if its vid is another volume's by now. It goes when all is well.
      if (node.store.has(oid)) node.mayHaveStrays = true;
      return 0;
    }
    const primary = serving[0];
    if (primary === undefined) throw new AppError('again', 'the holders with the newest content are awaited');
    if (primary === node.selfId) return this.primary.reconcile(address, { asker: node.selfId, forMove });
    await this.makeSureItFits(context, primary, address);
    // What is refused from here on is in the set again.
    const wasRefused = node.refused.delete(oid);
    try {
      const message = addressed(PeerType.reconcile, address);
      if (forMove) message.flags = PeerFlag.move;
      const { length } = await node.ask(context, primary, message);
      // Who settles an object for all does not wait for one without room.
      if (node.refused.has(oid)) throw new AppError('no-space', 'an object has no room here');
      return length;
    } catch (error) {
      if (wasRefused) node.refused.add(oid);
      throw error;
    }
  }

  /** Recovery stops while there still is room for what clients write (I-8); what was removed meanwhile needs none. */
  private async makeSureItFits(
    context: EpochContext,
    primary: string,
    address: ObjectAddress,
  ): Promise<void> {
    const { store } = this.node;
    const bytes = Math.min(objectBytesOf(address), EXPECTED_BYTES_MAX);
    if (store.has(address.oid) || roomBytes(store) >= bytes) return;
    const { length } = await this.node.ask(context, primary, addressed(PeerType.status, address));
    if (length > 0) reserve(store, bytes);
  }

  /**
   * Before this node says that it has everything: what it had no room for is made right, and from then on such a change
   * fails. Throws 'no-space' while there is none.
   */
  async complete(context: EpochContext): Promise<void> {
    const { node } = this;
    node.strict = true;
    try {
      for (const oid of [...node.refused]) await this.run(context, oid);
    } catch (error) {
      node.strict = false;
      throw error;
    }
  }
}
