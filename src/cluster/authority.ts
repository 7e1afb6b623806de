import { assert } from '../base/assert.js';
import type { EpochRecord } from './epoch.js';

/**
 * Who may speak for an object (I-1, I-4, I-5), computed from the epoch history: pure, no I/O.
 *
 * The authority of a set of holders is the set of those that are certain to have every acknowledged write. In a fully
 * healthy epoch these are all holders. It shrinks to the ones that are up only in an epoch in which these were enough
 * to acknowledge writes; otherwise nothing can have been acknowledged without the absent ones, and they stay equal.
 * A node that lost unsynced writes leaves it, unless all members lost theirs (a power cut of everything: what was
 * not synced is gone, and any of them is as good as the others). A node that has caught up joins it again.
 */
export interface Standing {
  /** Nodes with every acknowledged write, up or not, in placement order. */
  readonly authority: readonly string[];
  /** Those of them that are up, in placement order: the first is the primary. Empty: the object must wait. */
  readonly serving: readonly string[];
  /** Holders that are up but behind: they take every write and are never read. */
  readonly targets: readonly string[];
  /** In-sync replicas a write needs (I-4). */
  readonly needed: number;
}

export class AuthorityHistory {
  private readonly cache = new Map<string, Standing>();

  /** `records`: every epoch from some healthy one (the `base` of the last) to the current one, in order. */
  constructor(private readonly records: readonly EpochRecord[]) {
    assert(records.length > 0, 'the epoch history is empty');
    const current = records[records.length - 1]!;
    assert(records[0]!.epoch <= current.base, 'the epoch history does not reach back to a healthy epoch');
  }

  get current(): EpochRecord {
    return this.records[this.records.length - 1]!;
  }

  /** The history after one more epoch; records before the new base are dropped. */
  extend(record: EpochRecord): AuthorityHistory {
    assert(record.epoch === this.current.epoch + 1, 'an epoch is missing from the history');
    const kept = [...this.records, record].filter((r) => r.epoch >= record.base);
    return new AuthorityHistory(kept);
  }

  /** `holders` in placement order; `minCopies` as configured, never more than there are holders. */
  standing(holders: readonly string[], minCopies: number): Standing {
    const key = `${minCopies}:${holders.join(',')}`;
    let standing = this.cache.get(key);
    if (standing === undefined) {
      standing = this.compute(holders, Math.min(minCopies, holders.length));
      this.cache.set(key, standing);
    }
    return standing;
  }

  private compute(holders: readonly string[], needed: number): Standing {
    let authority = new Set(holders);
    for (const record of this.records) {
      if (record.epoch > this.current.base) authority = step(authority, holders, record, needed);
    }
    const up = new Set(this.current.nodes.filter((n) => n.up).map((n) => n.id));
    return {
      authority: holders.filter((h) => authority.has(h)),
      serving: holders.filter((h) => authority.has(h) && up.has(h)),
      targets: holders.filter((h) => !authority.has(h) && up.has(h)),
      needed,
    };
  }
}

function step(
  previous: ReadonlySet<string>,
  holders: readonly string[],
  record: EpochRecord,
  needed: number,
): Set<string> {
  const nodes = new Map(record.nodes.map((n) => [n.id, n]));
  const intact = [...previous].filter((id) => !nodes.get(id)?.lossy);
  const candidates = new Set(intact.length > 0 ? intact : previous);
  // Who has caught up takes part from this very epoch on, so it also counts for what this epoch can acknowledge.
  for (const id of holders) if (nodes.get(id)?.caughtUp) candidates.add(id);
  const up = [...candidates].filter((id) => nodes.get(id)?.up);
  return up.length >= needed ? new Set(up) : candidates;
}

/** The default of I-4: 2 of 3 or more copies, 1 of 2. */
export function defaultMinCopies(copies: number): number {
  return copies >= 3 ? 2 : 1;
}
