/**
 * Seeds that once found something, with what it was. What a seed does moves with every change of the program or of the
 * simulator; what is left of it is its mixture of faults and load, so each keeps that and runs a few seeds of it.
 */
import type { SwarmConfig } from './swarm-config.js';

export interface Regression {
  readonly what: string;
  readonly seed: number;
  /** So many seeds from there. */
  readonly seeds: number;
  readonly config: Partial<SwarmConfig>;
}

export const regressions: readonly Regression[] = [
  {
    what: 'a power cut of one and a kill of the other holder within one lease: an epoch in which nobody had been',
    seed: 50054,
    seeds: 8,
    config: { nodes: 3, copies: 2, faults: { kill: 900, powerCut: 1100 }, fuaChance: 0.5 },
  },
  {
    what: 'a sheep that had caught up told so in a registration that was not there yet, and stayed behind for ever',
    seed: 449,
    seeds: 6,
    config: { faults: { partition: 1500, partitionCoordinator: 1500 } },
  },
  {
    what: 'deleting a version whose neighbour was being deleted or made: an error for what had happened, or leaks',
    seed: 266,
    seeds: 6,
    config: {
      clients: 5,
      faults: { coordinatorSlow: 2500, kill: 3000 },
      weights: weights({ snapshot: 6, clone: 6, rollback: 4, deleteSnapshot: 6, create: 3, deleteVolume: 4 }),
    },
  },
  {
    what: 'a volume given up without an answer of the coordinator: all others were sent to a sheep that had it no more',
    seed: 249,
    seeds: 6,
    config: { faults: { answerLost: 1200, freeze: 3000 }, gateways: [0, 1, 2], loyalty: 0 },
  },
  {
    what: 'a change of settings while a sheep started: its store was opened twice',
    seed: 2,
    seeds: 6,
    config: { faults: { kill: 1500, pauseRecovery: 1000, coordinatorSlow: 3000 } },
  },
  {
    what: 'who had begun to free a version lost the answer of the coordinator: nobody else may, and it did not either',
    seed: 62267,
    seeds: 6,
    config: {
      faults: { coordinatorSlow: 1500, answerLost: 1500 },
      weights: weights({ snapshot: 4, rollback: 6 }),
    },
  },
  {
    what: 'a snapshot committed by the former owner after the next one had loaded the volume, which wrote on into it',
    seed: 62697,
    seeds: 6,
    config: { faults: { coordinatorSlow: 1500, kill: 2500 }, weights: weights({ snapshot: 6 }) },
  },
  {
    what: 'power cut of all, one disk full: its journal held objects for which there was no room, and they were gone',
    seed: 62220,
    seeds: 6,
    config: { copies: 3, faults: { powerCutAll: 4000, fullDisk: 1500 } },
  },
];

function weights(more: Partial<SwarmConfig['weights']>): SwarmConfig['weights'] {
  const none = {
    snapshot: 0,
    clone: 0,
    rollback: 0,
    deleteSnapshot: 0,
    create: 0,
    deleteVolume: 0,
    resize: 0,
  };
  return { read: 30, write: 40, zero: 2, discard: 4, flush: 4, readSnapshot: 3, ...none, ...more };
}
