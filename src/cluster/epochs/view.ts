import { Signal } from '../../base/signal.js';
import { type Hash64, sdHashOid } from '../../wire/hash.js';
import { placementOid } from '../../wire/oid.js';
import type { ObjectAddress } from './address.js';
import { type AuthorityHistory, nodesOf, type Standing } from './authority.js';
import type { EpochNode, EpochRecord } from './epoch.js';
import { committedRing, targetRing } from './placement-rings.js';
import { COPIES_MAX, placementIds, pointOf, positionsReaching, type Ring } from './ring.js';

export type Placement = Standing;

/** What decides how many copies an object has: those of its volume, unless its family had them altered. */
export interface Copies {
  readonly root: number;
  readonly copies: number;
}

/** Copies now, and at the end of each move of the history. */
interface Shape {
  readonly copies: number;
  readonly targets: readonly number[];
  readonly key: string;
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
  /** One for each move of the history. */
  private readonly targets: readonly Ring[];
  /** By shape, then by place. */
  private readonly cache = new Map<string, Map<bigint, Placement>>();
  private readonly shapes = new Map<number, Shape>();
  private readonly served = new Map<string, boolean>();
  private readonly ownServed = new Map<string, boolean>();

  constructor(
    readonly history: AuthorityHistory,
    readonly selfId: string,
    private readonly minCopiesOf: (copies: number) => number,
    private readonly mutants: { readonly serveOlder?: boolean } = {},
  ) {
    const record = history.current;
    this.epoch = record.epoch;
    this.nodes = nodesOf(record);
    this.peers = record.nodes.filter((n) => n.up && n.id !== selfId).map((n) => n.id);
    this.ring = committedRing(record);
    this.targets = history.moves.map(targetRing);
  }

  get self(): EpochNode | undefined {
    return this.nodes.get(this.selfId);
  }

  get record(): EpochRecord {
    return this.history.current;
  }

  locate(address: ObjectAddress): Placement {
    const point = placementOid(address.oid, address.root);
    const shape = this.shapeOf(address);
    let cache = this.cache.get(shape.key);
    if (cache === undefined) this.cache.set(shape.key, (cache = new Map()));
    let found = cache.get(point);
    if (found === undefined) {
      const hash = sdHashOid(point);
      const targets = this.targets.map((ring, i) => placementIds(ring, hash, shape.targets[i]!));
      found = this.standing(placementIds(this.ring, hash, shape.copies), targets);
      if (cache.size >= PLACEMENT_CACHE_ENTRIES_MAX) cache.clear();
      cache.set(point, found);
    }
    return found;
  }

  /** Copies that objects of this family count as having now, whatever a volume's record or a client still says. */
  copiesOf(family: Copies): number {
    return this.record.families?.[family.root.toString(16)]?.copies ?? family.copies;
  }

  /** For every set of holders the ring can make for the family, all that count as having the newest content are up. */
  allServed(family: Copies): boolean {
    const shape = this.shapeOf(family);
    let served = this.served.get(shape.key);
    if (served === undefined) {
      served = true;
      for (const { serving, authority } of this.sets(shape))
        if (serving.length < authority.length) served = false;
      this.served.set(shape.key, served);
    }
    return served;
  }

  /**
   * For every set of holders that the ring can make with this node in it, for any number of copies, somebody with the
   * newest content is up: what a node that catches up needs before it can be sure that nothing is missing.
   */
  everySetServed(copiesInUse?: Iterable<number>): boolean {
    for (const shape of this.shapesInUse(copiesInUse)) if (!this.ownSetsServed(shape)) return false;
    return true;
  }

  /** Asked again and again by who waits for it, of one view. */
  private ownSetsServed(shape: Shape): boolean {
    let served = this.ownServed.get(shape.key);
    if (served === undefined) {
      served = true;
      for (const { serving, holders } of this.sets(shape)) {
        if (serving.length > 0 || !holders.includes(this.selfId)) continue;
        served = false;
        break;
      }
      this.ownServed.set(shape.key, served);
    }
    return served;
  }

  /** Sets of holders of whom nobody is up who has the newest content: their objects wait. */
  *unservedSets(copiesInUse?: Iterable<number>): Iterable<Placement> {
    for (const shape of this.shapesInUse(copiesInUse)) {
      for (const set of this.sets(shape)) if (set.serving.length === 0) yield set;
    }
  }

  /** Sets of holders that the rings can make with one of these nodes in it. */
  setsWith(nodes: ReadonlySet<string>, copiesInUse?: Iterable<number>): ReadonlySet<Placement> {
    const found = new Set<Placement>();
    for (const shape of this.shapesInUse(copiesInUse))
      for (const set of this.sets(shape, nodes)) found.add(set);
    return found;
  }

  private shapesInUse(copiesInUse?: Iterable<number>): Iterable<Shape> {
    const copiesMax = Math.min(COPIES_MAX, this.ring.holderCount);
    const all = Array.from({ length: copiesMax }, (_, i) => i + 1);
    const shapes = new Map<string, Shape>();
    for (const copies of copiesInUse ?? all) {
      const shape = this.shapeOf({ root: -1, copies: Math.min(copies, Math.max(1, copiesMax)) });
      shapes.set(shape.key, shape);
    }
    for (const root of Object.keys(this.record.families ?? {})) {
      const shape = this.shapeOf({ root: Number.parseInt(root, 16), copies: 1 });
      shapes.set(shape.key, shape);
    }
    return shapes.values();
  }

  /** Those with one of these nodes in it; without them: with a node that is not, or was not, as it should be. */
  private *sets(shape: Shape, nodes = this.history.disturbed): Iterable<Placement> {
    if (nodes.size === 0) return;
    const rings = [this.ring, ...this.targets];
    for (const [i, ring] of rings.entries()) {
      const copies = i === 0 ? shape.copies : shape.targets[i - 1]!;
      for (const point of positionsReaching(ring, (node) => nodes.has(node.id), copies)) {
        // Objects with one set on this ring may have several on the others: those whose points lie in between.
        for (const hash of boundariesBefore(ring, point, rings)) {
          const placed = placementIds(this.ring, hash, shape.copies);
          // Before the first node had room for objects there were none.
          if (placed.length === 0) continue;
          const targets = this.targets.map((target, t) => placementIds(target, hash, shape.targets[t]!));
          if (![placed, ...targets].some((ids) => ids.some((id) => nodes.has(id)))) continue;
          yield this.standing(placed, targets);
        }
      }
    }
  }

  private standing(placed: readonly string[], targets: readonly (readonly string[])[]): Placement {
    const found = this.history.standing(placed, this.minCopiesOf(placed.length), targets);
    if (!this.mutants.serveOlder || found.serving.length > 0) return found;
    return { ...found, serving: found.targets, targets: [] };
  }

  private shapeOf(family: Copies): Shape {
    const { families } = this.record;
    if (families === undefined && this.targets.length === 0) return plainShape(family.copies);
    const key = family.root * (COPIES_MAX + 1) + family.copies;
    let shape = this.shapes.get(key);
    if (shape === undefined) this.shapes.set(key, (shape = this.alteredShape(family)));
    return shape;
  }

  private alteredShape(family: Copies): Shape {
    const { families } = this.record;
    const root = family.root.toString(16);
    const copies = families?.[root]?.copies ?? family.copies;
    const targets = this.history.moves.map((move) => move.families?.[root]?.next ?? copies);
    return { copies, targets, key: [copies, ...targets].join('>') };
  }
}

const plainShapes: Shape[] = [];

function plainShape(copies: number): Shape {
  return (plainShapes[copies] ??= { copies, targets: [], key: String(copies) });
}

/** Upper ends of the ranges of hashes that this point of the ring stands for, cut by the points of all rings. */
function* boundariesBefore(ring: Ring, point: number, rings: readonly Ring[]): Iterable<Hash64> {
  const to = { hi: ring.hi[point]!, lo: ring.lo[point]! };
  yield to;
  const former = (point - 1 + ring.size) % ring.size;
  const from = { hi: ring.hi[former]!, lo: ring.lo[former]! };
  for (const other of rings) {
    if (other === ring || other.size === 0) continue;
    const end = pointOf(other, to.hi, to.lo);
    for (let at = pointOf(other, from.hi, from.lo), n = 0; at !== end && n < other.size; n++) {
      yield { hi: other.hi[at]!, lo: other.lo[at]! };
      at = (at + 1) % other.size;
    }
  }
}
