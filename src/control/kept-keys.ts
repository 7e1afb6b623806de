import type { Op } from '../coord/coordinator.js';

/** What the coordinator holds of a format of the cluster, beside the members and their epochs. */
const FORMAT_PREFIXES = ['v/', 'owner/', 'attr/', 'commit/', 'stats/', 'lock/', 'scrub/'];

/** Forgets all that belonged to the former format. */
export function wipeFormat(): Op[] {
  return FORMAT_PREFIXES.map((prefix): Op => ({ type: 'delete-prefix', prefix }));
}

/** Forgets what a node that is removed has left: figures, its scrub, the marks of its changes. */
export function forgetNode(id: string): Op[] {
  return [
    { type: 'delete', key: `stats/${id}` },
    { type: 'delete', key: `scrub/${id}` },
    { type: 'delete-prefix', prefix: `commit/${id}/` },
  ];
}
