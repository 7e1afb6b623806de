/** The clusters that campaigns can be run against, by name. */
import type { ClusterKind } from '../helpers/sim-kind.js';
import { sheepKind } from './sheep.js';
import { toyKind } from './toy.js';

export const clusterKinds: Record<string, ClusterKind> = {
  sheep: sheepKind,
  toy: toyKind,
};

/** What `npm run sim` takes without --kind. */
export const DEFAULT_KIND = 'sheep';
