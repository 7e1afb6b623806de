/**
 * Deliberate bugs of a sheep, one at least for each invariant (design, section 2). Some are lines of the program (the
 * `Mutants` of src/cluster/object-node.ts), some are made here, around what the node is given.
 */
import { AppError } from '../../src/base/errors.js';
import type { Coordinator } from '../../src/coord/coordinator.js';
import { BadBlocksError, type ObjectStore } from '../../src/store/object-store.js';
import { openStore, type StoreOptions } from '../../src/store/open-store.js';
import type { Mutants } from '../helpers/sim-kind.js';
import type { SwarmConfig } from './swarm-config.js';

export interface SheepMutant {
  readonly name: string;
  /** What it breaks. */
  readonly breaks: string;
  /** Seeds after which it has to be noticed; about ten times what it took when it was made. */
  readonly seeds: number;
  /** Noticed in so few seeds that every test run can look. */
  readonly quick: boolean;
  /** What a seed must have to notice it at all; these faults, and no others. */
  readonly needs?: Partial<SwarmConfig>;
}

export const sheepMutants: readonly SheepMutant[] = [
  { name: 'ackBeforeReplicas', breaks: 'I-1', seeds: 600, quick: true },
  { name: 'skipJournalSync', breaks: 'I-1', seeds: 1000, quick: true },
  { name: 'serveStaleReplica', breaks: 'I-2', seeds: 600, quick: true },
  {
    name: 'nearUncommitted',
    breaks: 'I-2',
    seeds: 100,
    quick: true,
    // A change that one replica has no room for is on the others until it is undone there.
    needs: { faults: { fullDisk: 1500, fullDisks: 6000 }, hotChance: 0.95 },
  },
  { name: 'hideUnsettled', breaks: 'I-2', seeds: 600, quick: false },
  {
    name: 'acceptOldEpochs',
    breaks: 'I-3',
    seeds: 100,
    quick: true,
    // Who slept through the end of an epoch goes on with what had arrived before, while others change the same bytes.
    needs: { faults: { freeze: 1500, weight: 3000 }, hotChance: 0.95 },
  },
  {
    name: 'ignoreLease',
    breaks: 'I-3',
    seeds: 250,
    quick: true,
    needs: { faults: { freeze: 2000, partition: 1500 }, hotChance: 0.95, gateways: [0], loyalty: 1 },
  },
  { name: 'tooFewCopies', breaks: 'I-4', seeds: 600, quick: true },
  { name: 'hideData', breaks: 'I-2', seeds: 100, quick: true, needs: { sparseEvery: 1, faults: {} } },
  { name: 'serveOlder', breaks: 'I-5', seeds: 100, quick: true },
  { name: 'hideLoss', breaks: 'I-5', seeds: 600, quick: true },
  { name: 'movingSnapshot', breaks: 'I-6', seeds: 250, quick: true },
  { name: 'freeShared', breaks: 'I-6', seeds: 400, quick: true },
  { name: 'trustBadBlocks', breaks: 'I-7', seeds: 100, quick: true },
  {
    name: 'damageWhenFull',
    breaks: 'I-8',
    seeds: 100,
    quick: true,
    needs: { faults: { fullDisk: 2000, fullDisks: 3000, kill: 4000 } },
  },
  { name: 'twoOwners', breaks: 'I-9', seeds: 160, quick: true },
  { name: 'skipTouched', breaks: 'D-5', seeds: 100, quick: true },
  { name: 'moveUnfinished', breaks: 'D-4', seeds: 100, quick: true },
  { name: 'strayTargets', breaks: 'D-4', seeds: 400, quick: true },
];

/** What every seed must have with these deliberate bugs. */
export function needsOf(mutants: Mutants): Partial<SwarmConfig> {
  return sheepMutants.find(({ name }) => mutants[name])?.needs ?? {};
}

/** The store, or one that does wrong. */
export async function openMutant(mutants: Mutants, options: StoreOptions): Promise<ObjectStore> {
  const store = await openStore(options);
  if (mutants.hideLoss) return without(store, { lossy: false, suspects: () => new Set() });
  if (mutants.hideData) return without(store, { blockRuns: forgetfulRuns(store) });
  if (mutants.damageWhenFull) return without(store, { write: destructiveWrite(store) });
  if (mutants.trustBadBlocks) return without(store, { read: trustingRead(store), verify: async () => [] });
  return store;
}

/** Leases that are believed in for ever. */
export function mutantCoordinator(mutants: Mutants, coordinator: Coordinator): Coordinator {
  if (!mutants.ignoreLease) return coordinator;
  return {
    get: (key) => coordinator.get(key),
    list: (prefix) => coordinator.list(prefix),
    txn: (compares, ops) => coordinator.txn(compares, ops),
    watch: (prefix, afterRevision, onEvents) => coordinator.watch(prefix, afterRevision, onEvents),
    suspect: (leaseId) => coordinator.suspect(leaseId),
    close: () => coordinator.close(),
    grantLease: async (ttlMs) => {
      const lease = await coordinator.grantLease(ttlMs);
      return {
        id: lease.id,
        lost: lease.lost,
        revoke: () => lease.revoke(),
        validUntilMs: () => Number.POSITIVE_INFINITY,
      };
    },
  };
}

function without(store: ObjectStore, changes: Partial<ObjectStore>): ObjectStore {
  return new Proxy(store, {
    get: (target, name) => {
      if (name in changes) return changes[name as keyof ObjectStore];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** What follows a hole is said to be one, too. */
function forgetfulRuns(store: ObjectStore): ObjectStore['blockRuns'] {
  return (oid) => {
    const runs = store.blockRuns(oid);
    const first = runs?.findIndex(({ hole }) => hole) ?? -1;
    return runs?.map((run, index) => (first >= 0 && index > first ? { ...run, hole: true } : run));
  };
}

/** What does not match its checksum is believed all the same. */
function trustingRead(store: ObjectStore): ObjectStore['read'] {
  return async (oid, offset, length) => {
    try {
      return await store.read(oid, offset, length);
    } catch (error) {
      if (!AppError.isCode(error, 'checksum') || !(error.cause instanceof BadBlocksError)) throw error;
      await store.adopt(oid, error.cause.blocks);
      return store.read(oid, offset, length);
    }
  };
}

/** A write gives back the room of what it overwrites before it asks for its own, and is refused then. */
function destructiveWrite(store: ObjectStore): ObjectStore['write'] {
  return async (request) => {
    try {
      await store.write(request);
    } catch (error) {
      const overwrites = request.mode === 'update' || request.mode === 'ensure';
      if (AppError.isCode(error, 'no-space') && overwrites && store.has(request.oid))
        await store.zero({ ...request, length: request.data.length, allocate: false });
      throw error;
    }
  };
}
