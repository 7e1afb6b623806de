import { assert } from '../../base/assert.js';
import { type EpochNode, type EpochRecord, isWhole } from './epoch.js';

/**
 * Who may speak for an object (I-1, I-4, I-5), computed from the epoch history: pure, no I/O.
 *
 * The authority of an object is the set of nodes that are certain to have every acknowledged write of it. In a healthy
 * epoch these are all its holders. It shrinks to the ones that are up only in an epoch that was entered by everybody up
 * in it and in which these were enough to acknowledge writes; otherwise nothing can have been acknowledged without the
 * absent ones, and they stay equal. A node that lost unsynced writes leaves it, unless all members lost theirs (a
 * power cut of everything: what was not synced is gone, and any of them is as good as the others). A node that may lack
 * whole objects leaves it in any case. Who has caught up, or has been given everything in a move, joins it.
 *
 * While objects move, the holders of the target are written to as well, and so is everybody in the authority: nobody
 * who has everything is dropped before the switch of the placement, which begins a new history.
 */
export interface Standing {
  /** Nodes with every acknowledged write, up or not, in placement order. */
  readonly authority: readonly string[];
  /**
   * Those of them that are up: the first is the primary. In placement order, but who was away comes last: it is as good
   * as the others while nothing can have been acknowledged without it, but what was under way when it left may have
   * been shown since as it is on the others (I-2). Empty: the object must wait.
   */
  readonly serving: readonly string[];
  /** Other holders that are up: they take every write and are never read. */
  readonly targets: readonly string[];
  /** In-sync replicas a write needs (I-4). */
  readonly needed: number;
  /** By the committed placement. */
  readonly placed: readonly string[];
  /** All of the above and those that are down: of the committed placement, of the target, of the authority. */
  readonly holders: readonly string[];
}

export class AuthorityHistory {
  private readonly cache = new Map<string, Standing>();
  /** The moves of this history that matter, oldest first: each had a target of its own. */
  readonly moves: readonly EpochRecord[];
  /** Nodes that were away, or lacked anything, at any time since the base: sets without them are as they should be. */
  readonly disturbed: ReadonlySet<string>;
  private readonly stages: readonly number[];
  private readonly nodes: readonly ReadonlyMap<string, EpochNode>[];

  /** `records`: every epoch from some healthy one (the `base` of the last) to the current one, in order. */
  constructor(private readonly records: readonly EpochRecord[]) {
    assert(records.length > 0, 'the epoch history is empty');
    const base = this.current.base;
    assert(records[0]!.epoch <= base, 'the epoch history does not reach back to a healthy epoch');
    const moves = new Map<number, EpochRecord>();
    for (const r of records) {
      // A move that nobody had everything for before it was overtaken has changed nobody's standing.
      const counts = r === this.current || r.nodes.some((n) => n.moved === r.move);
      if (r.epoch > base && r.move !== undefined && counts && !moves.has(r.move)) moves.set(r.move, r);
    }
    this.moves = [...moves.values()];
    const numbers = [...moves.keys()];
    this.stages = records.map((r) => (r.move === undefined ? -1 : numbers.indexOf(r.move)));
    this.nodes = records.map(nodesOf);
    const isDisturbed = (n: EpochNode) => !n.up || !isWhole(n) || n.lossy === true;
    this.disturbed = new Set(
      records.filter((r) => r.epoch > base).flatMap((r) => r.nodes.filter(isDisturbed).map((n) => n.id)),
    );
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

  /**
   * `placed`: holders by the committed placement, in its order; `targets`: by the target of each of `moves`;
   * `minCopies` as configured, never more than there are holders.
   */
  standing(
    placed: readonly string[],
    minCopies: number,
    targets: readonly (readonly string[])[] = [],
  ): Standing {
    const key = `${minCopies}:${placed.join(',')}:${targets.map((t) => t.join(',')).join(';')}`;
    let standing = this.cache.get(key);
    if (standing === undefined) {
      standing = this.compute(placed, Math.min(minCopies, placed.length), targets);
      this.cache.set(key, standing);
    }
    return standing;
  }

  private compute(
    placed: readonly string[],
    needed: number,
    targets: readonly (readonly string[])[],
  ): Standing {
    let authority: ReadonlySet<string> = new Set(placed);
    this.records.forEach((record, i) => {
      if (record.epoch <= this.current.base) return;
      const target = targets[this.stages[i]!] ?? [];
      // What the present epoch will turn out to be is not known; whoever acts in it makes sure that it counts.
      const ran = this.records[i + 1]?.ran ?? true;
      authority = this.step(authority, placed, target, i, ran ? needed : Number.POSITIVE_INFINITY);
    });
    const last = this.records.length - 1;
    const present = targets[this.stages[last]!] ?? [];
    const holders = [...new Set([...placed, ...present, ...authority])];
    const up = holders.filter((h) => this.nodes[last]!.get(h)?.up);
    return {
      authority: holders.filter((h) => authority.has(h)),
      serving: latestFirst(
        up.filter((h) => authority.has(h)),
        this.nodes[last]!,
      ),
      targets: up.filter((h) => !authority.has(h)),
      needed,
      placed,
      holders,
    };
  }

  private step(
    previous: ReadonlySet<string>,
    placed: readonly string[],
    target: readonly string[],
    index: number,
    needed: number,
  ): ReadonlySet<string> {
    const record = this.records[index]!;
    const nodes = this.nodes[index]!;
    const whole = [...previous].filter((id) => nodes.has(id) && !nodes.get(id)!.incomplete);
    const intact = whole.filter((id) => !nodes.get(id)!.lossy);
    const candidates = new Set(intact.length > 0 ? intact : whole);
    // Who has everything counts also for what this very epoch can acknowledge.
    const isMember = (id: string) => nodes.get(id)?.up && isWhole(nodes.get(id)!);
    for (const id of placed) if (isMember(id)) candidates.add(id);
    for (const id of target) if (isMember(id) && nodes.get(id)!.moved === record.move) candidates.add(id);
    if (candidates.size === 0 && record.lossAccepted) {
      for (const id of [...placed, ...target]) if (nodes.get(id)?.up) candidates.add(id);
    }
    const up = [...candidates].filter((id) => nodes.get(id)?.up);
    return up.length >= needed && up.length > 0 ? new Set(up) : candidates;
  }
}

/** Stable: nodes that were not away, then those that were, who left last before who left first. */
function latestFirst(ids: readonly string[], nodes: ReadonlyMap<string, EpochNode>): string[] {
  const upTo = (id: string) => nodes.get(id)?.behindSince ?? Number.MAX_SAFE_INTEGER;
  return [...ids].sort((a, b) => upTo(b) - upTo(a));
}

const nodesByRecord = new WeakMap<EpochRecord, ReadonlyMap<string, EpochNode>>();

/** Of a record, by id; records are many and live long. */
export function nodesOf(record: EpochRecord): ReadonlyMap<string, EpochNode> {
  let nodes = nodesByRecord.get(record);
  if (nodes === undefined) nodesByRecord.set(record, (nodes = new Map(record.nodes.map((n) => [n.id, n]))));
  return nodes;
}

/** The default of I-4: 2 of 3 or more copies, 1 of 2. */
export function defaultMinCopies(copies: number): number {
  return copies >= 3 ? 2 : 1;
}
