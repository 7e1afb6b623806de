import type { Membership } from '../cluster/epochs/membership.js';
import { epochKey, NODE_PREFIX } from '../cluster/epochs/proposal.js';
import type { ClusterView } from '../cluster/epochs/view.js';
import type { Compare } from '../coord/coordinator.js';

/**
 * What must hold for a claim: the epoch is this one, and every node that is up in it still has its registration. So
 * a former owner that lost its lease is out of the epoch before a new one begins, and the replicas refuse it.
 * Undefined: it does not hold now.
 */
export function epochIsSettled(membership: Membership): Compare[] | undefined {
  const { view } = membership;
  if (view === undefined) return undefined;
  const compares = epochIsNewest(view);
  for (const node of view.nodes.values()) {
    if (!node.up) continue;
    const text = membership.registrationText(node.id);
    if (text === undefined || membership.registrations.get(node.id)?.incarnation !== node.incarnation) {
      return undefined;
    }
    compares.push({ key: `${NODE_PREFIX}${node.id}`, value: text });
  }
  return compares;
}

/** No later epoch has begun. */
export function epochIsNewest({ epoch }: ClusterView): Compare[] {
  return [
    { key: epochKey(epoch), exists: true },
    { key: epochKey(epoch + 1), exists: false },
  ];
}
