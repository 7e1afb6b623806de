/** What a piece of work took, wall clock and processors. */
import { childrenCpuMs, cpuMs, type MachineTicks, machineTicks } from '../measure.js';
import type { WorkCell } from './work.js';

export interface Taken {
  readonly ms: number;
  /** Of the processes that were named and of every client that came and went meanwhile. */
  readonly cpuMs: number;
  /** Of the machine's time meanwhile: what other virtual machines took. */
  readonly stolenShare: number;
}

/** `pids` live on after it: the daemons, and clients that are open before and after. */
export async function take(pids: readonly number[], run: () => Promise<unknown>): Promise<Taken> {
  const cpu = () => cpuMs(pids) + childrenCpuMs();
  const [ticks, cpuBefore, startMs] = [machineTicks(), cpu(), performance.now()];
  await run();
  const ms = performance.now() - startMs;
  return { ms, cpuMs: cpu() - cpuBefore, stolenShare: robbedShare(ticks, machineTicks()) };
}

/** The share that others took. Of one tick the kernel cannot tell when it was: in a short time it would be a theft. */
export function robbedShare(before: MachineTicks, after: MachineTicks): number {
  const total = after.total - before.total;
  return total > 0 ? Math.max(0, after.stolen - before.stolen - 1) / total : 0;
}

/**
 * What is left of one without another that was in it, such as the start of a client. Undefined when nothing is left:
 * then noise was larger than what was to be measured.
 */
export function less(taken: Taken, start: Taken): Taken | undefined {
  if (taken.ms <= start.ms) return undefined;
  const stolenMs = taken.stolenShare * taken.ms + start.stolenShare * start.ms;
  return {
    ms: taken.ms - start.ms,
    cpuMs: Math.max(0, taken.cpuMs - start.cpuMs),
    stolenShare: stolenMs / (taken.ms + start.ms),
  };
}

/** In milliseconds. */
export function durationCell({ ms, cpuMs, stolenShare }: Taken): WorkCell {
  return { value: ms, cpu: cpuMs, stolenShare };
}

/** In MB/s, and CPU in milliseconds for each MB. */
export function rateCell({ ms, cpuMs, stolenShare }: Taken, bytes: number): WorkCell {
  return { value: bytes / 1e3 / ms, cpu: cpuMs / (bytes / 1e6), stolenShare };
}
