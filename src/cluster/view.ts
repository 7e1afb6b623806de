import { Signal } from '../base/signal.js';
import { sdHashOid } from '../wire/hash.js';
import { placementOid } from '../wire/oid.js';
import type { ObjectAddress } from './address.js';
import type { AuthorityHistory, Standing } from './authority.js';
import type { EpochNode } from './epoch.js';
import { buildRing, COPIES_MAX, placementAt, placementIds, type Ring } from './ring.js';

export interface Placement extends Standing {
  readonly holders: readonly string[];
}

const PLACEMENT_CACHE_ENTRIES_MAX = 65536;

/** One epoch as one node sees it: membership, authority and placement. Immutable but for its end. */
export class ClusterView {
  readonly epoch: number;
  readonly nodes: ReadonlyMap<string, EpochNode>;
  /** Ids of all other nodes that are up. */
  readonly peers: readonly string[];
  /** Fires when a newer view has replaced this one. */
  readonly ended = new Signal();
  private readonly ring: Ring;
  private readonly cache = new Map<bigint, Placement>();
  private readonly served = new Map<number, boolean>();

  constructor(
    readonly history: AuthorityHistory,
    readonly selfId: string,
    private readonly minCopiesOf: (copies: number) => number,
  ) {
    const record = history.current;
    this.epoch = record.epoch;
    this.nodes = new Map(record.nodes.map((n) => [n.id, n]));
    this.peers = record.nodes.filter((n) => n.up && n.id !== selfId).map((n) => n.id);
    this.ring = buildRing(record.nodes.filter((n) => n.in));
  }

  get self(): EpochNode | undefined {
    return this.nodes.get(this.selfId);
  }

  locate(address: ObjectAddress): Placement {
    const point = placementOid(address.oid, address.root);
    const key = (point << 5n) | BigInt(address.copies);
    let found = this.cache.get(key);
    if (found === undefined) {
      const holders = placementIds(this.ring, sdHashOid(point), address.copies);
      found = { holders, ...this.history.standing(holders, this.minCopiesOf(holders.length)) };
      if (this.cache.size >= PLACEMENT_CACHE_ENTRIES_MAX) this.cache.clear();
      this.cache.set(key, found);
    }
    return found;
  }

  /** For every set of `copies` holders that the ring can make, all that count as having the newest content are up. */
  allServed(copies: number): boolean {
    let served = this.served.get(copies);
    if (served === undefined) {
      served = true;
      for (let point = 0; point < this.ring.size && served; point++) {
        const holders = placementAt(this.ring, point, copies).map((i) => this.ring.nodes[i]!.id);
        const { serving, authority } = this.history.standing(holders, this.minCopiesOf(holders.length));
        served = serving.length === authority.length;
      }
      this.served.set(copies, served);
    }
    return served;
  }

  /**
   * For every set of holders that the ring can make with this node in it, for any number of copies, somebody with the
   * newest content is up: what a node that catches up needs before it can be sure that nothing is missing.
   */
  everySetServed(copiesInUse?: Iterable<number>): boolean {
    const copiesMax = Math.min(COPIES_MAX, this.ring.holderCount);
    const all = Array.from({ length: copiesMax }, (_, i) => i + 1);
    const counts = new Set([...(copiesInUse ?? all)].map((copies) => Math.min(copies, copiesMax)));
    for (const copies of counts) {
      for (let point = 0; point < this.ring.size; point++) {
        const holders = placementAt(this.ring, point, copies).map((i) => this.ring.nodes[i]!.id);
        if (!holders.includes(this.selfId)) continue;
        const { serving } = this.history.standing(holders, this.minCopiesOf(holders.length));
        if (serving.length === 0) return false;
      }
    }
    return true;
  }
}
