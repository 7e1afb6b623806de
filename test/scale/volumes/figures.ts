/** What is measured of a case, and how it is written. */
import { memoryOf } from '../../bench/measure.js';
import type { RealCluster } from '../../helpers/real-cluster.js';
import type { Stall } from './foreground.js';

export async function timeMs(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

/** Median time of `count` runs, one after the other. */
export async function medianMs(count: number, work: (index: number) => Promise<unknown>): Promise<number> {
  const tookMs: number[] = [];
  for (let index = 0; index < count; index++) tookMs.push(await timeMs(() => work(index)));
  return medianOf(tookMs);
}

/** 0 of none. */
export function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

/** Of the sheep that holds most. */
export function residentMiB(cluster: RealCluster): string {
  const bytes = cluster.sheep.filter(({ running }) => running).map(({ pid }) => memoryOf(pid).residentBytes);
  return `${Math.round(Math.max(...bytes) / 2 ** 20)} MiB`;
}

export function ms(value: number): string {
  return value < 100 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

export const STALL_HEADING = 'Foreground write, median / longest';

export function stallText({ medianMs: median, longestMs }: Stall): string {
  return `${ms(median)} / ${ms(longestMs)}`;
}
