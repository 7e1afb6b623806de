/**
 * A simulated cluster: the machines around the nodes. What a node is (the production one, or a toy) is plugged in
 * as a ClusterKind; this file starts, kills, freezes and restarts nodes and keeps what outlives them: disks, the
 * coordinator, the network, the time.
 */
import { AppError } from '../../src/base/errors.js';
import { SeededRandom } from '../../src/base/random.js';
import type { PeerAddress } from '../../src/net/transport.js';
import { MemoryCoordinatorCluster } from './memory-coordinator.js';
import { type NodeClock, SimClock } from './sim-clock.js';
import { type CrashableDisk, type DiskSpeed, diskForLife } from './sim-disk.js';
import type { ClusterKind, Mutants, NodeEnvironment, SimNode } from './sim-kind.js';
import { worldLogger } from './sim-log.js';
import { SimNetwork } from './sim-net.js';

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
  scrubs?: boolean;
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
  /** What it had acknowledged when it died last, every other replica had, too. */
  diedWhole: boolean;
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
  private lastWholeMs = -1;

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

  /** The same while clients write: what is written now, every replica gets. */
  whole(): boolean {
    const isWhole = ({ node, clock }: Life) => !clock.frozen && (node?.isWhole?.() ?? false);
    return !this.network.isCut && this.used().every((m) => m.life !== undefined && isWhole(m.life));
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
    // Several may die at the same instant.
    if (this.whole()) this.lastWholeMs = this.clock.nowMs();
    machine.diedWhole = this.lastWholeMs === this.clock.nowMs();
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
      diedWhole: false,
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
      scrubs: this.options.scrubs ?? false,
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
