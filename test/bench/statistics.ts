/** Machines are noisy: medians, the whole spread beside them, and ratios of what was measured one after the other. */

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** Of pairs from the same round: a neighbour's load that lasts longer than a round falls out. */
export function medianRatio(values: readonly number[], yardstick: readonly number[]): number {
  return median(values.flatMap((value, i) => (yardstick[i] === undefined ? [] : [value / yardstick[i]])));
}

/** The value that `part` (0 to 1) of them lie below; they are sorted. */
export function partOf(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}
