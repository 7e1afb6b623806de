/** The clusters that campaigns can be run against, by name; the production one registers itself here. */
import type { ClusterKind } from '../helpers/sim-cluster.js';
import { toyKind } from './toy.js';

export const clusterKinds: Record<string, ClusterKind> = {
  toy: toyKind,
};

/** What `npm run sim` takes without --kind. */
export const DEFAULT_KIND = 'toy';
