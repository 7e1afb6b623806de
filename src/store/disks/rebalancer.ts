/**
 * Brings objects to the disk they belong on, in the background: after a disk came, while one is emptied, and once after
 * each start. One object at a time, with pauses, so that clients hardly notice. It reads the folders as it goes: no
 * list of objects is kept (I-11).
 */
import type { Clock } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Locator } from './locator.js';
import type { Member } from './member.js';
import type { Mover } from './mover.js';

export interface RebalancePace {
  /** A pass begins so long after it was asked for. */
  readonly delayMs: number;
  /** After each object a pause of at least this, and of this many times what the move took. */
  readonly pauseMs: number;
  readonly pauseRatio: number;
}

export const defaultPace: RebalancePace = { delayMs: 10_000, pauseMs: 2, pauseRatio: 1 };

/** Objects looked at in one turn. */
const SLICE = 256;
/** A disk that is emptied is gone over again when it still has objects: those that were busy. */
const AGAIN_MS = 1000;

export interface RebalancerOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly members: () => readonly Member[];
  readonly locator: Locator;
  readonly mover: Mover;
  readonly pace: RebalancePace;
}

export class Rebalancer {
  private wanted = false;
  private running: Promise<void> | undefined;
  private stopped = false;
  /** Ends a pause early. */
  private wakeUp: (() => void) | undefined;

  constructor(private readonly options: RebalancerOptions) {}

  get active(): boolean {
    return this.running !== undefined;
  }

  /** Looks at all objects soon; again when it is just doing so. */
  wake(): void {
    if (this.stopped) return;
    this.wanted = true;
    this.running ??= this.run().finally(() => {
      this.running = undefined;
    });
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.wakeUp?.();
    await this.running;
  }

  /** Moves everything off the disk; resolves when it has no object any more, with false when that cannot be. */
  async empty(member: Member, mayGoOn: () => boolean): Promise<boolean> {
    const { mover } = this.options;
    for (;;) {
      const before = mover.moved;
      let left = 0;
      for await (const oid of member.store.objects()) {
        if (this.stopped || !member.live || !mayGoOn()) return false;
        if (!(await this.place(oid, member))) left++;
      }
      if (left === 0) return true;
      if (mover.moved === before && left > 0 && !this.hasRoomElsewhere(member)) return false;
      await this.pause(AGAIN_MS);
    }
  }

  private async run(): Promise<void> {
    const { log, mover, pace } = this.options;
    while (this.wanted && !this.stopped) {
      await this.pause(pace.delayMs);
      this.wanted = false;
      const before = mover.moved;
      try {
        for (const member of this.options.members()) await this.goOver(member);
      } catch (error) {
        log.warn({ err: AppError.from(error).message }, 'objects could not be brought to their disks');
      }
      if (mover.moved > before)
        log.info({ objects: mover.moved - before }, 'objects were brought to their disks');
    }
  }

  private async goOver(member: Member): Promise<void> {
    let looked = 0;
    for await (const oid of member.store.objects()) {
      if (this.stopped || !member.live) return;
      const startedMs = this.options.clock.nowMs();
      if (this.options.locator.home(oid) !== member && (await this.place(oid, member))) {
        const tookMs = this.options.clock.nowMs() - startedMs;
        await this.pause(Math.max(this.options.pace.pauseMs, tookMs * this.options.pace.pauseRatio));
      } else if (++looked % SLICE === 0) {
        await new Promise<void>((resolve) => this.options.clock.defer(resolve));
      }
    }
  }

  /** True when the object is where it belongs now, or on another disk with room when `from` is being emptied. */
  private async place(oid: bigint, from: Member): Promise<boolean> {
    const { locator, mover } = this.options;
    const bytes = from.store.objectBytes(oid);
    if (bytes === undefined) return true;
    const home = from.leaving ? locator.homeOfNew(oid, bytes) : locator.home(oid);
    if (home === undefined || home === from) return false;
    // Never into the reserve: an object out of place does no harm.
    return home.hasRoom(bytes) && (await mover.move(oid, from, home));
  }

  private hasRoomElsewhere(from: Member): boolean {
    return this.options.members().some((member) => member !== from && !member.leaving && member.hasRoom(0));
  }

  private async pause(delayMs: number): Promise<void> {
    if (this.stopped) return;
    await new Promise<void>((resolve) => {
      const timer = this.options.clock.after(delayMs, resolve);
      this.wakeUp = () => {
        timer.cancel();
        resolve();
      };
    });
    this.wakeUp = undefined;
  }
}
