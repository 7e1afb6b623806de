import type { Clock } from '../base/clock.js';

/** How often a paused recovery looks whether it may go on. */
const PAUSED_LOOK_MS = 100;
/** Objects compared at the same time. */
const PARALLEL_MAX = 4;

export interface PaceOptions {
  readonly clock: Clock;
  /** Somebody has paused recovery in the whole cluster. */
  readonly paused: () => boolean;
}

/** When the next object of a recovery may be compared and copied, so that foreground work does not suffer (D-7). */
export class RecoveryPace {
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly options: PaceOptions) {}

  get paused(): boolean {
    return this.options.paused();
  }

  /** Runs the work on one object when its turn has come. `work` resolves with the number of bytes it moved. */
  async run(work: () => Promise<number>): Promise<number> {
    while (this.paused) await this.pause();
    if (this.running >= PARALLEL_MAX) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.running++;
    try {
      return await work();
    } finally {
      this.running--;
      this.waiting.shift()?.();
    }
  }

  private pause(): Promise<void> {
    return new Promise((resolve) => {
      this.options.clock.after(PAUSED_LOOK_MS, resolve);
    });
  }
}
