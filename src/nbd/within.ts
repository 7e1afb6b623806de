import type { Clock, Timer } from '../base/clock.js';

/** Waits for the promise, but not longer than `timeoutMs`; leaves no timer behind. Rejects as the promise does. */
export async function within(clock: Clock, timeoutMs: number, promise: Promise<unknown>): Promise<void> {
  let timer: Timer | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = clock.after(timeoutMs, resolve);
  });
  try {
    await Promise.race([promise, timeout]);
  } finally {
    timer?.cancel();
  }
}
