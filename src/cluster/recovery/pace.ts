import type { Clock, Timer } from '../../base/clock.js';
import type { Foreground } from '../objects/foreground.js';
import { EpochEnded } from '../objects/object-node.js';
import { Lane, type Turn } from '../objects/pace-lane.js';
import { PaceController, type PaceLimits } from './pace-controller.js';

/** How often a paused recovery looks whether it may go on, and the rate is adapted. */
const LOOK_MS = 50;
/** So many operations of clients are enough to judge by; with fewer it is waited for so long. */
const OPERATIONS_MIN = 10;
const SAMPLE_MIN_MS = 100;
const SAMPLE_MAX_MS = 500;
/** At the beginning it is soon known whether there are clients at all. */
const FIRST_LOOK_MS = 150;
/** Without work for so long, what is known about the load is out of date. */
const IDLE_MS = 2000;
/** Objects being compared and copied at the same time: for this node, and by it for others. */
const TAKING_MAX = 8;
const GIVING_MAX = 8;
/** What comparing an object costs beside the bytes it moves: its blocks are read and verified. */
export const COMPARE_COST_BYTES = 128 * 1024;
/** What was not spent for so long is not spent later. */
const BURST_MS = 50;
/** Weight of the newest object in what the next one is expected to cost. */
const NEWEST = 0.1;

export interface PaceOptions {
  readonly clock: Clock;
  /** Somebody has paused recovery in the whole cluster. */
  readonly paused: () => boolean;
  readonly foreground: Foreground;
  readonly limits?: PaceLimits;
}

/**
 * When the next object of a recovery may be compared and copied, so that foreground work does not suffer (D-7): what
 * this node takes over, and what it gives to others. Both come out of one account, for they use the same disks and
 * processor; but each has places of its own, because two nodes that give to each other must not wait for each other.
 */
export class RecoveryPace {
  private readonly controller: PaceController;
  private readonly taking = new Lane(TAKING_MAX);
  private readonly giving = new Lane(GIVING_MAX);
  /** What has been begun beyond what the rate allows, at the time of the last look. */
  private debtBytes = 0;
  private expectedBytes = COMPARE_COST_BYTES;
  private spentBytes = 0;
  private lookedMs = 0;
  private sampledMs = 0;
  private timer: Timer | undefined;
  private wake: Timer | undefined;
  private watching = false;
  /** Nothing has been seen of the load yet. */
  private fresh = true;
  private epochs = 0;
  private stopped = false;

  constructor(private readonly options: PaceOptions) {
    this.controller = new PaceController(options.limits);
  }

  get paused(): boolean {
    return this.options.paused();
  }

  /** Bytes a second that may be spent at present; Infinity: no limit. For people. */
  get rateBytesPerS(): number {
    return this.controller.rateBytesPerS;
  }

  /**
   * Runs the work on one object that this node takes over when its turn has come. `work` resolves with the number of
   * bytes it moved. `first`: before all that wait. Rejects with EpochEnded when the epoch ends before.
   */
  run(work: (turn: Turn) => Promise<number>, first = false): Promise<number> {
    return this.take(this.taking, work, first);
  }

  /** The same for an object that another node takes over from this one. */
  give(work: (turn: Turn) => Promise<number>, first = false): Promise<number> {
    return this.take(this.giving, work, first);
  }

  /** Who waits for a turn waits in an epoch that is over. */
  endEpoch(): void {
    this.epochs++;
    for (const lane of [this.taking, this.giving]) lane.rejectAll(new EpochEnded());
  }

  stop(): void {
    this.endEpoch();
    this.timer?.cancel();
    this.wake?.cancel();
    this.stopped = true;
  }

  private async take(lane: Lane, work: (turn: Turn) => Promise<number>, first: boolean): Promise<number> {
    if (this.stopped) throw new EpochEnded();
    this.begin();
    const turn = lane.wait(first);
    this.pump();
    const account = new Account(await turn, this.epochs);
    try {
      const moved = await work({ step: (bytes) => this.step(account, bytes) });
      const costBytes = COMPARE_COST_BYTES + moved;
      this.expectedBytes += NEWEST * (costBytes - this.expectedBytes);
      this.charge(costBytes - account.chargedBytes);
      return moved;
    } finally {
      lane.running--;
      this.pump();
    }
  }

  private async step(account: Account, bytes: number): Promise<void> {
    account.seenBytes += bytes;
    const more = account.seenBytes - account.chargedBytes;
    if (more > 0) {
      this.charge(more);
      account.chargedBytes = account.seenBytes;
    }
    // Nothing is left to wait for when the epoch is over: what goes on then finds out by itself.
    const mayGoOn = () => account.epoch !== this.epochs || (more > 0 ? this.mayGoOn() : !this.paused);
    while (!mayGoOn()) await this.look();
  }

  private look(): Promise<void> {
    return new Promise((resolve) => {
      this.options.clock.after(LOOK_MS, resolve);
    });
  }

  private get busy(): boolean {
    return [this.taking, this.giving].some((lane) => lane.running > 0 || lane.waits);
  }

  private mayGoOn(): boolean {
    if (this.paused) return false;
    this.payDebt();
    return this.debtBytes <= 0;
  }

  private charge(bytes: number): void {
    this.payDebt();
    this.debtBytes += bytes;
    this.spentBytes += Math.max(0, bytes);
  }

  private payDebt(): void {
    const nowMs = this.options.clock.nowMs();
    const rate = this.controller.rateBytesPerS;
    if (rate === Number.POSITIVE_INFINITY) this.debtBytes = 0;
    else {
      const paid = (rate * (nowMs - this.lookedMs)) / 1000;
      this.debtBytes = Math.max(-(rate * BURST_MS) / 1000, this.debtBytes - paid);
    }
    this.lookedMs = nowMs;
  }

  /** Lets in whoever's turn has come, by turns from both lanes. */
  private pump(): void {
    for (let went = true; went; ) {
      went = this.letIn(this.giving);
      went = this.letIn(this.taking) || went;
    }
    this.wakeSoon();
  }

  /** The looks are too far apart to let in one after the other. */
  private wakeSoon(): void {
    const waitMs = (this.debtBytes * 1000) / this.controller.rateBytesPerS;
    if (this.wake !== undefined || this.paused || !(waitMs > 0 && waitMs < LOOK_MS)) return;
    if (!this.taking.waits && !this.giving.waits) return;
    this.wake = this.options.clock.after(Math.max(1, waitMs), () => {
      this.wake = undefined;
      this.pump();
    });
  }

  private letIn(lane: Lane): boolean {
    const { expectedBytes } = this;
    if (!lane.waits || !this.mayGoOn() || !lane.next(expectedBytes)) return false;
    this.charge(expectedBytes);
    return true;
  }

  // The clock ---------------------------------------------------------------------------------------------------

  private begin(): void {
    if (this.timer !== undefined) return;
    const nowMs = this.options.clock.nowMs();
    if (nowMs - this.lookedMs > IDLE_MS) {
      this.controller.reset();
      this.fresh = true;
    }
    this.lookedMs = nowMs;
    this.sampledMs = nowMs;
    if (!this.watching) this.options.foreground.watch();
    this.watching = true;
    this.timer = this.options.clock.after(LOOK_MS, () => this.tick());
  }

  private tick(): void {
    this.timer = undefined;
    if (!this.busy) {
      // Nobody's operations are timed for nothing.
      this.options.foreground.unwatch();
      this.watching = false;
      return;
    }
    this.timer = this.options.clock.after(LOOK_MS, () => this.tick());
    this.sample();
    this.pump();
  }

  private sample(): void {
    const { clock, foreground } = this.options;
    const nowMs = clock.nowMs();
    const elapsedMs = nowMs - this.sampledMs;
    const few = foreground.operations === 0 && this.fresh ? FIRST_LOOK_MS : SAMPLE_MAX_MS;
    if (elapsedMs < (foreground.operations >= OPERATIONS_MIN ? SAMPLE_MIN_MS : few)) return;
    this.fresh = false;
    this.payDebt();
    this.controller.step({ ...foreground.take(), elapsedMs, bytes: this.spentBytes });
    this.spentBytes = 0;
    this.sampledMs = nowMs;
  }
}

/** What one piece of work has been charged for so far. */
class Account {
  seenBytes = COMPARE_COST_BYTES;

  constructor(
    public chargedBytes: number,
    readonly epoch: number,
  ) {}
}
