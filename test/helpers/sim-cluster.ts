/**
 * A simulated cluster: the machines around the nodes. What a node is (the production one, or a toy) is plugged in
 * as a ClusterKind; this file starts, kills, freezes and restarts nodes and keeps what outlives them: disks, the
 * coordinator, the network, the time.
 */
import { AppError } from '../../src/base/errors.js';
import type { Logger } from '../../src/base/log.js';
import { SeededRandom } from '../../src/base/random.js';
import type { ControlHandler } from '../../src/control/api.js';
import type { Coordinator } from '../../src/coord/coordinator.js';
import type { PeerAddress, Transport } from '../../src/net/transport.js';
import type { Disk } from '../../src/store/disk.js';
import type { BlockDevice } from '../../src/volume/device.js';
import { MemoryCoordinatorCluster } from './memory-coordinator.js';
import { type NodeClock, SimClock } from './sim-clock.js';
import { type CrashableDisk, type DiskSpeed, diskForLife } from './sim-disk.js';
import { SimNetwork } from './sim-net.js';
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

export interface SimClusterOptions {
  kind: ClusterKind;
  seed: number;
  nodes: number;
  mutants?: Mutants;
  /** Told of the text of every line that a node logs. */
  onLog?: (message: string) => void;
  trace?: (line: string) => void;
  coordinatorDelayMs?: number;
  slowMessageChance?: number;
  slowMessageMs?: number;
  /** Rate of each node's clock, 1 by default. */
  clockRates?: readonly number[];
  /** Zone of each node; a zone of its own by default. */
  zones?: readonly number[];
}

/** One machine: what outlives its process. */
export interface Machine {
  readonly index: number;
  readonly name: string;
  readonly address: PeerAddress;
  disk: CrashableDisk;
  nodeId: string;
  /** How many disks it has lost. */
  disksLost: number;
  /** Not in use: not yet, or not any more. */
  spare: boolean;
  readonly speed: DiskSpeed;
  boot: number;
  lives: number;
  life: Life | undefined;
}

/** One run of one node's process. */
export interface Life {
  readonly machine: Machine;
  readonly nodeId: string;
  readonly clock: NodeClock;
  /** Set when the start is over. */
  node: SimNode | undefined;
}

const START_AGAIN_MS = 300;
const NORMAL_SYNC_MS = 2;
const NORMAL_READ_MS = 0.3;

export class SimCluster {
  readonly clock = new SimClock();
  readonly random: SeededRandom;
  readonly network: SimNetwork;
  readonly coordinators: MemoryCoordinatorCluster;
  readonly machines: Machine[] = [];
  readonly kind: ClusterKind;
  readonly trace: (line: string) => void;
  /** Whether a fault explains that a node ends by itself, or fails to start. */
  excuses: (machine: Machine, why: string) => boolean = () => false;
  /** Set when a node failed to start: the end of the run. */
  failure: Error | undefined;
  private readonly deathCounters: Record<string, number> = {};

  constructor(private readonly options: SimClusterOptions) {
    const { clock } = this;
    this.kind = options.kind;
    this.random = new SeededRandom(options.seed);
    this.trace = (line) => options.trace?.(`${clock.nowMs().toFixed(3).padStart(10)} ${line}`);
    this.network = new SimNetwork({
      clock,
      random: new SeededRandom(options.seed + 0x10001),
      slowChance: options.slowMessageChance ?? 0.01,
      slowMs: options.slowMessageMs ?? 20,
      trace: this.trace,
    });
    const random = new SeededRandom(options.seed + 0x20002);
    this.coordinators = new MemoryCoordinatorCluster({
      clock,
      random,
      maxDelayMs: options.coordinatorDelayMs ?? 5,
    });
    for (let i = 0; i < options.nodes; i++) this.machines.push(this.makeMachine(i));
  }

  /** Starts a node whose machine has no running process. */
  start(machine: Machine): Life {
    machine.lives++;
    const clock = this.clock.forNode(machine.name, this.options.clockRates?.[machine.index] ?? 1);
    const life: Life = { machine, nodeId: machine.nodeId, clock, node: undefined };
    machine.life = life;
    this.trace(`start ${machine.name} (life ${machine.lives})`);
    const environment = this.environmentFor(machine, clock, (why) => this.ended(life, why));
    clock.after(0, () => {
      this.kind.startNode(environment).then(
        (node) => {
          life.node = node;
          this.trace(`${machine.name} is up`);
        },
        (error) => this.startFailed(life, error),
      );
    });
    return life;
  }

  /** kill -9. */
  kill(machine: Machine): void {
    this.end(machine, false);
  }

  /** The machine loses its power; restart it with `start`. */
  powerCut(machine: Machine): void {
    this.end(machine, true);
  }

  /** The same for a machine whose process is not running: what it had not synced is lost all the same. */
  powerCutIdle(machine: Machine): void {
    this.trace(`power cut ${machine.name} (idle)`);
    machine.boot++;
    machine.disk.crash({ powerCut: true, random: this.random });
  }

  /** Every running node takes nothing any more from a process that has died: only then can all be sure of it. */
  deathIsNoticed(life: Life): boolean {
    const incarnation = life.node?.incarnation?.();
    if (incarnation === undefined) return true;
    return this.machines.every((m) => {
      const node = m.life?.node;
      return m.life === life || !node || (node.excludes?.(life.nodeId, incarnation) ?? true);
    });
  }

  freeze(machine: Machine): void {
    this.trace(`freeze ${machine.name}`);
    machine.life?.clock.freeze();
  }

  thaw(machine: Machine): void {
    this.trace(`thaw ${machine.name}`);
    machine.life?.clock.thaw();
  }

  /** Cuts or heals the way between a node and the coordinator. */
  partitionCoordinator(machine: Machine, cut: boolean): void {
    this.trace(`${cut ? 'cut' : 'heal'} ${machine.name} - coordinator`);
    this.coordinators.partition(machine.name, cut);
  }

  /** Lives whose node is up (frozen ones too). */
  living(): Life[] {
    return this.machines.flatMap((m) => (m.life?.node ? [m.life] : []));
  }

  /** True when every node is up, runs and has nothing to catch up with. */
  healthy(): boolean {
    return this.used().every((m) => m.life?.node?.health().allSynced === true && !m.life.clock.frozen);
  }

  /** Machines that are part of the cluster, running or not. */
  used(): Machine[] {
    return this.machines.filter((m) => !m.spare);
  }

  /** The machine, which is down, gets a new and empty disk. */
  loseDisk(machine: Machine): void {
    const { index, name } = machine;
    this.trace(`the disk of ${name} is lost`);
    machine.disksLost++;
    machine.nodeId = `${name}-${machine.disksLost}`;
    machine.disk = this.makeDisk(index, machine.disksLost);
  }

  /** Why it is not healthy. */
  complaints(): string[] {
    return this.used().flatMap((m) => {
      if (!m.life) return [`${m.name}: not running`];
      if (!m.life.node) return [`${m.name}: starting`];
      const health = m.life.node.health();
      return health.allSynced ? [] : [`${m.name}: ${health.reason ?? 'not in sync'}`];
    });
  }

  counters(): Record<string, number> {
    const sum = { ...this.deathCounters };
    for (const life of this.living()) addCounters(sum, life.node?.counters?.() ?? {});
    return sum;
  }

  private startFailed(life: Life, error: unknown): void {
    const { machine } = life;
    const { code, message } = AppError.from(error);
    if (!this.kind.toleratedStartErrors.includes(code) && !this.excuses(machine, code)) {
      this.failure ??= new Error(`${machine.name} failed to start`, { cause: error });
      return;
    }
    this.startAgain(life, 'start failed, tried again', message);
  }

  private ended(life: Life, why: string): void {
    if (this.excuses(life.machine, why)) this.startAgain(life, 'a node ended by itself', why);
    else this.failure ??= new Error(`${life.machine.name} ended by itself: ${why}`);
  }

  private startAgain(life: Life, event: string, why: string): void {
    const { machine } = life;
    this.trace(`${machine.name}: ${event}: ${why}`);
    addCounters(this.deathCounters, { [event]: 1 });
    this.clock.after(0, () => {
      if (machine.life !== life) return;
      this.kill(machine);
      this.clock.after(START_AGAIN_MS, () => {
        if (!machine.life) this.start(machine);
      });
    });
  }

  private end(machine: Machine, powerCut: boolean): void {
    const { life } = machine;
    if (!life) return;
    this.trace(`${powerCut ? 'power cut' : 'kill'} ${machine.name}`);
    addCounters(this.deathCounters, life.node?.counters?.() ?? {});
    machine.life = undefined;
    if (powerCut) machine.boot++;
    this.network.kill(machine.name, { silent: powerCut });
    this.coordinators.kill(machine.name);
    life.clock.kill();
    machine.disk.crash({ powerCut, random: this.random });
  }

  private makeMachine(index: number): Machine {
    const name = `n${index}`;
    return {
      index,
      name,
      nodeId: name,
      disksLost: 0,
      spare: false,
      address: { host: `10.0.0.${index + 1}`, port: 7000 },
      disk: this.makeDisk(index, 0),
      speed: { syncMs: NORMAL_SYNC_MS, readMs: NORMAL_READ_MS },
      boot: 1,
      lives: 0,
      life: undefined,
    };
  }

  private makeDisk(index: number, generation: number): CrashableDisk {
    const random = new SeededRandom(this.options.seed * 31 + index + generation * 1_000_003);
    return this.kind.makeDisk({ index, clock: this.clock, random, cluster: this });
  }

  private environmentFor(machine: Machine, clock: NodeClock, onEnd: (why: string) => void): NodeEnvironment {
    const random = new SeededRandom(this.options.seed * 1009 + machine.index * 101 + machine.lives);
    const { disk, address, name, nodeId, index } = machine;
    return {
      index,
      name,
      nodeId,
      zone: this.options.zones?.[index] ?? index + 1,
      address,
      bootId: `${name}-boot-${machine.boot}`,
      life: machine.lives,
      clock,
      random,
      disk: diskForLife(disk.disk, clock, random, machine.speed),
      transport: this.network.transportFor(name, address, clock),
      coordinator: this.coordinators.clientFor(name, clock),
      log: worldLogger(name, this.options.onLog, this.options.trace && this.trace),
      mutants: this.options.mutants ?? {},
      onEnd,
    };
  }
}

/** Makes the disk of one machine slow, or normal again with factor 1. */
export function setDiskSpeed(machine: Machine, factor: number): void {
  machine.speed.syncMs = NORMAL_SYNC_MS * factor;
  machine.speed.readMs = NORMAL_READ_MS * factor;
}

export type Outcome<T> = { ok: T } | { error: unknown } | { died: true };

/**
 * Calls a node from outside, as a client over a local connection: never while it is frozen, and with an answer
 * also when it dies.
 */
export function ask<T>(life: Life, call: (node: SimNode) => Promise<T>): Promise<Outcome<T>> {
  return new Promise((resolve) => {
    const { clock } = life;
    if (clock.dead || !life.node) return resolve({ died: true });
    const forget = clock.onDeath(() => resolve({ died: true }));
    clock.after(0.02, () => {
      call(life.node!).then(
        (ok) => {
          forget();
          resolve({ ok });
        },
        (error) => {
          forget();
          resolve({ error });
        },
      );
    });
  });
}

export function addCounters(sum: Record<string, number>, more: Record<string, number>): void {
  for (const [name, value] of Object.entries(more)) sum[name] = (sum[name] ?? 0) + value;
}

type OnLine = ((line: string) => void) | undefined;

/** What a node logs is told to the world, which counts some of it, and goes into the trace. */
function worldLogger(name: string, onLog: OnLine, trace: OnLine): Logger {
  const line = (level: string) => (fields: object, message: string) => {
    onLog?.(message);
    trace?.(`  ${name} ${level}: ${message} ${JSON.stringify(fields, printBigint)}`);
  };
  return {
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    child: (area) => worldLogger(`${name} ${area}`, onLog, trace),
  };
}

function printBigint(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString(16) : value;
}
