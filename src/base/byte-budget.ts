import { assert } from './assert.js';

/** One who waits for bytes; woken in the order of asking. */
export interface BudgetWaiter {
  /** Asks again, or loses its place: who has become unable to use the bytes must not hold up those behind it. */
  onBudget(): void;
}

/**
 * The bytes of payload that all connections together may hold (I-11). A request of any allowed size is admitted when
 * nothing is taken, so the largest one cannot starve; waiters are served first come, first served.
 *
 * Who takes the bytes of one request in parts (takeMore) comes before those who have nothing yet: only complete
 * requests end and give back. So that many half-complete ones cannot wait for each other for ever, one at a time may go
 * past the limit until it is complete; the most that is ever taken is the limit and one request.
 */
export class ByteBudget {
  private taken = 0;
  /** With the number of their latest question. */
  private readonly waiters = new Map<BudgetWaiter, number>();
  private readonly continuing = new Map<BudgetWaiter, number>();
  private questions = 0;
  /** The one that goes past the limit. */
  private overdrawer: BudgetWaiter | undefined;

  constructor(
    private readonly bytesMax: number,
    /** Called when someone begins to wait and nobody did: the moment to look for stalled holders. */
    private readonly onPressure: () => void,
  ) {}

  get takenBytes(): number {
    return this.taken;
  }

  get pressed(): boolean {
    return this.waiters.size > 0 || this.continuing.size > 0;
  }

  /** Takes `bytes`, or puts the waiter in the queue and returns false. */
  tryTake(bytes: number, waiter: BudgetWaiter): boolean {
    const fits = bytes === 0 || this.taken === 0 || this.taken + bytes <= this.bytesMax;
    // Small requests must not overtake a large one for ever: behind others one waits.
    if (fits && (bytes === 0 || !this.pressed || this.first() === waiter)) {
      this.waiters.delete(waiter);
      this.taken += bytes;
      return true;
    }
    this.enqueue(this.waiters, waiter);
    return false;
  }

  /** The next part of a request of which a part is taken; complete() tells when it was the last. */
  takeMore(bytes: number, waiter: BudgetWaiter): boolean {
    const first = this.continuing.keys().next().value;
    const isFirst = first === undefined || first === waiter;
    const fits = isFirst && this.taken + bytes <= this.bytesMax;
    if (!fits && isFirst && this.overdrawer === undefined && this.taken <= this.bytesMax) {
      this.overdrawer = waiter;
    }
    if (fits || this.overdrawer === waiter) {
      this.continuing.delete(waiter);
      this.taken += bytes;
      return true;
    }
    this.enqueue(this.continuing, waiter);
    return false;
  }

  /** Everything that was taken in parts is there: it is going to be given back. */
  complete(waiter: BudgetWaiter): void {
    if (this.overdrawer === waiter) this.overdrawer = undefined;
  }

  give(bytes: number): void {
    this.taken -= bytes;
    assert(this.taken >= 0, 'byte budget below zero');
    this.wake();
  }

  /** A waiter that went away. */
  forget(waiter: BudgetWaiter): void {
    this.complete(waiter);
    const waited = this.waiters.delete(waiter);
    if (this.continuing.delete(waiter) || waited) this.wake();
  }

  private enqueue(queue: Map<BudgetWaiter, number>, waiter: BudgetWaiter): void {
    const calm = !this.pressed;
    // One that waits already keeps its place.
    queue.set(waiter, ++this.questions);
    if (calm) this.onPressure();
  }

  private first(): BudgetWaiter | undefined {
    return this.continuing.keys().next().value ?? this.waiters.keys().next().value;
  }

  private wake(): void {
    // A woken waiter tries again and leaves the queue by succeeding; the first who does not fit ends the round.
    for (;;) {
      const first = this.first();
      if (first === undefined) return;
      const before = this.questions;
      first.onBudget();
      if (this.first() !== first) continue;
      const queue = this.continuing.has(first) ? this.continuing : this.waiters;
      if (queue.get(first)! > before) return;
      queue.delete(first);
    }
  }
}
