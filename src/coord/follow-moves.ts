import { type Clock, sleep } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { Coordinator } from './coordinator.js';
import { isEtcdAddress, withoutPassword } from './etcd/address.js';
import { GuardedCoordinator } from './guarded-coordinator.js';
import { changeStanding, MOVER_KEY, readStanding } from './standing.js';

/** A coordinator that is not in force yet is looked at this often. */
const LOOK_MS = 100;
/** Of the line that says what is waited for. */
const TELL_MS = 10_000;
const HOPS_MAX = 16;

export interface Following {
  /** Where the coordinator is, or was. */
  readonly address: string;
  readonly open: (address: string) => Promise<Coordinator>;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long to wait for a coordinator to answer, and for a move of the cluster to end: for ever without. */
  readonly limitMs?: number;
  /** The cluster begins to move to another coordinator: give up everything, close, and open again. */
  readonly onLeaving?: () => void;
  /** Ends the waiting: rejects with AppError 'shutdown'. */
  readonly isWanted?: () => boolean;
}

/**
 * Opens the coordinator that is in force: from the one at the address along the moves that were decided (standing.ts).
 * Rejects with AppError 'network' or 'again' at the limit, and as `open` does.
 */
export function follow(options: Following): Promise<GuardedCoordinator> {
  return new MoveFollower(options).run();
}

/** Where to look next; the id is that of the decided move that leads there. */
interface Hop {
  readonly address: string;
  readonly moveId?: string;
}

class MoveFollower {
  private readonly endMs: number;
  private toldMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: Following) {
    this.endMs = options.clock.nowMs() + (options.limitMs ?? Number.POSITIVE_INFINITY);
  }

  async run(): Promise<GuardedCoordinator> {
    let hop: Hop = { address: this.options.address };
    for (let hops = 0; hops < HOPS_MAX; hops++) {
      const inner = await this.reach(hop.address);
      let next: Hop | undefined;
      try {
        next = await this.settle(inner, hop);
        if (next === undefined) {
          return await GuardedCoordinator.over(inner, hop.address, () => this.options.onLeaving?.());
        }
      } catch (error) {
        await inner.close();
        throw error;
      }
      await inner.close();
      const [from, to] = [withoutPassword(hop.address), withoutPassword(next.address)];
      if (next.moveId !== undefined)
        this.options.log.warn(
          { from, to },
          'the cluster has another coordinator now; start sheep with its address',
        );
      hop = next;
    }
    throw new AppError('system', 'coordinators point to each other without an end');
  }

  private async reach(address: string): Promise<Coordinator> {
    for (;;) {
      try {
        return await this.options.open(address);
      } catch (error) {
        if (!AppError.isCode(error, 'network')) throw error;
        await this.wait(error, 'the coordinator does not answer; waiting for it');
      }
    }
  }

  /** Waits until it is known that this one is in force (undefined), or where to look instead. */
  private async settle(inner: Coordinator, hop: Hop): Promise<Hop | undefined> {
    for (;;) {
      try {
        const next = await this.look(inner, hop);
        if (next !== 'unknown') return next;
        const where = withoutPassword(hop.address);
        await this.wait(
          new AppError('again', 'the cluster is moving to another coordinator; try again'),
          `the cluster is moving from or to ${where}; waiting`,
        );
      } catch (error) {
        if (!AppError.isCode(error, 'network')) throw error;
        await this.wait(error, 'the coordinator does not answer; waiting for it');
      }
    }
  }

  private async look(inner: Coordinator, hop: Hop): Promise<Hop | undefined | 'unknown'> {
    const known = await readStanding(inner);
    const { state, id = '', to = '', from = '' } = known.standing;
    if (state === 'here') return undefined;
    if (state === 'moved') return { address: to, moveId: id };
    if (state === 'moving') {
      // A move whose mover is gone was not decided, and cannot be any more.
      await changeStanding(inner, known, { state: 'here' }, [{ key: MOVER_KEY, exists: false }]);
      return 'unknown';
    }
    if (id === hop.moveId) {
      // Decided where it came from: this one is in force, whether its mover came to note it or not.
      await changeStanding(inner, known, { state: 'here' });
      return 'unknown';
    }
    // The one it comes from knows. A path means something on one host only.
    return isEtcdAddress(from) ? { address: from } : 'unknown';
  }

  /** Rejects with the reason when there is no time left. */
  private async wait(reason: AppError, message: string): Promise<void> {
    const { clock, log, isWanted } = this.options;
    if (clock.nowMs() >= this.endMs) throw reason;
    if (isWanted?.() === false) throw new AppError('shutdown', 'not wanted any more');
    if (clock.nowMs() - this.toldMs >= TELL_MS) {
      this.toldMs = clock.nowMs();
      log.warn({ reason: reason.message }, message);
    }
    await sleep(clock, LOOK_MS);
  }
}
