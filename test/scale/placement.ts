/** Where objects lie in clusters of many nodes, and what has to move when some are lost: by the production ring. */

import { POINTS_PER_VNODE } from '../../src/cluster/epochs/placement-rings.js';
import { placementIds, type RingNode, sharedRing } from '../../src/cluster/epochs/ring.js';
import { sdHashOid } from '../../src/wire/hash.js';

export const COPIES = 3;
const VNODES = 128;

export function clusterOf(nodes: number, racks: number): RingNode[] {
  return Array.from({ length: nodes }, (_, i) => ({
    id: `n${i}`,
    host: `10.1.${i >> 8}.${i & 255}`,
    port: 7000,
    zone: i % racks,
    vnodes: VNODES * POINTS_PER_VNODE,
  }));
}

/** Spread-out hashes that stand for all objects. */
function* sample(count: number): Iterable<ReturnType<typeof sdHashOid>> {
  for (let i = 1; i <= count; i++) yield sdHashOid(BigInt(i) * 2654435761n);
}

export interface Balance {
  /** Of the mean: the fullest and the emptiest node, and the standard deviation. */
  readonly max: number;
  readonly min: number;
  readonly deviation: number;
}

export function balanceOf(nodes: readonly RingNode[], objects: number): Balance {
  const ring = sharedRing(nodes);
  const counts = new Map(nodes.map((n) => [n.id, 0]));
  for (const hash of sample(objects)) {
    for (const id of placementIds(ring, hash, COPIES)) counts.set(id, counts.get(id)! + 1);
  }
  const values = [...counts.values()];
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length;
  return {
    max: Math.max(...values) / mean,
    min: Math.min(...values) / mean,
    deviation: Math.sqrt(variance) / mean,
  };
}

export interface Loss {
  /** Replicas lost and replicas made, as parts of all. */
  readonly lost: number;
  readonly moved: number;
  /** Of all nodes left: the most that one has to take in and to give, as parts of what a node holds. */
  readonly mostIn: number;
  readonly mostOut: number;
  /** Objects of which no replica was left, as a part of all. */
  readonly gone: number;
}

/** What it means that the nodes of `dead` are given up. */
export function lossOf(nodes: readonly RingNode[], dead: ReadonlySet<string>, objects: number): Loss {
  const before = sharedRing(nodes);
  const after = sharedRing(nodes.filter((n) => !dead.has(n.id)));
  const taken = new Map<string, number>();
  const given = new Map<string, number>();
  const add = (sums: Map<string, number>, id: string) => sums.set(id, (sums.get(id) ?? 0) + 1);
  let lost = 0;
  let moved = 0;
  let gone = 0;
  for (const hash of sample(objects)) {
    const old = placementIds(before, hash, COPIES);
    const alive = old.filter((id) => !dead.has(id));
    lost += old.length - alive.length;
    if (alive.length === 0) gone++;
    for (const id of placementIds(after, hash, COPIES)) {
      if (old.includes(id) || alive.length === 0) continue;
      moved++;
      add(taken, id);
      // The first of those that are left is the primary, which gives.
      add(given, alive[0]!);
    }
  }
  const perNode = (objects * COPIES) / nodes.length;
  return {
    lost: lost / (objects * COPIES),
    moved: moved / (objects * COPIES),
    mostIn: Math.max(0, ...taken.values()) / perNode,
    mostOut: Math.max(0, ...given.values()) / perNode,
    gone: gone / objects,
  };
}
