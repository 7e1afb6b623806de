import { isInode } from '../../wire/oid.js';
import { emptyMessage, type PeerMessage, PeerType } from '../../wire/peer-message.js';
import type { EpochContext, ObjectNode } from './object-node.js';
import { encodeOids } from './oid-list.js';

/** Entries in one answer. */
export const LISTED_PAGE_ENTRIES = 1024;
/** Objects looked at in one go: placing them costs time that others wait for. */
const SCAN_STEP = 256;

interface List {
  readonly oids: bigint[];
  /** Each object counted as one divided by those who list it too: the shares of all lists make their number. */
  share: number;
}

interface Lists {
  /** What they were made for: moves and losses, not who happens to be up. */
  readonly key: string;
  readonly byNode: Map<string, List>;
  /** Room that an object takes here on the average. */
  readonly bytesPerObject: number;
}

/**
 * Which objects of this node's store each node is to be given: those that the target of a move places on it, and all
 * that it should hold when it has lost some. One walk through the store serves all who ask; the lists hold nothing but
 * what has to be compared, sorted, so that who asks can merge them and go on where it was. Objects that are made later
 * reach their holders by being written.
 */
export class ObjectLists {
  private lists: Promise<Lists> | undefined;
  private key = '';

  constructor(private readonly node: ObjectNode) {}

  /**
   * For a peer: what follows `oid` in its list. Answer: `length` entries are left from there on, a page of them. Of
   * these `sequence` objects and `offset` bytes are this list's share, when all who list an object share it: estimates.
   */
  async answer(message: PeerMessage, asker: string): Promise<PeerMessage> {
    const { byNode, bytesPerObject } = await this.listsFor(this.node.context!);
    const { oids, share } = byNode.get(asker) ?? { oids: [], share: 0 };
    const from = firstAfter(oids, message.oid);
    const answer = emptyMessage(PeerType.listed + 1);
    answer.length = oids.length - from;
    const objects = oids.length === 0 ? 0 : (share * answer.length) / oids.length;
    answer.sequence = Math.ceil(objects);
    answer.offset = Math.round(objects * bytesPerObject);
    answer.payload = encodeOids(oids.slice(from, from + LISTED_PAGE_ENTRIES));
    return answer;
  }

  /** In the order of `compareOids`. */
  async of(context: EpochContext, nodeId: string): Promise<readonly bigint[]> {
    return (await this.listsFor(context)).byNode.get(nodeId)?.oids ?? [];
  }

  private async listsFor(context: EpochContext): Promise<Lists> {
    // What an earlier epoch still writes must not be overlooked.
    await context.drained.promise;
    const key = keyOf(context);
    if (this.lists === undefined || this.key !== key) {
      this.key = key;
      this.lists = this.scan(context, key);
      this.lists.catch(() => {
        if (this.key === key) this.lists = undefined;
      });
    }
    return this.lists;
  }

  private async scan(context: EpochContext, key: string): Promise<Lists> {
    const { node } = this;
    const byNode = new Map<string, List>();
    let seen = 0;
    for await (const oid of node.store.objects()) {
      if (++seen % SCAN_STEP === 0) await node.pause(1);
      const address = await node.options.resolve(oid);
      // Nobody's object: whoever has it finds out by itself.
      const placement = address && context.view.locate(address);
      for (const id of placement?.holders ?? [node.selfId]) {
        if (placement?.placed.includes(id) && !context.view.nodes.get(id)?.incomplete) continue;
        const list = byNode.get(id) ?? { oids: [], share: 0 };
        list.oids.push(oid);
        // Only who is up is asked.
        list.share += 1 / Math.max(1, placement?.serving.length ?? 1);
        byNode.set(id, list);
      }
    }
    for (const { oids } of byNode.values()) oids.sort(compareOids);
    node.options.log.debug({ key, seen }, 'the store was looked through for objects to give away');
    const bytesPerObject = seen === 0 ? 0 : node.store.stats().usedBytes / seen;
    return { key, byNode, bytesPerObject };
  }
}

function keyOf(context: EpochContext): string {
  const { record } = context.view;
  const incomplete = record.nodes.filter((n) => n.incomplete).map((n) => `${n.id}/${n.upSince}`);
  return [record.base, record.move ?? 0, ...incomplete].join(' ');
}

/** Inodes first, then by id. */
export function compareOids(a: bigint, b: bigint): number {
  const inodes = Number(isInode(b)) - Number(isInode(a));
  return inodes !== 0 ? inodes : a < b ? -1 : a > b ? 1 : 0;
}

/** Position of the first entry after `cursor`; 0n is before all. */
export function firstAfter(list: readonly bigint[], cursor: bigint): number {
  if (cursor === 0n) return 0;
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareOids(list[middle]!, cursor) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
