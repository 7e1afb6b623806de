/** Lengths of time as people write and read them: 7d, 12h, 90m, 30s, 0. */

const unitsMs: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds, or undefined when the text is none. A number without a unit is only 0. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  const match = /^(\d+(?:\.\d+)?)([smhd])$/.exec(text);
  return match === null ? undefined : Math.round(Number(match[1]) * unitsMs[match[2]!]!);
}

/** "7 d", "3.5 h", "12 min", "40 s": one decimal below ten. */
export function formatDuration(ms: number): string {
  const names = [
    ['d', unitsMs.d!],
    ['h', unitsMs.h!],
    ['min', unitsMs.m!],
  ] as const;
  for (const [name, unitMs] of names) if (ms >= unitMs) return `${short(ms / unitMs)} ${name}`;
  return `${short(ms / 1000)} s`;
}

function short(value: number): string {
  return value < 10 ? String(Math.round(value * 10) / 10) : String(Math.round(value));
}
