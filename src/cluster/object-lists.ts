import { isInode } from '../wire/oid.js';
import { emptyMessage, type PeerMessage, PeerType } from '../wire/peer-message.js';
import type { EpochContext, ObjectNode } from './object-node.js';
import { encodeOids } from './oid-list.js';

/** Entries in one answer. */
export const LISTED_PAGE_ENTRIES = 1024;
/** Objects looked at in one go: placing them costs time that others wait for. */
const SCAN_STEP = 256;

interface Lists {
  /** What they were made for: moves and losses, not who happens to be up. */
  readonly key: string;
  readonly byNode: Map<string, bigint[]>;
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

  /** For a peer: what follows `oid` in its list. Answer: `length` entries are left from there on, a page of them. */
  async answer(message: PeerMessage, asker: string): Promise<PeerMessage> {
    const context = this.node.context!;
    const list = await this.of(context, asker);
    const from = firstAfter(list, message.oid);
    const answer = emptyMessage(PeerType.listed + 1);
    answer.length = list.length - from;
    answer.payload = encodeOids(list.slice(from, from + LISTED_PAGE_ENTRIES));
    return answer;
  }

  /** In the order of `compareOids`. */
  async of(context: EpochContext, nodeId: string): Promise<readonly bigint[]> {
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
    return (await this.lists).byNode.get(nodeId) ?? [];
  }

  private async scan(context: EpochContext, key: string): Promise<Lists> {
    const { node } = this;
    const byNode = new Map<string, bigint[]>();
    let seen = 0;
    for await (const oid of node.store.objects()) {
      if (++seen % SCAN_STEP === 0) await node.pause(1);
      const address = await node.options.resolve(oid);
      // Nobody's object: whoever has it finds out by itself.
      const placement = address && context.view.locate(address);
      for (const id of placement?.holders ?? [node.selfId]) {
        if (placement?.placed.includes(id) && !context.view.nodes.get(id)?.incomplete) continue;
        const list = byNode.get(id);
        if (list === undefined) byNode.set(id, [oid]);
        else list.push(oid);
      }
    }
    for (const list of byNode.values()) list.sort(compareOids);
    node.options.log.debug({ key, seen }, 'the store was looked through for objects to give away');
    return { key, byNode };
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
function firstAfter(list: readonly bigint[], cursor: bigint): number {
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
