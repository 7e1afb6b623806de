/**
 * Changes of who is a member and of where objects lie, while everything else goes on: machines join, leave, are
 * weighted, lose their disks, and copies are altered. What an administrator has begun is finished when the faults end.
 */
import { AppError } from '../../src/base/errors.js';
import type { SeededRandom } from '../../src/base/random.js';
import { ask, type Life, type Machine, type SimCluster } from '../helpers/sim-cluster.js';
import type { DiskFaults } from './disk-faults.js';
import type { FaultHooks } from './faults.js';
import type { Shelf } from './shelf.js';
import type { MemberFaultName } from './swarm-config.js';

const NO_BYTES = new Uint8Array(0);
const LOOK_MS = 400;
const PAUSE_MS = [500, 3000, 9000];
const OUT_MS = [500, 3000, 20_000];
const WEIGHTS = [4, 16, 40];
/** A call for which these are the answer is tried again or given up; others mean that something is wrong. */
const EXPECTED = [
  'network',
  'again',
  'shutdown',
  'wait-for-format',
  'wait-for-join',
  'missing',
  'invalid',
  'no-vdi',
];

/** never: it cannot be done any more; later: it is worth another try. */
type Result = 'done' | 'never' | 'later';

/** What has to be done until it is done. */
interface Errand {
  readonly what: string;
  /** True: done, or not to be done any more. */
  readonly attempt: () => Promise<boolean>;
}

export class MemberFaults {
  readonly causes: Record<MemberFaultName, (machine: Machine) => void> = {
    join: () => this.join(),
    out: (machine) => this.takeOut(machine),
    weight: (machine) => this.weigh(machine),
    retire: (machine) => this.retire(machine),
    loseDisk: (machine) => this.loseDisk(machine),
    alterCopies: () => this.alterCopies(),
    pauseRecovery: () => this.pause(),
  };
  private readonly errands: Errand[] = [];
  private readonly drained = new Set<string>();
  /** Nodes whose disk is lost, as long as the cluster has not been told. */
  private readonly untold = new Set<string>();
  private working = false;
  private paused = false;

  constructor(
    private readonly cluster: SimCluster,
    private readonly random: SeededRandom,
    private readonly hooks: FaultHooks,
    private readonly shelf: Shelf,
    private readonly later: (delayMs: number, run: () => void) => void,
    private readonly copiesMax: number,
    private readonly disks: DiskFaults,
  ) {
    this.look();
  }

  /** Nothing is left to be finished. */
  get done(): boolean {
    return this.errands.length === 0 && !this.working;
  }

  /**
   * A lost disk may have held what only page caches hold besides, until the cluster goes on without it: who loses those
   * too has lost data for good, and nothing but `dog cluster accept-loss` goes on then.
   */
  get onlyInMemory(): boolean {
    return this.untold.size > 0;
  }

  get complaints(): string[] {
    return this.errands.map(({ what }) => `still to be done: ${what}`);
  }

  heal(): void {
    if (this.paused)
      this.errand('let recovery go on', () => this.call('cluster.settings', { recoveryPaused: false }));
  }

  /** Machines that objects are meant to lie on. */
  get holders(): Machine[] {
    return this.cluster.used().filter((m) => !this.drained.has(m.nodeId));
  }

  private join(): void {
    const machine = this.cluster.machines.find((m) => m.spare && m.lives === 0);
    if (!machine) return;
    this.hooks.count('member: joined');
    machine.spare = false;
    this.cluster.start(machine);
  }

  private takeOut(machine: Machine): void {
    const { nodeId } = machine;
    if (!this.mayMiss(machine)) return;
    this.hooks.count('member: out and in');
    this.errand(`${nodeId} goes out`, async () => (await this.drain(nodeId)) !== 'later');
    this.later(this.random.pick(OUT_MS), () => {
      this.errand(`${nodeId} comes in`, async () => {
        this.drained.delete(nodeId);
        return this.change({ kind: 'in', id: nodeId });
      });
    });
  }

  private weigh(machine: Machine): void {
    const { nodeId } = machine;
    if (machine.spare) return;
    this.hooks.count('member: weight');
    const vnodes = this.random.pick(WEIGHTS);
    this.errand(`weight of ${nodeId}`, () => this.change({ kind: 'weight', id: nodeId, vnodes }));
  }

  /** Drained, stopped and removed: three errands, each when the one before is done. */
  private retire(machine: Machine): void {
    const { nodeId } = machine;
    if (!this.mayMiss(machine) || this.cluster.used().length <= this.copiesMax + 1) return;
    if (this.errands.some(({ what }) => what.includes('for good'))) return;
    this.hooks.count('member: drained and removed');
    this.errand(`${nodeId} goes for good`, async () => {
      const drained = await this.drain(nodeId);
      if (drained !== 'done') return drained === 'never';
      if (machine.nodeId !== nodeId) return true;
      // Down or up: as long as anything counts as lying on it, it may be needed.
      if (!(await this.holdsNothing(nodeId)) || machine.life?.clock.frozen) return false;
      if (machine.life) this.cluster.kill(machine);
      machine.spare = true;
      return this.change({ kind: 'remove', id: nodeId });
    });
  }

  /** A machine comes back with an empty disk; that of the others is all there is then. */
  private loseDisk(machine: Machine): void {
    const { cluster } = this;
    if (machine.spare || !cluster.healthy() || this.holders.length <= this.copiesMax) return;
    if (this.errands.length > 0 || this.disks.mayBeTheOnlyGood(machine)) return;
    const { nodeId } = machine;
    this.hooks.count('member: disk lost');
    cluster.powerCut(machine);
    cluster.loseDisk(machine);
    this.untold.add(nodeId);
    this.later(this.random.pick([10, 500, 4000]), () => {
      if (!machine.life) cluster.start(machine);
    });
    this.errand(`${nodeId} is lost and removed`, async () => {
      if (!(await this.change({ kind: 'lost', id: nodeId }))) return false;
      this.untold.delete(nodeId);
      return this.change({ kind: 'remove', id: nodeId });
    });
  }

  private alterCopies(): void {
    const volume = this.shelf.pick(this.random);
    if (!volume) return;
    const copies = 2 + this.random.below(this.copiesMax - 1);
    const { name } = volume;
    this.hooks.count('member: copies altered');
    this.errand(`copies of ${name}`, async () => {
      if (volume.gone) return true;
      return this.call('vdi.alter-copy', { name, copies });
    });
  }

  private pause(): void {
    this.paused = true;
    this.hooks.count('member: recovery paused');
    this.errand('recovery is paused', () => this.call('cluster.settings', { recoveryPaused: true }));
    this.later(this.random.pick(PAUSE_MS), () => {
      this.errand('recovery goes on', () => this.call('cluster.settings', { recoveryPaused: false }));
    });
  }

  /** Enough others are left for all copies. */
  private mayMiss(machine: Machine): boolean {
    if (this.disks.mayBeTheOnlyGood(machine) && this.holders.length <= this.copiesMax) return false;
    return !machine.spare && this.cluster.used().length > this.copiesMax;
  }

  private errand(what: string, attempt: () => Promise<boolean>): void {
    this.errands.push({ what, attempt });
  }

  /** One errand after the other, over and over: an administrator who does not give up. */
  private look(): void {
    this.cluster.clock.after(LOOK_MS, () => {
      if (this.working) return this.look();
      this.working = true;
      this.work().then(
        () => {
          this.working = false;
          this.look();
        },
        (error) => this.hooks.fail(error),
      );
    });
  }

  private async work(): Promise<void> {
    for (const errand of [...this.errands]) {
      const done = await errand.attempt();
      if (done) this.errands.splice(this.errands.indexOf(errand), 1);
    }
  }

  private change(params: { id: string; kind: string; vnodes?: number }): Promise<boolean> {
    return this.call('member.change', params);
  }

  /** Never: the others have been taken out meanwhile, and somebody must hold the objects. */
  private async drain(id: string): Promise<Result> {
    this.drained.add(id);
    const result = await this.resultOf('member.change', { kind: 'out', id });
    if (result === 'never') this.drained.delete(id);
    return result;
  }

  private async holdsNothing(id: string): Promise<boolean> {
    const life = this.anyLife();
    const outcome = life && (await ask(life, async (node) => node.isEmpty?.(id) ?? true));
    return outcome !== undefined && 'ok' in outcome && outcome.ok;
  }

  /** True: it was done, or cannot be done any more. */
  private async call(method: string, params: object): Promise<boolean> {
    return (await this.resultOf(method, params)) !== 'later';
  }

  private async resultOf(method: string, params: object): Promise<Result> {
    const life = this.anyLife();
    if (!life) return 'later';
    const outcome = await ask(life, (node) => node.control.call(method, params, NO_BYTES, () => {}));
    if ('died' in outcome) return 'later';
    if ('ok' in outcome) {
      this.cluster.trace(`${method} ${JSON.stringify(params)}: done`);
      return 'done';
    }
    const { code, message } = AppError.from(outcome.error);
    this.cluster.trace(`${method} ${JSON.stringify(params)}: ${code} ${message}`);
    if (!EXPECTED.includes(code)) throw outcome.error;
    const never = code === 'missing' || code === 'no-vdi' || message.includes('the last node that holds');
    return never ? 'never' : 'later';
  }

  private anyLife(): Life | undefined {
    const living = this.cluster.living().filter((life) => !life.clock.frozen);
    return living.length === 0 ? undefined : this.random.pick(living);
  }
}
