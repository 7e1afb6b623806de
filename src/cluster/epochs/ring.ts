/**
 * Placement (D-4): a consistent-hash ring, the same as the original's (reference, section 7.4), so that tools which
 * compute holders themselves find our objects. Pure: no I/O, no time, and independent of the order of the nodes.
 *
 * Each node has `vnodes` points. An object goes to the first point at or after its hash, then further along the
 * ring to nodes of zones not used yet. Beyond the original: with fewer zones than copies, the walk is repeated and
 * takes one more node from each zone per round, so copies are always on distinct nodes and even over the zones.
 */
import { AssertionError } from '../../base/assert.js';
import { addressBytes } from '../../wire/address.js';
import { fnv1a64, type Hash64, sdHash, sdHashNext } from '../../wire/hash.js';
import { COPIES_MAX } from '../../wire/sheepdog.js';

export { COPIES_MAX };
export const VNODES_DEFAULT = 128;

export interface RingNode {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  readonly zone: number;
  /** Weight: number of points. 0: a gateway, holds nothing. */
  readonly vnodes: number;
}

export interface Ring {
  readonly nodes: readonly RingNode[];
  /** Number of points. */
  readonly size: number;
  /** Nodes and zones that have points. */
  readonly holderCount: number;
  readonly zoneCount: number;
  /** Entry r - 1: zones with at least r nodes, which is what round r of a walk finds. */
  readonly zonesByRound: readonly number[];
  /** Points in order of (hi, lo): their hash words and the index of their node in `nodes`. */
  readonly hi: Uint32Array;
  readonly lo: Uint32Array;
  readonly owner: Uint32Array;
  /** Walks already done: by copies, then by point. At most one short array for each point and copy count in use. */
  readonly walks: (readonly number[] | undefined)[][];
}

export function buildRing(nodes: readonly RingNode[]): Ring {
  const { hi, lo, owner } = sortedPoints(nodes);
  const holders = nodes.filter((node) => node.vnodes > 0);
  const zonesByRound = countZonesByRound(holders);
  return {
    nodes,
    size: hi.length,
    holderCount: holders.length,
    zoneCount: zonesByRound[0] ?? 0,
    zonesByRound,
    hi,
    lo,
    owner,
    walks: [],
  };
}

/** Rings built last, by what they were built from: most epochs change nothing about the placement. */
const RINGS_KEPT = 8;
const rings = new Map<string, Ring>();

export function sharedRing(nodes: readonly RingNode[]): Ring {
  const key = nodes.map((n) => `${n.id}/${n.host}/${n.port}/${n.zone}/${n.vnodes}`).join();
  const known = rings.get(key);
  const ring = known ?? buildRing(nodes);
  rings.delete(key);
  rings.set(key, ring);
  if (rings.size > RINGS_KEPT) rings.delete(rings.keys().next().value!);
  return ring;
}

/**
 * Holders of the object with this hash, first the one nearest on the ring: indexes into `ring.nodes`, as many as
 * `copies` or as there are nodes with points. The array is shared and cached: do not change it.
 */
export function placement(ring: Ring, hash: Hash64, copies: number): readonly number[] {
  return placementAt(ring, pointOf(ring, hash.hi, hash.lo), copies);
}

export function placementIds(ring: Ring, hash: Hash64, copies: number): string[] {
  return placement(ring, hash, copies).map((index) => ring.nodes[index]!.id);
}

/**
 * Position of the first point at or after the hash (0 after the last). All hashes with one position have the same
 * holders: the key for caches. -1 for an empty ring.
 */
export function pointOf(ring: Ring, hi: number, lo: number): number {
  if (ring.size === 0) return -1;
  let low = 0;
  let high = ring.size;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const pointHi = ring.hi[middle]!;
    const before = pointHi < hi || (pointHi === hi && ring.lo[middle]! < lo);
    if (before) low = middle + 1;
    else high = middle;
  }
  return low === ring.size ? 0 : low;
}

/** Holders for a position given by `pointOf`. */
export function placementAt(ring: Ring, point: number, copies: number): readonly number[] {
  if (!(copies >= 1 && copies <= COPIES_MAX)) throw new AssertionError(`${copies} copies out of range`);
  if (point < 0) return [];
  const cache = (ring.walks[copies] ??= new Array(ring.size));
  return (cache[point] ??= walk(ring, point, Math.min(copies, ring.holderCount)));
}

function walk(ring: Ring, start: number, wanted: number): number[] {
  const chosen: number[] = [];
  const usedZones = new Map<number, number>();
  // Round r takes nodes whose zone has fewer than r copies; round 1 is the original's whole rule.
  for (let round = 1; chosen.length < wanted; round++) {
    const roundGoal = Math.min(wanted, chosen.length + ring.zonesByRound[round - 1]!);
    for (let step = 0; step < ring.size && chosen.length < roundGoal; step++) {
      const node = ring.owner[(start + step) % ring.size]!;
      const zone = ring.nodes[node]!.zone;
      const used = usedZones.get(zone) ?? 0;
      if (used >= round || chosen.includes(node)) continue;
      usedZones.set(zone, used + 1);
      chosen.push(node);
    }
  }
  return chosen;
}

function countZonesByRound(holders: readonly RingNode[]): number[] {
  const sizes = new Map<number, number>();
  const zones: number[] = [];
  for (const { zone } of holders) {
    const size = sizes.get(zone) ?? 0;
    sizes.set(zone, size + 1);
    zones[size] = (zones[size] ?? 0) + 1;
  }
  return zones;
}

/**
 * All points in order of their hashes. Sorted by numbers of 64 bits, upper half of the hash and place in the list: a
 * large cluster has a million of them. The few with equal upper halves are put right afterwards.
 */
function sortedPoints(nodes: readonly RingNode[]): Pick<Ring, 'hi' | 'lo' | 'owner'> {
  const size = nodes.reduce((sum, node) => sum + node.vnodes, 0);
  const found = { hi: new Uint32Array(size), lo: new Uint32Array(size), owner: new Uint32Array(size) };
  const keys = new BigUint64Array(size);
  const halves = new Uint32Array(keys.buffer);
  let at = 0;
  // Equal hashes of two nodes are ordered by the nodes' identity: never by their place in the array.
  const byIdentity = nodes.map((_, i) => i).sort((a, b) => compareNodes(nodes[a]!, nodes[b]!));
  for (const owner of byIdentity) {
    let hash = sdHash(identityBytes(nodes[owner]!));
    for (let k = 0; k < nodes[owner]!.vnodes; k++, at++) {
      hash = sdHashNext(hash);
      found.hi[at] = hash.hi;
      found.lo[at] = hash.lo;
      found.owner[at] = owner;
      // Little-endian, as everywhere this runs: the lower half comes first.
      halves[2 * at] = at;
      halves[2 * at + 1] = hash.hi;
    }
  }
  keys.sort();
  const order = Uint32Array.from({ length: size }, (_, i) => halves[2 * i]!);
  orderTies(order, found);
  return {
    hi: order.map((i) => found.hi[i]!),
    lo: order.map((i) => found.lo[i]!),
    owner: order.map((i) => found.owner[i]!),
  };
}

function orderTies(order: Uint32Array, { hi, lo }: Pick<Ring, 'hi' | 'lo'>): void {
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && hi[order[to]!] === hi[order[from]!]) to++;
    if (to > from + 1) order.subarray(from, to).sort((a, b) => lo[a]! - lo[b]! || a - b);
    from = to;
  }
}

/**
 * Positions from which a walk for `copies` may reach one of these nodes: all, where zones are fewer than copies, for
 * then walks are long. Ascending.
 */
export function positionsReaching(
  ring: Ring,
  wanted: (node: RingNode) => boolean,
  copies: number,
): Iterable<number> {
  const isWanted = ring.nodes.map(wanted);
  if (!isWanted.includes(true)) return [];
  if (ring.zoneCount < copies) return Array(ring.size).keys();
  const found = new Set<number>();
  for (let point = 0; point < ring.size; point++) {
    if (!isWanted[ring.owner[point]!]) continue;
    const own = ring.nodes[ring.owner[point]!]!.zone;
    // Backwards, until the zones in between are as many as there are copies, or this one is among them: then the walk
    // ends, or has taken its node of this zone, before it comes here.
    const zones = new Set<number>();
    for (let back = 0; back < ring.size && zones.size < copies && !zones.has(own); back++) {
      const start = (point - back + ring.size) % ring.size;
      found.add(start);
      zones.add(ring.nodes[ring.owner[(start - 1 + ring.size) % ring.size]!]!.zone);
    }
  }
  return [...found].sort((a, b) => a - b);
}

/** Address and port as the protocol's node id begins with. A host name (simulations) stands for its hash. */
function identityBytes(node: RingNode): Buffer {
  const out = Buffer.alloc(18);
  const address = addressBytes(node.host);
  if (address !== undefined) {
    address.copy(out);
  } else {
    const name = fnv1a64(Buffer.from(node.host, 'utf8'));
    out.writeUInt32LE(name.lo, 0);
    out.writeUInt32LE(name.hi, 4);
  }
  out.writeUInt16LE(node.port, 16);
  return out;
}

/** The protocol's order of nodes: address bytes, then port. */
export function compareNodes(a: RingNode, b: RingNode): number {
  const left = identityBytes(a).subarray(0, 16);
  const right = identityBytes(b).subarray(0, 16);
  return Buffer.compare(left, right) || a.port - b.port || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}
