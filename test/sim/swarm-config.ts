/**
 * What one seed means: the shape of the cluster, the load and the set of faults. Swarm testing (Groce et al., 2012):
 * each seed leaves a random part of the faults and of the operations out, since many bugs hide behind others, and
 * some need a long time without, say, power cuts.
 */
import type { SeededRandom } from '../../src/base/random.js';

const processFaultNames = [
  'kill',
  'killAll',
  'powerCut',
  'powerCutAll',
  'freeze',
  'breakChannel',
  'partition',
  'slowDisk',
] as const;
const coordinatorFaultNames = [
  'partitionCoordinator',
  'coordinatorAway',
  'coordinatorSlow',
  'answerLost',
  'watchLags',
] as const;
const diskFaultNames = [
  'flipBlock',
  'flipTable',
  'flipJournal',
  'loseWrite',
  'misdirectWrite',
  'fullDisk',
  'fullDisks',
  'lyingSync',
] as const;
const memberFaultNames = [
  'join',
  'out',
  'weight',
  'retire',
  'loseDisk',
  'alterCopies',
  'pauseRecovery',
] as const;
export const faultNames = [
  ...processFaultNames,
  ...coordinatorFaultNames,
  ...diskFaultNames,
  ...memberFaultNames,
] as const;
export type FaultName = (typeof faultNames)[number];
export type ProcessFaultName = (typeof processFaultNames)[number];
export type CoordinatorFaultName = (typeof coordinatorFaultNames)[number];
export type MemberFaultName = (typeof memberFaultNames)[number];
export type DiskFaultName = (typeof diskFaultNames)[number];

const dataOperationNames = ['read', 'write', 'zero', 'discard', 'flush'] as const;
const volumeOperationNames = [
  'snapshot',
  'readSnapshot',
  'clone',
  'rollback',
  'deleteSnapshot',
  'create',
  'deleteVolume',
  'resize',
] as const;
export const operationNames = [...dataOperationNames, ...volumeOperationNames] as const;
export type OperationName = (typeof operationNames)[number];
export type VolumeOperationName = (typeof volumeOperationNames)[number];

export function isVolumeOperation(name: OperationName): name is VolumeOperationName {
  return (volumeOperationNames as readonly string[]).includes(name);
}

export interface SwarmConfig {
  readonly seed: number;
  /** Machines that are there from the beginning. */
  readonly nodes: number;
  /** Machines that may join. */
  readonly spares: number;
  /** By machine, spares too. */
  readonly zones: readonly number[];
  readonly copies: number;
  /** Most copies that any volume is given. */
  readonly copiesMax: number;
  /** A node that is down for so long is given up; 0: never. */
  readonly downOutMs: number;
  /** All that is stored is read and verified every two seconds. */
  readonly scrubs: boolean;
  readonly objectShift: number;
  readonly volumeBytes: number;
  readonly clients: number;
  /** Nodes whose gateways are used; all clients on one is the usual case of a VM. */
  readonly gateways: readonly number[];
  /** A client stays with its gateway and waits for its restart, or takes another one. */
  readonly loyalty: number;
  readonly operations: number;
  readonly durationMs: number;
  readonly weights: Readonly<Record<OperationName, number>>;
  readonly fuaChance: number;
  /** Part of the operations that go to a small hot range, where they meet. */
  readonly hotChance: number;
  readonly largestBytes: number;
  /** Every so many-th read of a client asks where data is, and reads that (0: none). */
  readonly sparseEvery: number;
  /** Mean time between two faults of a kind; absent: switched off. */
  readonly faults: Readonly<Partial<Record<FaultName, number>>>;
  readonly slowMessageChance: number;
  readonly slowMessageMs: number;
  readonly coordinatorDelayMs: number;
  readonly clockRates: readonly number[];
}

export function configFor(seed: number, random: SeededRandom): SwarmConfig {
  const nodes = 3 + random.below(3);
  const clients = 1 + random.below(5);
  const all = [...Array(nodes).keys()];
  const faults = faultsFrom(random);
  const spares = faults.join === undefined ? 0 : 1 + random.below(2);
  const objectShift = 20;
  return {
    seed,
    nodes,
    spares,
    zones: zonesFrom(nodes + spares, random),
    copies: 2 + random.below(2),
    copiesMax: 3,
    downOutMs: random.chance(0.3) ? random.pick([1500, 4000]) : 0,
    scrubs: random.chance(0.3),
    objectShift,
    volumeBytes: (1 + random.below(3)) << objectShift,
    clients,
    gateways: random.chance(0.5)
      ? [random.below(nodes)]
      : shuffled(all, random).slice(0, 1 + random.below(nodes)),
    loyalty: random.pick([0, 0.5, 1]),
    operations: 120 + random.below(180),
    durationMs: 8000 + random.below(12_000),
    weights: weightsFrom(random),
    fuaChance: random.pick([0, 0.1, 0.5, 1]),
    hotChance: random.pick([0, 0.7, 0.95]),
    largestBytes: random.pick([4096, 16_384, 65_536, 262_144]),
    // Not drawn: what the seeds meant before this was there, they mean still.
    sparseEvery: [0, 1, 0, 3][seed % 4]!,
    faults,
    slowMessageChance: random.pick([0, 0.01, 0.05]),
    slowMessageMs: random.pick([5, 20, 200]),
    coordinatorDelayMs: random.pick([1, 5, 50]),
    clockRates: [...all, 0, 0].map(() => (random.chance(0.2) ? 1 + (random.below(21) - 10) / 1000 : 1)),
  };
}

function weightsFrom(random: SeededRandom): Record<OperationName, number> {
  const maybe = (weight: number): number => (random.chance(0.6) ? weight : 0);
  // Half of the seeds have one volume and its snapshots: what goes wrong with a single one should be simple to see.
  const shelf = random.chance(0.5) ? 1 : 0;
  return {
    read: 35,
    write: 40,
    zero: maybe(3),
    discard: maybe(4),
    flush: maybe(8),
    snapshot: maybe(1.5),
    readSnapshot: 3,
    clone: maybe(1) * shelf,
    rollback: maybe(0.7) * shelf,
    deleteSnapshot: maybe(0.8) * shelf,
    create: maybe(1) * shelf,
    deleteVolume: maybe(0.7) * shelf,
    resize: maybe(0.5) * shelf,
  };
}

/** Mean time in ms between two faults of a kind, and how likely it is that a seed has them. */
const paces: Record<FaultName, readonly [meanMs: number, chance: number]> = {
  kill: [3000, 0.4],
  killAll: [8000, 0.4],
  powerCut: [6000, 0.4],
  powerCutAll: [9000, 0.4],
  freeze: [6000, 0.35],
  breakChannel: [1500, 0.4],
  partition: [5000, 0.35],
  slowDisk: [5000, 0.3],
  partitionCoordinator: [8000, 0.3],
  coordinatorAway: [9000, 0.15],
  coordinatorSlow: [6000, 0.2],
  answerLost: [6000, 0.2],
  watchLags: [5000, 0.2],
  flipBlock: [1500, 0.25],
  flipTable: [3000, 0.12],
  flipJournal: [3000, 0.2],
  loseWrite: [2000, 0.2],
  misdirectWrite: [2000, 0.2],
  fullDisk: [6000, 0.15],
  fullDisks: [8000, 0.1],
  lyingSync: [6000, 0],
  join: [4000, 0.15],
  out: [5000, 0.15],
  weight: [4000, 0.15],
  retire: [9000, 0.1],
  loseDisk: [9000, 0.12],
  alterCopies: [5000, 0.15],
  pauseRecovery: [6000, 0.12],
};

/**
 * What takes machines other than the damaged one away. A table that has rotted has lost what no checksum tells, so that
 * somebody with the same blocks has to stay in sync.
 */
const notBesideFlipTable: readonly FaultName[] = [
  'killAll',
  'powerCutAll',
  'partition',
  'partitionCoordinator',
  'coordinatorAway',
  'fullDisk',
  'fullDisks',
  'out',
  'retire',
  'loseDisk',
  'alterCopies',
];

/** A zone for each, or two or three zones for all. */
function zonesFrom(machines: number, random: SeededRandom): number[] {
  const zones = random.pick([machines, machines, 2, 3]);
  return Array.from({ length: machines }, (_, i) => 1 + (i % zones));
}

function faultsFrom(random: SeededRandom): Partial<Record<FaultName, number>> {
  const faults: Partial<Record<FaultName, number>> = {};
  // One seed in ten has none: load alone must be right, and a fault that is left out must not be the remedy.
  if (random.chance(0.1)) return faults;
  for (const name of faultNames) {
    const [meanMs, chance] = paces[name];
    if (random.chance(chance)) faults[name] = meanMs * (0.5 + random.below(1000) / 1000);
  }
  // A damaged journal counts as a power cut: with another one at the same time all would have lost something.
  if (faults.powerCut !== undefined || faults.powerCutAll !== undefined) delete faults.flipJournal;
  if (faults.flipTable !== undefined) for (const name of notBesideFlipTable) delete faults[name];
  return faults;
}

/** Leaves out what a kind of cluster cannot do, and gateways that a smaller one does not have. */
export function without(config: SwarmConfig, names: readonly string[] = []): SwarmConfig {
  const keep = ([name]: [string, number]): boolean => !names.includes(name);
  const weights = { ...config.weights };
  for (const name of operationNames) if (names.includes(name)) weights[name] = 0;
  const faults = Object.fromEntries(Object.entries(config.faults).filter(keep));
  const gateways = [...new Set(config.gateways.map((gateway) => gateway % config.nodes))];
  const downOutMs = names.includes('settings') ? 0 : config.downOutMs;
  return { ...config, weights, faults, gateways, downOutMs };
}

export function shuffled<T>(items: readonly T[], random: SeededRandom): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}
