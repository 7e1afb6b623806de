import type { BudgetWaiter, ByteBudget } from '../base/byte-budget.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** What requests of one connection may hold without asking the budget: small ones never wait for other clients. */
export const FREE_BYTES = 128 * KIB;
/** A payload is paid for as it comes, so much at a time: what is only announced takes nothing from others. */
export const PAYLOAD_STEP_BYTES = MIB;
/**
 * What requests of one connection may take of the budget, unless it is a single one. It begins low and grows with the
 * payloads that the client has sent and the answers that it has taken: who never reads holds little.
 */
export const WINDOW_BYTES_MIN = 8 * MIB;
export const WINDOW_BYTES_MAX = 64 * MIB;

/** The bytes of one request, from its header on until its answer has left. */
export interface Share {
  /** What it holds when its payload is there: all of it within FREE_BYTES, or all of it taken of the budget. */
  readonly cost: number;
  readonly payloadBytes: number;
  freeBytes: number;
  takenBytes: number;
}

/** The bytes that requests of one connection hold (I-11). */
export class HeldBytes {
  /** Taken of the budget. */
  private taken = 0;
  /** Held within FREE_BYTES. */
  private free = 0;
  /** Answers that have not left, and what they hold of the budget. */
  private unsent = 0;
  private unsentBytes = 0;
  private windowBytes = WINDOW_BYTES_MIN;
  private queued = false;
  private over = false;

  constructor(
    private readonly budget: ByteBudget,
    private readonly waiter: BudgetWaiter,
  ) {}

  get takenBytes(): number {
    return this.taken;
  }

  get unsentAnswers(): number {
    return this.unsent;
  }

  /**
   * Whether the request holds what it must: everything before it runs, and of a payload as much as has come. When not,
   * it waits for the budget, which wakes the connection, or for requests of its own.
   */
  pay(share: Share, arrivedBytes: number, isUrgent: boolean): boolean {
    const { cost, takenBytes } = share;
    if (share.freeBytes + takenBytes >= cost) return true;
    if (takenBytes === 0 && this.free + cost <= FREE_BYTES) {
      share.freeBytes = cost;
      this.free += cost;
      this.leaveQueue();
      return true;
    }
    const dueBytes = this.dueBytes(share, arrivedBytes);
    if (dueBytes === 0) return true;
    const isAlone = this.taken === takenBytes;
    if (!isAlone && !isUrgent && this.taken + dueBytes > this.windowBytes) return false;
    const { budget, waiter } = this;
    this.queued = !(takenBytes === 0 ? budget.tryTake(dueBytes, waiter) : budget.takeMore(dueBytes, waiter));
    if (this.queued) return false;
    share.takenBytes += dueBytes;
    this.taken += dueBytes;
    if (share.takenBytes === cost) budget.complete(waiter);
    return true;
  }

  /** Bytes to take of the budget before more is read or the request runs. */
  private dueBytes({ cost, payloadBytes, takenBytes }: Share, arrivedBytes: number): number {
    if (arrivedBytes >= payloadBytes) return cost - takenBytes;
    if (arrivedBytes <= takenBytes + FREE_BYTES - this.free) return 0;
    return Math.min(cost, Math.max(takenBytes, arrivedBytes) + PAYLOAD_STEP_BYTES) - takenBytes;
  }

  private leaveQueue(): void {
    if (!this.queued) return;
    this.queued = false;
    this.budget.forget(this.waiter);
  }

  giveBack(share: Share): void {
    const { takenBytes } = share;
    this.free -= share.freeBytes;
    this.taken -= takenBytes;
    share.freeBytes = share.takenBytes = 0;
    if (takenBytes > 0) this.budget.give(takenBytes);
  }

  /** The request has ended, and its client has done its part. */
  onDone(share: Share): void {
    this.windowBytes = Math.min(WINDOW_BYTES_MAX, this.windowBytes + share.takenBytes);
    this.giveBack(share);
  }

  /** The answer is written: it holds the request's bytes until the system has taken it. */
  onUnsent(share: Share): void {
    this.unsent++;
    this.unsentBytes += share.takenBytes;
  }

  onSent(share: Share): void {
    // At the end everything unsent was given back at once.
    if (this.over) return;
    this.unsent--;
    this.unsentBytes -= share.takenBytes;
    this.onDone(share);
  }

  /** No more input: `collected` is the request whose payload was being collected. */
  onInputEnd(collected: Share | undefined): void {
    this.queued = false;
    this.budget.forget(this.waiter);
    if (collected !== undefined) this.giveBack(collected);
  }

  /** The connection is gone. Requests at work keep their bytes until they end: the memory is in use. */
  onEnd(): void {
    this.over = true;
    const { unsentBytes } = this;
    this.unsent = this.unsentBytes = 0;
    this.taken -= unsentBytes;
    this.budget.give(unsentBytes);
  }
}
