/** The coordinator in trouble: away for everybody, slow, with answers that get lost, with news that come late. */
import type { SeededRandom } from '../../src/base/random.js';
import type { Machine, SimCluster } from '../helpers/sim-cluster.js';
import type { FaultHooks } from './faults.js';
import type { CoordinatorFaultName } from './swarm-config.js';

export class CoordinatorFaults {
  readonly causes: Record<CoordinatorFaultName, (machine: Machine) => void> = {
    partitionCoordinator: (machine) => this.cutOne(machine),
    coordinatorAway: () => this.away(),
    coordinatorSlow: () => this.slow(),
    answerLost: () => this.loseAnswers(),
    watchLags: (machine) => this.lag(machine),
  };

  constructor(
    private readonly cluster: SimCluster,
    private readonly random: SeededRandom,
    private readonly hooks: FaultHooks,
    private readonly later: (delayMs: number, run: () => void) => void,
  ) {}

  heal(): void {
    const { cluster } = this;
    for (const machine of cluster.machines) cluster.partitionCoordinator(machine, false);
    cluster.coordinators.heal();
  }

  private cutOne(machine: Machine): void {
    this.hooks.count('coordinator cut off');
    this.cluster.partitionCoordinator(machine, true);
    this.later(this.random.pick([200, 1500, 6000]), () => this.cluster.partitionCoordinator(machine, false));
  }

  /** Shorter and longer than leases live. */
  private away(): void {
    const { cluster } = this;
    this.hooks.count('coordinator: away for all');
    for (const machine of cluster.machines) cluster.partitionCoordinator(machine, true);
    this.later(this.random.pick([300, 1500, 3000, 8000]), () => {
      for (const machine of cluster.machines) cluster.partitionCoordinator(machine, false);
    });
  }

  private slow(): void {
    const { coordinators } = this.cluster;
    this.hooks.count('coordinator: slow');
    coordinators.slowMs = this.random.pick([100, 400, 1500]);
    this.cluster.trace(`the coordinator is slow: ${coordinators.slowMs} ms`);
    this.later(this.random.pick([1000, 4000]), () => {
      coordinators.slowMs = 0;
    });
  }

  /** What was asked happens, and nobody says so. */
  private loseAnswers(): void {
    const { coordinators } = this.cluster;
    coordinators.answerLossChance = this.random.pick([0.1, 0.5]);
    coordinators.onAnswerLost = () => this.hooks.count('coordinator: answer lost');
    this.later(this.random.pick([500, 3000]), () => {
      coordinators.answerLossChance = 0;
    });
  }

  private lag(machine: Machine): void {
    const { coordinators } = this.cluster;
    this.hooks.count('coordinator: watch lags');
    const lagMs = this.random.pick([200, 1000, 4000]);
    this.cluster.trace(`${machine.name} hears of changes ${lagMs} ms late`);
    coordinators.setWatchLag(machine.name, lagMs);
    this.later(this.random.pick([1000, 6000]), () => coordinators.setWatchLag(machine.name, 0));
  }
}
