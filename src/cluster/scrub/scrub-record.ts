/**
 * What one sheep's scrub has come to, as JSON in the coordinator under `scrub/<node id>`: any sheep can tell it, and a
 * restart goes on from there. Written about once a minute while a pass runs, and when something is found.
 *
 * `elapsedMs` counts the time this sheep has run since its pass began: no clock is asked that people can set. `trail`
 * holds the objects that were looked at last: a pass goes on after the first of them that the store still lists.
 */

export const SCRUB_PREFIX = 'scrub/';
/** The cluster's setting. */
export const SCRUB_SETTING_KEY = 'cluster/scrub';

/** Objects kept of those that cannot be repaired; all are counted. */
export const UNREPAIRABLE_MAX = 100;
const UNREPAIRABLE_BLOCKS_MAX = 16;
const TRAIL_MAX = 16;

export interface ScrubCounts {
  /** Objects this sheep answers for (as their primary) that were compared. */
  readonly objects: number;
  /** Bytes read of their replicas, on all sheep. */
  readonly bytes: number;
  /** Objects that were not right. */
  readonly found: number;
  readonly repaired: number;
  /** Objects that could not be compared: an error, or too few copies up. */
  readonly failed: number;
  /** Objects of no volume. */
  readonly strays: number;
}

export const noCounts: ScrubCounts = { objects: 0, bytes: 0, found: 0, repaired: 0, failed: 0, strays: 0 };

/** An object of which no replica is right. */
export interface Unrepairable {
  readonly oid: string;
  /** The blocks concerned, the first ones; none: the object is gone. */
  readonly blocks: readonly number[];
  /** Number of the pass that saw it last. */
  readonly pass: number;
}

export interface ScrubRecord {
  readonly formatId: string;
  /** Passes asked for by people that this sheep has begun. */
  readonly round: number;
  readonly running: boolean;
  /** Somebody asked for this pass. */
  readonly hurry: boolean;
  readonly elapsedMs: number;
  readonly passes: number;
  readonly counts: ScrubCounts;
  readonly trail: readonly string[];
  /** The last whole pass; `wallMs`: when it ended, for people. */
  readonly last?: ScrubCounts & { readonly tookMs: number; readonly wallMs: number };
  readonly unrepairable: readonly Unrepairable[];
  readonly unrepairableCount: number;
}

export interface ScrubSetting {
  /** Undefined: the default. 0: only when asked for. */
  readonly periodMs?: number;
  /** Nothing is scrubbed until somebody starts it. */
  readonly stopped: boolean;
  /** Rises by one with each pass that somebody asks for. */
  readonly round: number;
}

export function parseScrubSetting(text: string | undefined): ScrubSetting {
  return text === undefined ? { stopped: false, round: 0 } : (JSON.parse(text) as ScrubSetting);
}

/** Undefined: of an earlier format, or none. */
export function parseScrubRecord(text: string | undefined, formatId: string): ScrubRecord | undefined {
  if (text === undefined) return undefined;
  const record = JSON.parse(text) as ScrubRecord;
  return record.formatId === formatId ? record : undefined;
}

export function freshRecord(formatId: string, elapsedMs: number): ScrubRecord {
  return {
    formatId,
    round: 0,
    running: false,
    hurry: false,
    elapsedMs,
    passes: 0,
    counts: noCounts,
    trail: [],
    unrepairable: [],
    unrepairableCount: 0,
  };
}

export function beginPass(record: ScrubRecord, round: number, hurry: boolean): ScrubRecord {
  // What did not fit into the list is counted anew.
  const unrepairableCount = record.unrepairable.length;
  return {
    ...record,
    round,
    hurry,
    running: true,
    elapsedMs: 0,
    counts: noCounts,
    trail: [],
    unrepairableCount,
  };
}

/** Entries that this pass has not seen are of objects that were removed meanwhile. */
export function endPass(record: ScrubRecord, wallMs: number): ScrubRecord {
  const last = { ...record.counts, tookMs: record.elapsedMs, wallMs };
  const unrepairable = record.unrepairable.filter((entry) => entry.pass === record.passes);
  const gone = record.unrepairable.length - unrepairable.length;
  const rest = { unrepairable, unrepairableCount: record.unrepairableCount - gone };
  return { ...record, ...rest, running: false, hurry: false, passes: record.passes + 1, trail: [], last };
}

export function passed(record: ScrubRecord, oid: string, counts: Partial<ScrubCounts>): ScrubRecord {
  const sum = { ...record.counts };
  for (const key of Object.keys(counts) as (keyof ScrubCounts)[]) sum[key] += counts[key] ?? 0;
  return { ...record, counts: sum, trail: [...record.trail, oid].slice(-TRAIL_MAX) };
}

/** Remembers an object that cannot be repaired; at the limit it is only counted. */
export function withUnrepairable(record: ScrubRecord, oid: string, blocks: readonly number[]): ScrubRecord {
  const others = record.unrepairable.filter((entry) => entry.oid !== oid);
  const isNew = others.length === record.unrepairable.length;
  const entry = { oid, blocks: blocks.slice(0, UNREPAIRABLE_BLOCKS_MAX), pass: record.passes };
  return {
    ...record,
    unrepairable: others.length < UNREPAIRABLE_MAX ? [...others, entry] : others,
    unrepairableCount: record.unrepairableCount + (isNew ? 1 : 0),
  };
}

/** The object is right after all: overwritten, or removed with its volume. */
export function withoutUnrepairable(record: ScrubRecord, oid: string): ScrubRecord {
  const others = record.unrepairable.filter((entry) => entry.oid !== oid);
  if (others.length === record.unrepairable.length) return record;
  return { ...record, unrepairable: others, unrepairableCount: record.unrepairableCount - 1 };
}

export type ScrubStep = 'begin' | 'go-on' | 'wait';

/** What a sheep has to do now. Pure. */
export function nextStep(record: ScrubRecord, setting: ScrubSetting, periodMs: number): ScrubStep {
  if (setting.stopped) return 'wait';
  if (setting.round > record.round) return 'begin';
  if (record.running) return periodMs > 0 || record.hurry ? 'go-on' : 'wait';
  return periodMs > 0 && record.elapsedMs >= periodMs ? 'begin' : 'wait';
}
