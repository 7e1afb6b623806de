/**
 * How fast a scrub goes: pure decisions, so that they can be tested and the simulator can run a pass in seconds. A pass
 * is spread over the period. Clients come first: while there are requests, most of the time is theirs; and the slower
 * the disks answer the scrub itself, the longer it leaves them alone.
 */

export const DAY_MS = 24 * 60 * 60 * 1000;
const MIB = 1024 * 1024;

export interface ScrubLimits {
  /** One whole pass in this time, unless the cluster is told otherwise; 0: only when asked for. */
  readonly periodMs: number;
  /** Bytes read per second, over all replicas: between these, whatever the period says. */
  readonly floorBytesPerS: number;
  readonly ceilingBytesPerS: number;
  /** How long an object may have to wait for a moment without requests. */
  readonly patienceMs: number;
  /** Between two looks at whether there is something to do. */
  readonly pollMs: number;
  /** Between two records of how far a pass has come: so much is done again after a restart. */
  readonly saveMs: number;
}

export const defaultScrubLimits: ScrubLimits = {
  periodMs: 7 * DAY_MS,
  floorBytesPerS: MIB,
  ceilingBytesPerS: 20 * MIB,
  patienceMs: 500,
  pollMs: 1000,
  saveMs: 60_000,
};

/** Of the time that a check takes, so many parts are left to others afterwards: with clients at work, and without. */
const REST_BUSY = 9;
const REST_IDLE = 1;

/** Bytes per second that bring a pass to its end within the period. `hurry`: somebody waits for it. */
export function scrubRate(
  storedBytes: number,
  periodMs: number,
  limits: ScrubLimits,
  hurry: boolean,
): number {
  if (hurry || periodMs <= 0) return limits.ceilingBytesPerS;
  const even = (storedBytes * 1000) / periodMs;
  return Math.min(limits.ceilingBytesPerS, Math.max(limits.floorBytesPerS, even));
}

/** Milliseconds to wait after an object of so many bytes, the check of which took so long. */
export function pauseAfter(check: {
  readonly bytes: number;
  readonly tookMs: number;
  readonly bytesPerS: number;
  readonly busy: boolean;
}): number {
  const { bytes, tookMs, bytesPerS, busy } = check;
  const byRate = (bytes * 1000) / bytesPerS - tookMs;
  return Math.max(0, byRate, tookMs * (busy ? REST_BUSY : REST_IDLE));
}

/**
 * Where in its period a node that has never scrubbed begins, from 0 to 1: sheep that were formatted at the same moment
 * do not all scrub at the same time.
 */
export function firstOffset(hash: number): number {
  return (hash >>> 0) / 2 ** 32;
}
