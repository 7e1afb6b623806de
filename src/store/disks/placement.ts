/**
 * Which disk of a node an object belongs on (D-8): weighted rendezvous hashing. Each disk draws a number from the
 * object's place and its own id, and the best one wins; a disk's chance is its weight's part of the sum. When a disk
 * comes or goes, only objects that go to it or were on it move, and the parts are exact without any points to tune,
 * which a ring of few members is not (README.md has figures). Pure.
 *
 * The place is the one of D-16: versions of one block, in a family of snapshots and clones, have one place.
 */
import { dataOid, highWordOf, indexOf, isData, lowWordOf, vidOf } from '../../wire/oid.js';

/** Root vid of the family of a volume; undefined: not known (now). */
export type RootOf = (vid: number) => number | undefined;

/** Of an unknown family each volume is its own root: right for all that are not clones. */
export function placeOf(oid: bigint, rootOf: RootOf): bigint {
  if (!isData(oid)) return oid;
  const vid = vidOf(oid);
  const root = rootOf(vid) ?? vid;
  return root === vid ? oid : dataOid(root, indexOf(oid));
}

/** A number from (0, 1), the same for the same place and seed, independent for others. */
function draw(hi: number, lo: number, seed: number): number {
  let a = Math.imul(hi ^ seed, 0x85ebca6b);
  a ^= a >>> 15;
  a = Math.imul(a ^ lo, 0xc2b2ae35);
  a ^= a >>> 13;
  a = Math.imul(a ^ Math.imul(seed, 0x9e3779b1), 0x27d4eb2f);
  a ^= a >>> 16;
  a = Math.imul(a, 0x165667b1);
  a ^= a >>> 15;
  return ((a >>> 0) + 0.5) / 4294967296;
}

export interface Weighted {
  /** From the disk's id: see seedOf. */
  readonly seed: number;
  readonly weight: number;
}

export function seedOf(id: string): number {
  return (Number.parseInt(id.slice(0, 8), 16) ^ Number.parseInt(id.slice(8, 16), 16)) >>> 0;
}

/** The smaller, the nearer: an exponential variable with the weight as its rate. */
function distance(place: bigint, { seed, weight }: Weighted): number {
  return weight > 0
    ? -Math.log(draw(highWordOf(place), lowWordOf(place), seed)) / weight
    : Number.POSITIVE_INFINITY;
}

/** The disk with the best draw; undefined without any of positive weight. */
export function nearest<T extends Weighted>(place: bigint, disks: readonly T[]): T | undefined {
  let best: T | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const disk of disks) {
    const at = distance(place, disk);
    if (at < bestDistance) {
      best = disk;
      bestDistance = at;
    }
  }
  return best;
}

/** All disks of positive weight, best first: where an object goes when better ones are full. */
export function inOrder<T extends Weighted>(place: bigint, disks: readonly T[]): T[] {
  const able = disks.filter((disk) => disk.weight > 0);
  return able.sort((a, b) => distance(place, a) - distance(place, b));
}
