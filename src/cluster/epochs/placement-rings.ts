import { type EpochNode, type EpochRecord, type Place, targetOf } from './epoch.js';
import { type Ring, sharedRing } from './ring.js';

/**
 * Points on the ring for each unit of weight. The usual weight of 128 alone would leave some nodes with an eighth more
 * than their share in a cluster of a hundred; with eight times as many points shares differ by some two per cent.
 */
export const POINTS_PER_VNODE = 8;

/** Where objects count as lying. */
export function committedRing(record: EpochRecord): Ring {
  return ringOf(record, (node) => node.placed);
}

/** Where they shall lie when the move of this record is done. */
export function targetRing(record: EpochRecord): Ring {
  return ringOf(record, targetOf);
}

function ringOf(record: EpochRecord, placeOf: (node: EpochNode) => Place | undefined): Ring {
  const nodes = record.nodes.flatMap((node) => {
    const place = placeOf(node);
    if (place === undefined) return [];
    const { id, host, port } = node;
    return [{ id, host, port, zone: place.zone, vnodes: place.vnodes * POINTS_PER_VNODE }];
  });
  return sharedRing(nodes);
}
