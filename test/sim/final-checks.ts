/** What must be true of the stores of a healthy cluster at the end of a run. */
import { BAD } from '../../src/store/checksum.js';
import type { Life } from '../helpers/sim-cluster.js';
import { ModelViolation } from './model.js';

export interface Replica {
  readonly node: string;
  /** Checksums; BAD where the block's content does not have its own. */
  readonly table: Uint32Array;
  readonly holders: number;
}

/**
 * All nodes that should have the object have it, with the same content. A block that has rotted and knows it is mended
 * by whoever reads it or by the next scrub, so it says nothing; but one good replica must be left.
 */
export function compareTables(oid: string, replicas: readonly Replica[]): void {
  const first = replicas[0]!;
  const names = replicas.map((r) => r.node).join(', ');
  if (replicas.length !== first.holders) {
    throw new ModelViolation(`object ${oid}: ${first.holders} nodes should hold it, it is on ${names} only`);
  }
  for (let i = 0; i < Math.max(...replicas.map(({ table }) => table.length)); i++) {
    const [good, ...others] = replicas.filter(({ table }) => table[i] !== BAD);
    if (good === undefined) throw new ModelViolation(`object ${oid}: block ${i} is bad on ${names}`);
    const other = others.find(({ table }) => table[i] !== good.table[i]);
    if (other === undefined) continue;
    throw new ModelViolation(`object ${oid}: block ${i} differs between ${good.node} and ${other.node}`);
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
