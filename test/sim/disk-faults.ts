/**
 * Disks that do wrong: by themselves (bits flip, writes get lost or land elsewhere), or by being full.
 *
 * All damage is done to one machine of a run, and only while everything is healthy: so of each block a good replica is
 * always left, and whatever is read must be right. What a store cannot notice is left out: a table of checksums, or a
 * batch of the journal, whose write never happens. A damaged journal loses what only it had, like a power cut; so
 * only that of a process that died when all others were in sync.
 *
 * A damaged machine has room: a change of a bad block that all others took and it refused leaves nowhere what its
 * checksum means, and when it is back alone, as one that has everything, what the others have counts no more.
 */
import type { SeededRandom } from '../../src/base/random.js';
import type { Machine, SimCluster } from '../helpers/sim-cluster.js';
import type { DiskDamage } from '../helpers/sim-disk.js';
import type { FaultHooks } from './faults.js';
import type { DiskFaultName } from './swarm-config.js';

const KIB = 1024;
/** From nothing at all to a little more than the reserve. */
const FREE_BYTES = [0, 64 * KIB, 300 * KIB, 700 * KIB, 3000 * KIB];
const FULL_MS = [300, 2000, 8000];
const LIE_MS = 3000;

export class DiskFaults {
  private readonly victim: Machine;
  private damaged = false;
  /** Of blocks of the victim not even the checksum may be left. */
  private forgetful = false;
  /** Blocks of the victim may be bad. */
  private spoiled = false;
  /** A write of the victim never happened: what the others have of it may not be synced. */
  private lostWrite = false;
  private wasFull = false;
  private readonly full = new Set<Machine>();
  /** Machines whose disks have not one block left: more than a store is promised to live with. */
  private readonly crammed = new Set<Machine>();
  readonly causes: Record<DiskFaultName, (machine: Machine) => void> = {
    flipBlock: () => this.flip('block'),
    flipTable: () => this.flip('table'),
    flipJournal: () => this.flipJournal(),
    loseWrite: () => this.spoil('lose'),
    misdirectWrite: () => this.spoil('misdirect'),
    fullDisk: (machine) => this.fill([machine]),
    fullDisks: () => this.fill(this.cluster.machines),
    lyingSync: (machine) => this.lie(machine),
  };

  constructor(
    private readonly cluster: SimCluster,
    private readonly random: SeededRandom,
    private readonly hooks: FaultHooks,
    private readonly later: (delayMs: number, run: () => void) => void,
    /** There is more than one replica of everything. */
    private readonly isRedundant: () => boolean,
    /** Machines that are away for long lose their place. */
    private readonly givesUp: boolean,
  ) {
    this.victim = random.pick(cluster.machines);
  }

  heal(): void {
    for (const { disk } of this.cluster.machines) {
      disk.damage?.setFree(undefined);
      disk.damage?.lieAboutSyncs(false);
    }
    this.full.clear();
    this.crammed.clear();
  }

  /** Errors that clients may see now. */
  tolerates(code: string): boolean {
    if (code === 'no-space') return this.wasFull;
    // The good replicas may be on machines that are down.
    return code === 'io' && this.damaged && !this.cluster.healthy();
  }

  /** Without a single block a store may stop; it starts again as soon as there is room. */
  excuses(machine: Machine): boolean {
    return this.crammed.has(machine);
  }

  /** Who holds what the damaged machine has forgotten must not leave it alone. */
  mayLeave(machine: Machine): boolean {
    return !this.forgetful || machine === this.victim;
  }

  /** A good replica will be left of every block. */
  private mayDamage(): boolean {
    return this.isRedundant() && !this.full.has(this.victim);
  }

  /** What the damaged machine has lost, and not yet been given back, may be on this one alone. */
  mayBeTheOnlyGood(machine: Machine): boolean {
    return this.damaged && machine !== this.victim;
  }

  /**
   * Not where a page cache may be all that has a write. And not a damaged machine that others with the same blocks will
   * not come back to: what has rotted could not be told from what was half written when the power went.
   */
  mayLosePower(machine: Machine): boolean {
    if (machine !== this.victim) return !this.lostWrite;
    return !this.spoiled || (!this.givesUp && this.cluster.whole());
  }

  /** A change that the others have the only whole bytes of may have been under way when all died. */
  mustComeLast(machine: Machine): boolean {
    return this.damaged && machine === this.victim;
  }

  private flip(where: 'block' | 'table'): void {
    const damage = this.damageOf(this.victim);
    if (!damage || !this.cluster.healthy() || !this.mayDamage()) return;
    const path = damage.flipBit(where, this.random);
    if (path === undefined) return;
    this.spoiled = true;
    this.forgetful ||= where === 'table';
    this.note(`disk: bit flipped in a ${where}`, path);
  }

  private flipJournal(): void {
    const { victim, hooks } = this;
    const damage = this.damageOf(victim);
    if (!damage || victim.life || this.full.has(victim) || !victim.diedWhole) return;
    const path = damage.flipBit('journal', this.random);
    if (path === undefined) return;
    this.note('disk: bit flipped in the journal of a dead process', path);
    hooks.onLossyPowerCut();
  }

  private spoil(how: 'lose' | 'misdirect'): void {
    const damage = this.damageOf(this.victim);
    if (!damage || !this.cluster.healthy() || !this.mayDamage()) return;
    // Whoever is away by the time of the write does not get it, and no good replica of it would be left.
    const may = () => this.cluster.whole() && this.mayDamage();
    damage.spoilNextWrite(how, this.random, may, () => {
      this.spoiled = true;
      this.lostWrite = true;
      this.note(how === 'lose' ? 'disk: write lost' : 'disk: write misdirected', '');
    });
  }

  private fill(chosen: readonly Machine[]): void {
    const machines = chosen.filter((machine) => !this.spoiled || machine !== this.victim);
    if (machines.length === 0) return;
    this.wasFull = true;
    this.hooks.count('disk: full');
    const freeBytes = this.random.pick(FREE_BYTES);
    for (const machine of machines) {
      this.cluster.trace(`the disk of ${machine.name} has ${freeBytes} bytes left`);
      machine.disk.damage?.setFree(freeBytes);
      this.full.add(machine);
    }
    for (const machine of machines) if (freeBytes === 0 || mayNeedRoom(machine)) this.crammed.add(machine);
    this.later(this.random.pick(FULL_MS), () => {
      for (const machine of machines) {
        machine.disk.damage?.setFree(undefined);
        this.full.delete(machine);
        this.crammed.delete(machine);
      }
    });
  }

  private lie(machine: Machine): void {
    this.hooks.count('disk: syncs that lie');
    machine.disk.damage?.lieAboutSyncs(true);
    this.later(LIE_MS, () => machine.disk.damage?.lieAboutSyncs(false));
  }

  private note(event: string, path: string): void {
    this.damaged = true;
    this.hooks.count(event);
    this.cluster.trace(`${event} of ${this.victim.name} ${path}`);
  }

  private damageOf(machine: Machine): DiskDamage | undefined {
    return machine.disk.damage;
  }
}

/** It may have to make a store first, or to restore what a power cut took: its room may have been used by others. */
function mayNeedRoom({ spare, lives, disksLost, life }: Machine): boolean {
  return spare || lives <= 1 || disksLost > 0 || life?.node === undefined;
}
