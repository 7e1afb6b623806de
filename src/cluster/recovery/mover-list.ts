import { emptyMessage, PeerType } from '../../wire/peer-message.js';
import { compareOids, firstAfter, type ObjectLists } from '../objects/object-lists.js';
import type { EpochContext, ObjectNode } from '../objects/object-node.js';
import { decodeOids } from '../objects/oid-list.js';

/** Entries that are merged at a time, of all lists together. */
const MERGED_MAX = 4096;
const EACH_MIN = 64;

/** One node's list from the cursor on, as far as it is known here. */
interface Source {
  /** Undefined: this node's own, which is known as a whole. */
  readonly nodeId: string | undefined;
  oids: readonly bigint[];
  at: number;
  /** Behind what is known. */
  behind: number;
  /** Estimates for one entry: objects that are in this list and in no other, and bytes they take. */
  shareOfEntry: number;
  bytesOfEntry: number;
}

/**
 * What one node is to be given in one epoch: the lists of all nodes that are up, merged in their order from a cursor
 * on. Each list is fetched page by page, each page once.
 */
export class MoveList {
  private readonly sources: Source[] = [];
  private averageBytes = 0;

  private constructor(
    private readonly node: ObjectNode,
    private readonly context: EpochContext,
    private cursor: bigint,
  ) {}

  /** Behind `cursor`; 0n is before all. */
  static async open(
    node: ObjectNode,
    lists: ObjectLists,
    context: EpochContext,
    cursor: bigint,
  ): Promise<MoveList> {
    const list = new MoveList(node, context, cursor);
    const oids = await lists.of(context, node.selfId);
    const known = { at: 0, behind: 0, shareOfEntry: 0, bytesOfEntry: 0 };
    list.sources.push({ ...known, nodeId: undefined, oids, at: firstAfter(oids, cursor) });
    // Their lists are empty so far; the first page says how long they are.
    for (const nodeId of context.view.peers) list.sources.push({ ...known, nodeId, oids: [], behind: 1 });
    return list;
  }

  /** The next objects of all lists together; none: that was all. */
  async next(): Promise<bigint[]> {
    const { sources } = this;
    await Promise.all(
      sources.filter((s) => s.at === s.oids.length && s.behind > 0).map((s) => this.fetch(s)),
    );
    const objects = this.sum('shareOfEntry');
    if (objects > 0) this.averageBytes = this.sum('bytesOfEntry') / objects;
    const each = Math.max(EACH_MIN, Math.ceil(MERGED_MAX / sources.length));
    const merged = new Set<bigint>();
    let end: bigint | undefined;
    for (const source of sources) {
      const upTo = Math.min(source.oids.length, source.at + each);
      for (let i = source.at; i < upTo; i++) merged.add(source.oids[i]!);
      if (upTo === source.oids.length && source.behind === 0) continue;
      // What others have behind the known part of a list must wait for it.
      const last = source.oids[upTo - 1]!;
      if (end === undefined || compareOids(last, end) < 0) end = last;
    }
    const page = [...merged].filter((oid) => end === undefined || compareOids(oid, end) <= 0);
    page.sort(compareOids);
    if (page.length > 0) this.advance(page[page.length - 1]!);
    return page;
  }

  /** About how many objects are left; most are in the lists of several. */
  get remaining(): number {
    return Math.round(Math.max(0, ...this.sources.map(entriesLeft), this.sum('shareOfEntry')));
  }

  /** The same, where each list tells its share: for estimates of bytes. */
  get remainingObjects(): number {
    return this.sum('shareOfEntry');
  }

  /** Room that one of them takes, on the average. */
  get bytesPerObject(): number {
    return this.averageBytes;
  }

  private sum(what: 'shareOfEntry' | 'bytesOfEntry'): number {
    return this.sources.reduce((sum, source) => sum + source[what] * entriesLeft(source), 0);
  }

  private advance(cursor: bigint): void {
    this.cursor = cursor;
    for (const source of this.sources) {
      const { oids } = source;
      while (source.at < oids.length && compareOids(oids[source.at]!, cursor) <= 0) source.at++;
    }
  }

  private async fetch(source: Source): Promise<void> {
    const message = emptyMessage(PeerType.listed);
    message.oid = source.oids[source.oids.length - 1] ?? this.cursor;
    const answer = await this.node.ask(this.context, source.nodeId!, message);
    source.oids = decodeOids(answer.payload);
    source.at = 0;
    source.behind = answer.length - source.oids.length;
    source.shareOfEntry = answer.length === 0 ? 0 : answer.sequence / answer.length;
    source.bytesOfEntry = answer.length === 0 ? 0 : answer.offset / answer.length;
  }
}

function entriesLeft(source: Source): number {
  return source.oids.length - source.at + source.behind;
}
