import { AppError } from '../../base/errors.js';
import { emptyMessage, type PeerMessage, PeerType } from '../../wire/peer-message.js';
import type { ObjectAddress } from '../epochs/address.js';
import type { Origin } from '../reach/links.js';
import { answerCheck } from './checker.js';
import { addressOf, applyTo, decodeMutation, decodeSpoiled, rangeOf } from './mutation.js';
import type { ObjectLists } from './object-lists.js';
import type { ObjectNode } from './object-node.js';
import { encodeOids } from './oid-list.js';

/** Entries in one answer to `missed`. */
export const MISSED_PAGE_ENTRIES = 262144;

/**
 * A node's part as one of the replicas of an object: it does what the object's primary says, in the primary's epoch,
 * and remembers what the primary has not declared committed yet.
 */
export class Replica {
  constructor(
    private readonly node: ObjectNode,
    private readonly lists: ObjectLists,
  ) {}

  async handle(message: PeerMessage, origin: Origin): Promise<PeerMessage | undefined> {
    const { node } = this;
    if (message.type === PeerType.commit) {
      if (message.epoch === node.epoch) node.unsettled.commit(origin.nodeId, message.commit);
      return undefined;
    }
    const context = await node.checkPeer(message, origin);
    // Nothing may come between this and the work below: an epoch that has been drained takes no more changes.
    if (context !== node.context) throw new AppError('old-epoch', `epoch ${message.epoch} is over`);
    if (message.commit > 0) node.unsettled.commit(origin.nodeId, message.commit);
    switch (message.type) {
      case PeerType.replicaWrite:
      case PeerType.replicaZero:
      case PeerType.replicaRemove:
        return this.change(message, origin);
      case PeerType.replicaRead:
        return this.read(message);
      case PeerType.replicaSums:
        return this.checksums(message);
      case PeerType.replicaCheck:
        return answerCheck(this.node, message);
      case PeerType.replicaSpoil:
        return this.spoil(message);
      case PeerType.replicaSettled:
        return this.settled(message, origin);
      case PeerType.doubt:
        return this.doubt(message);
      case PeerType.flush:
        return this.flush();
      case PeerType.peering:
        return this.peering(message);
      case PeerType.missed:
        return this.missed(message);
      case PeerType.listed:
        return this.lists.answer(message, origin.nodeId);
      default:
        throw new AppError('not-supported', `peer message ${message.type} is not known here`);
    }
  }

  private change(message: PeerMessage, origin: Origin): Promise<PeerMessage> {
    const { address, mutation } = decodeMutation(PeerType.replicaWrite, message);
    const range = rangeOf(mutation, address);
    this.node.noteChange(address.oid);
    // Without a sequence it is part of making replicas equal: nothing of the object is shown before that is done.
    if (message.sequence === 0) this.node.unsettled.add(address.oid);
    else this.node.unsettled.begin(origin.nodeId, message.sequence, address.oid, range.start, range.end);
    return this.node.applyWork(async () => {
      try {
        await applyTo(this.node.store, address, mutation, message.epoch);
      } catch (error) {
        if (!this.isTargetWithoutRoom(address, error)) throw error;
        this.node.refused.add(address.oid);
        if (this.node.strict) this.takeBack();
        // Who makes replicas equal must know; a client's change goes on without this one.
        if (message.sequence === 0) throw error;
      }
      return emptyMessage(message.type + 1);
    });
  }

  /**
   * This node has said, or is about to say, that it has everything. Before anything is shown that it lacks, that word
   * is taken back: the change is repeated until there is an epoch without it.
   */
  private takeBack(): never {
    void this.node.options.membership.startAnew('it had no room for a change after it had caught up');
    throw new AppError('again', 'this node has no room and gives up its place');
  }

  /** A node that does not count yet keeps nobody from writing because its own disk is full (I-8). */
  private isTargetWithoutRoom(address: ObjectAddress, error: unknown): boolean {
    const { node } = this;
    if (!AppError.isCode(error, 'no-space')) return false;
    return node.context!.view.locate(address).targets.includes(node.selfId);
  }

  /** Part of making replicas equal: what nobody has must not pass for holes or for something old here. */
  private spoil(message: PeerMessage): Promise<PeerMessage> {
    const { node } = this;
    node.unsettled.add(message.oid);
    const { blocks, sums } = decodeSpoiled(message.payload);
    return node.applyWork(async () => {
      await node.store.spoil(message.oid, blocks, sums, message.epoch);
      return emptyMessage(PeerType.replicaSpoil + 1);
    });
  }

  private async read(message: PeerMessage): Promise<PeerMessage> {
    const address = addressOf(message);
    const answer = emptyMessage(PeerType.replicaRead + 1);
    answer.payload = await this.node.store.read(address.oid, message.offset, message.length);
    return answer;
  }

  /**
   * Answer: length 1 and the table when the object exists, length 0 when it does not. Blocks that do not verify are
   * given a checksum that nobody has, so that they are replaced; with length 1 in the request they are not looked at.
   */
  private async checksums(message: PeerMessage): Promise<PeerMessage> {
    const { store } = this.node;
    const bad = message.length === 0 && store.has(message.oid) ? await store.verify(message.oid) : [];
    const table = store.checksums(message.oid);
    for (const block of bad) if (table !== undefined) table[block] = ~table[block]! >>> 0 || 1;
    const answer = emptyMessage(PeerType.replicaSums + 1);
    answer.length = table === undefined ? 0 : 1;
    if (table !== undefined)
      answer.payload = new Uint8Array(table.buffer, table.byteOffset, table.byteLength);
    return answer;
  }

  /** One object, or (without one) everything that the sender is the primary of in this epoch. */
  private async settled(message: PeerMessage, origin: Origin): Promise<PeerMessage> {
    if (message.oid === 0n) {
      this.node.context!.settledPrimaries.add(origin.nodeId);
      return emptyMessage(PeerType.replicaSettled + 1);
    }
    await this.node.applyWork(() => this.node.store.touch(message.oid, message.epoch));
    this.node.unsettled.settle(message.oid);
    await this.node.store.clearSuspects([message.oid]);
    return emptyMessage(PeerType.replicaSettled + 1);
  }

  private async doubt({ oid }: PeerMessage): Promise<PeerMessage> {
    if (this.node.store.has(oid)) this.node.unsettled.add(oid);
    return emptyMessage(PeerType.doubt + 1);
  }

  private async flush(): Promise<PeerMessage> {
    if (!this.node.options.mutants?.skipJournalSync) await this.node.store.flush();
    return emptyMessage(PeerType.flush + 1);
  }

  private async peering(message: PeerMessage): Promise<PeerMessage> {
    const context = this.node.context!;
    await context.drained.promise;
    if (context !== this.node.context) throw new AppError('old-epoch', `epoch ${message.epoch} is over`);
    const answer = emptyMessage(PeerType.peering + 1);
    const { hideUnsettled } = this.node.options.mutants ?? {};
    answer.payload = encodeOids(hideUnsettled ? [] : [...this.node.unsettled.pending]);
    return answer;
  }

  /** What was touched since the epoch in `length`, from place `offset` of the list on; answer `length`: its size. */
  private async missed(message: PeerMessage): Promise<PeerMessage> {
    await this.node.context!.drained.promise;
    const all = await this.node.store.touchedSince(message.length);
    const answer = emptyMessage(PeerType.missed + 1);
    answer.length = all.length;
    answer.payload = encodeOids(all.slice(message.offset, message.offset + MISSED_PAGE_ENTRIES));
    return answer;
  }
}
