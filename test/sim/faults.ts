/**
 * Breaks things, each kind at its own pace, and repairs them after a while. It knows one thing beyond breaking: after
 * which power cuts the model must expect lost writes (see `losesUnsynced`).
 */
import type { SeededRandom } from '../../src/base/random.js';
import { type Machine, type SimCluster, setDiskSpeed } from '../helpers/sim-cluster.js';
import { CoordinatorFaults } from './coordinator-faults.js';
import { DiskFaults } from './disk-faults.js';
import { MemberFaults } from './member-faults.js';
import type { Shelf } from './shelf.js';
import { type FaultName, type ProcessFaultName, type SwarmConfig, shuffled } from './swarm-config.js';

export interface FaultHooks {
  count: (event: string) => void;
  /** The only synced copies may have been on machines that lost their power. */
  onLossyPowerCut: () => void;
  fail: (error: unknown) => void;
}

/** Longer than any other machine is down. */
const DOWN_MAX_MS = 8000;

const LOSE_UNSYNCED: readonly FaultName[] = ['powerCut', 'powerCutAll', 'flipJournal'];

export class Faults {
  private stopped = false;
  private readonly armed: FaultName[] = [];
  readonly disks: DiskFaults;
  readonly members: MemberFaults;
  private readonly coordinators: CoordinatorFaults;
  private readonly causes: Record<FaultName, (machine: Machine) => void>;
  private readonly own: Record<ProcessFaultName, (machine: Machine) => void> = {
    kill: (machine) => this.kill(machine),
    killAll: () => this.endAll(false),
    powerCut: (machine) => this.powerCut(machine),
    powerCutAll: () => this.endAll(true),
    freeze: (machine) => this.freeze(machine),
    breakChannel: () => this.breakChannel(),
    partition: (machine) => this.partition(machine),
    slowDisk: (machine) => this.slowDisk(machine),
  };

  constructor(
    private readonly cluster: SimCluster,
    private readonly config: SwarmConfig,
    private readonly random: SeededRandom,
    private readonly hooks: FaultHooks,
    shelf: Shelf,
  ) {
    const later = (delayMs: number, run: () => void) => this.later(delayMs, run);
    const isRedundant = () => this.members.holders.length > 1;
    this.disks = new DiskFaults(cluster, random, hooks, later, isRedundant, config.downOutMs > 0);
    this.coordinators = new CoordinatorFaults(cluster, random, hooks, later);
    this.members = new MemberFaults(cluster, random, hooks, shelf, later, config.copiesMax, this.disks);
    this.causes = { ...this.own, ...this.members.causes, ...this.coordinators.causes, ...this.disks.causes };
    for (const name of LOSE_UNSYNCED) {
      const cause = this.causes[name];
      this.causes[name] = (machine) => {
        if (!this.members.onlyInMemory) cause(machine);
      };
    }
  }

  start(): void {
    for (const [name, meanMs] of Object.entries(this.config.faults)) this.schedule(name as FaultName, meanMs);
  }

  /** No new faults; all that is broken is repaired. */
  healAll(): void {
    this.stopped = true;
    const { cluster } = this;
    cluster.network.healAll();
    this.coordinators.heal();
    this.disks.heal();
    this.members.heal();
    for (const machine of cluster.machines) {
      setDiskSpeed(machine, 1);
      if (machine.life?.clock.frozen) cluster.thaw(machine);
    }
    for (const machine of shuffled(cluster.used(), this.random)) {
      if (machine.life) continue;
      const delayMs = this.disks.mustComeLast(machine) ? DOWN_MAX_MS : 0;
      if (delayMs === 0) cluster.start(machine);
      else cluster.clock.after(delayMs, () => machine.life ?? cluster.start(machine));
    }
  }

  private schedule(name: FaultName, meanMs: number): void {
    const waitMs = -Math.log(1 - this.random.below(1_000_000) / 1_000_000) * meanMs;
    this.cluster.clock.after(Math.max(10, waitMs), () => {
      if (this.stopped) return;
      this.cause(name);
      this.schedule(name, meanMs);
    });
  }

  /** Half of the faults wait for the next operation and strike while it is under way. */
  onCall(): void {
    if (this.armed.length === 0) return;
    for (const name of this.armed.splice(0)) {
      this.later(this.random.below(4000) / 1000, () =>
        this.causes[name](this.random.pick(this.cluster.machines)),
      );
    }
  }

  private cause(name: FaultName): void {
    if (this.random.chance(0.5)) this.armed.push(name);
    else this.causes[name](this.random.pick(this.cluster.machines));
  }

  private kill(machine: Machine): void {
    if (!machine.life || !this.disks.mayLeave(machine)) return;
    this.hooks.count(machine.life.node ? 'kill' : 'kill while starting');
    if (machine.life.clock.frozen) this.hooks.count('kill while frozen');
    this.cluster.kill(machine);
    this.restart(machine, this.downMs());
  }

  private powerCut(machine: Machine): void {
    if (!machine.life || !this.disks.mayLeave(machine) || !this.disks.mayLosePower(machine)) return;
    const lossy = this.losesUnsynced(machine);
    this.hooks.count(lossy ? 'power cut of one, lossy' : 'power cut of one, nothing may be lost');
    this.cluster.powerCut(machine);
    if (lossy) this.hooks.onLossyPowerCut();
    this.restart(machine, this.downMs());
  }

  private endAll(wanted: boolean): void {
    const powerCut = wanted && this.cluster.machines.every((machine) => this.disks.mayLosePower(machine));
    this.hooks.count(powerCut ? 'power cut of all' : 'kill of all');
    for (const machine of shuffled(this.cluster.machines, this.random)) {
      // A process that is down when the power goes is a machine that loses its page cache nevertheless.
      if (powerCut) this.cutPower(machine);
      else this.cluster.kill(machine);
    }
    if (powerCut) this.hooks.onLossyPowerCut();
    for (const machine of this.cluster.used())
      this.restart(machine, this.disks.mustComeLast(machine) ? DOWN_MAX_MS : this.downMs());
  }

  private cutPower(machine: Machine): void {
    if (machine.life) this.cluster.powerCut(machine);
    else this.cluster.powerCutIdle(machine);
  }

  private freeze(machine: Machine): void {
    if (!machine.life || machine.life.clock.frozen || !this.disks.mayLeave(machine)) return;
    this.hooks.count('freeze');
    const { life } = machine;
    this.cluster.freeze(machine);
    this.later(this.random.pick([100, 1000, 8000]), () => {
      if (machine.life === life && life.clock.frozen) this.cluster.thaw(machine);
    });
  }

  private breakChannel(): void {
    this.hooks.count('channel broken');
    if (this.random.chance(0.5)) this.cluster.network.breakNextUsed();
    else this.cluster.network.breakOne();
  }

  private partition(machine: Machine): void {
    const { random, cluster } = this;
    const twoWay = random.chance(0.5);
    const others = cluster.machines.filter((m) => m !== machine && (random.chance(0.5) || twoWay));
    this.hooks.count(twoWay ? 'partition, both ways' : 'partition, one way');
    const set = (blocked: boolean): void => {
      for (const other of others) {
        cluster.network.setBlocked(machine.name, other.name, blocked);
        if (twoWay) cluster.network.setBlocked(other.name, machine.name, blocked);
      }
    };
    cluster.trace(
      `partition of ${machine.name} from ${others.map((m) => m.name)}${twoWay ? '' : ', one way'}`,
    );
    set(true);
    const cutOff = twoWay && random.chance(0.5);
    if (cutOff) cluster.partitionCoordinator(machine, true);
    this.later(random.pick([200, 1500, 6000]), () => {
      set(false);
      if (cutOff) cluster.partitionCoordinator(machine, false);
    });
  }

  private slowDisk(machine: Machine): void {
    this.hooks.count('slow disk');
    setDiskSpeed(machine, this.random.pick([5, 30, 200]));
    this.later(2000, () => setDiskSpeed(machine, 1));
  }

  /**
   * A node that alone held the latest writes takes the unsynced ones with it. With all nodes up and in sync (and a
   * cluster that keeps several copies, none of them damaged), one power cut must lose nothing.
   */
  private losesUnsynced(machine: Machine): boolean {
    if (!this.cluster.kind.survivesOnePowerCut || !this.cluster.healthy()) return true;
    return this.disks.mayBeTheOnlyGood(machine);
  }

  private downMs(): number {
    return this.random.pick([5, 100, 1000, 5000]) * (0.5 + this.random.below(1000) / 1000);
  }

  private restart(machine: Machine, delayMs: number): void {
    this.later(delayMs, () => {
      if (!machine.life && !machine.spare) this.cluster.start(machine);
    });
  }

  private later(delayMs: number, run: () => void): void {
    this.cluster.clock.after(delayMs, () => {
      if (!this.stopped) run();
    });
  }
}
