/**
 * The clock seam. Nothing outside this file and the simulator asks the operating system for time, so that a
 * whole cluster can run in one process on simulated time.
 */
export interface Timer {
  /** Idempotent. A cancelled timer never fires. */
  cancel(): void;
}

export interface Clock {
  /** Monotonic milliseconds (fractional); comparable between processes of one host, never between hosts. */
  nowMs(): number;
  /** Milliseconds since 1970, for people and records only: never used for a decision. */
  wallMs(): number;
  after(delayMs: number, run: () => void): Timer;
  /** Runs after the I/O events of this turn: the place where batches are closed and answers corked. */
  defer(run: () => void): void;
}

export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(delayMs, resolve);
  });
}

export const systemClock: Clock = {
  nowMs: () => Number(process.hrtime.bigint()) / 1e6,
  wallMs: () => Date.now(),
  after(delayMs, run) {
    const handle = setTimeout(run, delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
  defer: (run) => {
    setImmediate(run);
  },
};
