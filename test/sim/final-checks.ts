/** What must be true of the stores of a healthy cluster at the end of a run. */
import type { Life } from '../helpers/sim-cluster.js';
import { ModelViolation } from './model.js';

export interface Replica {
  readonly node: string;
  readonly table: Uint32Array;
  readonly holders: number;
}

/** All nodes that should have the object have it, with the same content. */
export function compareTables(oid: string, replicas: readonly Replica[]): void {
  const first = replicas[0]!;
  const names = replicas.map((r) => r.node).join(', ');
  if (replicas.length !== first.holders) {
    throw new ModelViolation(`object ${oid}: ${first.holders} nodes should hold it, it is on ${names} only`);
  }
  for (const { node, table } of replicas) {
    for (let i = 0; i < Math.max(table.length, first.table.length); i++) {
      if (table[i] === first.table[i]) continue;
      throw new ModelViolation(`object ${oid}: block ${i} differs between ${first.node} and ${node}`);
    }
  }
}

/** What an object is there for, as the nodes say. */
export type KindOf = (oid: string) => 'referred' | 'stated' | 'leaked';

/** `stored`: what is in the stores, by object. In words, the first object that nobody refers to. */
export function findLeak(stored: ReadonlyMap<string, readonly string[]>, kindOf: KindOf): string | undefined {
  for (const [oid, nodes] of stored)
    if (kindOf(oid) === 'leaked') return `object ${oid} on ${nodes.join(', ')} belongs to nobody`;
  return undefined;
}

export function countStated(
  stored: ReadonlyMap<string, readonly string[]>,
  kindOf: KindOf,
  count: (event: string) => void,
): void {
  for (const oid of stored.keys())
    if (kindOf(oid) === 'stated') count('object that only its version still knows');
}

/** Objects of all stores, with the nodes that have them. */
export async function storedOn(
  lives: readonly Life[],
  listOf: (life: Life) => Promise<string[]>,
): Promise<Map<string, string[]>> {
  const stored = new Map<string, string[]>();
  for (const life of lives) {
    for (const oid of await listOf(life)) {
      const nodes = stored.get(oid) ?? [];
      stored.set(oid, [...nodes, life.nodeId]);
    }
  }
  return stored;
}
