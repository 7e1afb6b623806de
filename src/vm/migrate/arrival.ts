import type { NodeDoors } from '../../control/api.js';
import { isSamePlace, type NbdDisk, type NbdPlace } from '../domain-xml.js';
import { placesOf } from '../door.js';
import { isKnown, isSilent, type MigrationFacts } from './facts.js';

/** Where a disk finds its volume on the host that the domain comes to. */
export type Arrival =
  /** The definition is right for both hosts. */
  | { readonly kind: 'same' }
  /** The definition is changed on the way. */
  | { readonly kind: 'moved'; readonly place: NbdPlace }
  /** It stays as it is, and whether that is right cannot be told from here. */
  | { readonly kind: 'unsure' }
  /** It cannot be right, and why. */
  | { readonly kind: 'refused'; readonly reason: 'no-door' | 'tls-wanted' | 'tls-unknown' };

/**
 * Of one disk. `places` are those of all sheep of the cluster: a place that none of them tells is known by another name
 * to the hypervisor than to its sheep (a container, a port that is passed on), so that it is not changed. That is what
 * libvirt's hook does at the destination, where it is installed, so that both come to the same.
 */
export function arrivalOf(
  disk: NbdDisk,
  sheep: { readonly host: string; readonly doors: NodeDoors } | undefined,
  places: readonly NbdPlace[],
): Arrival {
  if (sheep === undefined) return { kind: isReachedAnywhere(disk.place) ? 'same' : 'unsure' };
  const { doors } = sheep;
  const own = placesOf(sheep, doors);
  const [first] = own;
  if (first === undefined) return { kind: 'refused', reason: 'no-door' };
  if (disk.tls && doors.nbdTls === 'off') return { kind: 'refused', reason: 'tls-unknown' };
  if (!disk.tls && doors.nbdTls === 'require') return { kind: 'refused', reason: 'tls-wanted' };
  if (own.some((place) => isSamePlace(place, disk.place))) return { kind: 'same' };
  const isKnown = places.some((place) => isSamePlace(place, disk.place));
  if (!isKnown) return { kind: isReachedAnywhere(disk.place) ? 'same' : 'unsure' };
  return { kind: 'moved', place: first };
}

/** Of each volume of a domain; by the disk's name. */
export function arrivals({ domain, cluster, arrival }: MigrationFacts): Map<string, Arrival> {
  const sheep = isKnown(arrival) ? arrival : undefined;
  const places = cluster === undefined || isSilent(cluster) ? [] : cluster.places;
  return new Map(
    domain.disks.flatMap(({ target, content }) =>
      content.kind === 'volume' ? [[target, arrivalOf(content.nbd, sheep, places)]] : [],
    ),
  );
}

/** A socket and a loopback address mean something else on each host. */
export function isReachedAnywhere(place: NbdPlace): boolean {
  return 'host' in place && !isLoopback(place.host);
}

export function isLoopback(host: string): boolean {
  return /^(localhost|127\.[\d.]+|::1|\[::1\])$/i.test(host);
}
