import type { VdiRecord } from './records.js';

/**
 * Sharing is computed, not counted (D-3). An object is made in one VDI and inherited by the versions made from it, and
 * a snapshot never changes. So the versions that refer to an object are connected in the family's tree: if any other
 * one refers to it, then some neighbour does, where a neighbour is the next live version on some path, over deleted
 * ones. Pure; tests compare it with looking at every version.
 */
export function neighboursOf(vid: number, family: ReadonlyMap<number, VdiRecord>): number[] {
  const children = childrenOf(family);
  const seen = new Set([vid]);
  const found: number[] = [];
  const queue = [vid];
  while (queue.length > 0) {
    const at = queue.pop()!;
    const parent = family.get(at)?.parent ?? 0;
    for (const next of [...(parent === 0 ? [] : [parent]), ...(children.get(at) ?? [])]) {
      const record = family.get(next);
      if (record === undefined || seen.has(next)) continue;
      seen.add(next);
      if (record.state === 'deleted') queue.push(next);
      else if (!isDoomed(record, family)) found.push(next);
    }
  }
  return found;
}

/**
 * A pending version counts: it may be about to become a reader of everything its parent refers to. Not when that has
 * been deleted: it can never be completed then, and nobody would free what had been kept for it.
 */
function isDoomed(record: VdiRecord, family: ReadonlyMap<number, VdiRecord>): boolean {
  return record.state === 'pending' && family.get(record.parent)?.state === 'deleted';
}

/** Records of deleted versions that nobody needs any more: freed, and without descendants. Leaves first. */
export function forgettable(family: ReadonlyMap<number, VdiRecord>): number[] {
  const children = new Map([...childrenOf(family)].map(([vid, list]) => [vid, list.length]));
  const result: number[] = [];
  const queue = [...family.values()].filter((r) => isDone(r) && !children.get(r.vid)).map((r) => r.vid);
  while (queue.length > 0) {
    const vid = queue.pop()!;
    result.push(vid);
    const parent = family.get(family.get(vid)!.parent);
    if (parent === undefined) continue;
    const left = (children.get(parent.vid) ?? 0) - 1;
    children.set(parent.vid, left);
    if (left === 0 && isDone(parent)) queue.push(parent.vid);
  }
  return result;
}

function isDone(record: VdiRecord): boolean {
  return record.state === 'deleted' && record.freed === true;
}

function childrenOf(family: ReadonlyMap<number, VdiRecord>): Map<number, number[]> {
  const children = new Map<number, number[]>();
  for (const record of family.values()) {
    if (record.parent === 0) continue;
    const list = children.get(record.parent);
    if (list === undefined) children.set(record.parent, [record.vid]);
    else list.push(record.vid);
  }
  return children;
}
