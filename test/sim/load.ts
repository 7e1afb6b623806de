/** What all clients of a run share. */
import type { Life, Outcome, SimCluster } from '../helpers/sim-cluster.js';
import type { WriteOp } from './history.js';
import type { VolumeModel } from './model.js';
import type { Shelf } from './shelf.js';
import type { SwarmConfig } from './swarm-config.js';

/** The volume that every run has, and that nobody deletes. */
export const VOLUME = 'vol';

export interface Load {
  readonly cluster: SimCluster;
  readonly config: SwarmConfig;
  readonly shelf: Shelf;
  readonly count: (event: string, by?: number) => void;
  readonly fail: (error: unknown) => void;
  /** An operation is being called: the moment at which faults hurt most. */
  readonly onCall: () => void;
  /** Writes under way whose gateway lives. */
  readonly inFlight: Set<WriteOp>;
  /** The gateway of an unanswered write has died. */
  readonly died: (op: WriteOp, model: VolumeModel, life: Life) => void;
  /** Error codes that are right now, because of the faults of this run. */
  readonly tolerates: (code: string) => boolean;
  operationsLeft: number;
  stopping: boolean;
}

export function describeOutcome(outcome: Outcome<unknown>): string {
  if ('ok' in outcome) return 'done';
  return 'died' in outcome ? 'gateway died' : `error ${String(outcome.error)}`;
}
