/** What is simulated: the node under test, or a toy, as the simulated machines see it. */
import type { Logger } from '../../src/base/log.js';
import type { SeededRandom } from '../../src/base/random.js';
import type { ControlHandler } from '../../src/control/api.js';
import type { Coordinator } from '../../src/coord/coordinator.js';
import type { PeerAddress, Transport } from '../../src/net/transport.js';
import type { Disk } from '../../src/store/disk.js';
import type { BlockDevice } from '../../src/volume/device.js';
import type { NodeClock, SimClock } from './sim-clock.js';
import type { SimCluster } from './sim-cluster.js';
import type { CrashableDisk } from './sim-disk.js';
import type { VolumeChange } from './sim-volumes.js';

/** Deliberate bugs, handed to the node, that a campaign has to catch. */
export interface Mutants {
  ackBeforeReplicas?: boolean;
  skipJournalSync?: boolean;
  serveStaleReplica?: boolean;
  /** Toys have their own. */
  [name: string]: boolean | undefined;
}

/** All that a node gets; nothing else may tell it of the world. */
export interface NodeEnvironment {
  readonly index: number;
  readonly name: string;
  /** Kept on its disk: another one after that was lost. */
  readonly nodeId: string;
  /** From 1. */
  readonly zone: number;
  readonly address: PeerAddress;
  /** Changes when the machine lost its power. */
  readonly bootId: string;
  /** How often this node was started, from 1. */
  readonly life: number;
  readonly disk: Disk;
  readonly clock: NodeClock;
  readonly random: SeededRandom;
  readonly transport: Transport;
  readonly coordinator: Coordinator;
  readonly log: Logger;
  readonly mutants: Mutants;
  /** The node cannot go on: its process exits, and its supervisor starts it again. */
  readonly onEnd: (why: string) => void;
  /** The node looks through its store for damage, often. */
  readonly scrubs: boolean;
}

/** Where an object belongs. */
export interface ObjectPlace {
  readonly holders: readonly string[];
  /** Different zones of the holders, and of all nodes that hold objects. */
  readonly zones: number;
  readonly zonesInUse: number;
}

export interface SimNode {
  /** Resolves when volumes can be opened (or it may retry inside); `vol` or `vol@tag`. */
  openDevice(name: string, options?: { readOnly?: boolean }): Promise<BlockDevice>;
  readonly control: ControlHandler;
  /** Nothing left to catch up with, as this node sees it. */
  health(): { allSynced: boolean; reason?: string };
  /** The same, but changes may be under way. */
  isWhole?(): boolean;
  /**
   * Checksum table of each object that this node holds and should hold, and how many nodes should. When healthy the
   * tables are equal on all of them, and none lacks one.
   */
  replicaTables?(): Promise<Map<string, { table: Uint32Array; holders: number }>>;
  /** Every object in this node's store, whatever it is there for. */
  storedObjects?(): Promise<string[]>;
  /** No object counts as lying on that node. */
  isEmpty?(nodeId: string): Promise<boolean>;
  /** Nodes on which the object belongs now; undefined: it is nobody's. */
  holdersOf?(oid: string): Promise<ObjectPlace | undefined>;
  /** What an object is there for; `stated`: a leftover that the program says it may leave. */
  purposes?(): Promise<(oid: string) => 'referred' | 'stated' | 'leaked'>;
  /** Tells this start of the node from others. */
  readonly incarnation?: () => string;
  /** This node takes nothing any more from that start of the other one. */
  excludes?(name: string, incarnation: string): boolean;
  /** Named rare events, added up into the campaign's coverage. */
  counters?(): Record<string, number>;
  stop(): Promise<void>;
}

export interface ClusterKind {
  readonly name: string;
  /** I-2: a write whose gateway died has one outcome before anyone reads it. */
  readonly strictDeaths: boolean;
  /** A snapshot that was acknowledged does not change in a power cut, even when nobody has flushed. */
  readonly snapshotsDurable: boolean;
  /** Acknowledged writes survive the power cut of one machine while all others are up and in sync. */
  readonly survivesOnePowerCut: boolean;
  /** Error codes with which reading, writing and flushing on a running gateway may fail. */
  readonly toleratedErrors: readonly string[];
  /** The same for control calls (snapshots): the administrator is told and tries again. */
  readonly toleratedControlErrors: readonly string[];
  /** Error codes with which a start may fail: the process exits and its supervisor starts it again. */
  readonly toleratedStartErrors: readonly string[];
  /** Operations and faults that it cannot do. */
  readonly without?: readonly string[];
  makeDisk(context: {
    index: number;
    clock: SimClock;
    random: SeededRandom;
    cluster: SimCluster;
  }): CrashableDisk;
  startNode(environment: NodeEnvironment): Promise<SimNode>;
  /** Tells of each change of the set of volumes at the instant at which it happens. */
  watchVolumes(cluster: SimCluster, onChange: (change: VolumeChange) => void): void;
  /** Nothing is left that a deletion or a crashed creation still has to free. */
  tidy?(cluster: SimCluster): boolean;
}
