import type { BlockRun } from '../store/object-store.js';
import type { Extent } from './device.js';
import type { Part } from './parts.js';

/** Where a part of a request has data, out of what its object has from its start on (undefined: there is no object). */
export function extentsOf(runs: readonly BlockRun[] | undefined, part: Part): Extent[] {
  if (runs === undefined) return [{ lengthBytes: part.length, hole: true, zero: true }];
  const extents: Extent[] = [];
  let at = 0;
  for (const { lengthBytes, hole } of runs) {
    const from = Math.max(at, part.offset);
    const to = Math.min(at + lengthBytes, part.offset + part.length);
    if (from < to) extents.push({ lengthBytes: to - from, hole, zero: hole });
    at += lengthBytes;
  }
  return extents;
}

/** Adds what follows, as one extent with the last where they are alike; false when that would be one too many. */
export function addExtent(extents: Extent[], next: Extent, limit: number): boolean {
  const last = extents.at(-1);
  if (last !== undefined && last.hole === next.hole) {
    extents[extents.length - 1] = { ...last, lengthBytes: last.lengthBytes + next.lengthBytes };
    return true;
  }
  if (extents.length === limit) return false;
  extents.push(next);
  return true;
}
