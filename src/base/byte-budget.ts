import { assert } from './assert.js';

/** One who waits for bytes; woken in the order of asking. */
export interface BudgetWaiter {
  onBudget(): void;
}

/**
 * The bytes of payload that all connections together may hold (I-11). A request of any allowed size is admitted when
 * nothing is taken, so the largest one cannot starve; waiters are served first come, first served.
 */
export class ByteBudget {
  private taken = 0;
  private readonly waiters = new Set<BudgetWaiter>();

  constructor(
    private readonly bytesMax: number,
    /** Called when someone begins to wait and nobody did: the moment to look for stalled holders. */
    private readonly onPressure: () => void,
  ) {}

  get takenBytes(): number {
    return this.taken;
  }

  get pressed(): boolean {
    return this.waiters.size > 0;
  }

  /** Takes `bytes`, or puts the waiter in the queue and returns false. */
  tryTake(bytes: number, waiter: BudgetWaiter): boolean {
    const calm = this.waiters.size === 0;
    const fits = bytes === 0 || this.taken === 0 || this.taken + bytes <= this.bytesMax;
    // Small requests must not overtake a large one for ever: behind others one waits.
    if (fits && (calm || bytes === 0 || this.waiters.values().next().value === waiter)) {
      this.waiters.delete(waiter);
      this.taken += bytes;
      return true;
    }
    this.waiters.add(waiter);
    if (calm) this.onPressure();
    return false;
  }

  give(bytes: number): void {
    this.taken -= bytes;
    assert(this.taken >= 0, 'byte budget below zero');
    this.wake();
  }

  /** A waiter that went away. */
  forget(waiter: BudgetWaiter): void {
    if (this.waiters.delete(waiter)) this.wake();
  }

  private wake(): void {
    // A woken waiter tries again and leaves the queue by succeeding; the first who does not fit ends the round.
    for (;;) {
      const first = this.waiters.values().next().value;
      if (first === undefined) return;
      first.onBudget();
      if (this.waiters.values().next().value === first) return;
    }
  }
}
