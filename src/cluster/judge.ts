/**
 * What the replicas of one object say about each other. Every block carries a checksum that only its own content
 * matches, so one replica that verifies outvotes any number that do not; a majority is asked for only where verified
 * contents differ, which nothing but a defect can bring about. Pure.
 */

/** One replica, as it was read from its disk. */
export interface Evidence {
  /** Checksum of each block, 0 for a hole; undefined: there is no such object. */
  readonly sums: Uint32Array | undefined;
  /** Blocks whose bytes do not match their checksum. */
  readonly bad: readonly number[];
}

export type ReplicaState = 'good' | 'missing' | 'bad';

export interface Judgement {
  /**
   * same: all are there and equal. differ: the right content is known. unclear: no block-wise right content is to be
   * had. lost: nobody has the object.
   */
  readonly verdict: 'same' | 'differ' | 'unclear' | 'lost';
  readonly states: readonly ReplicaState[];
}

export function judge(replicas: readonly Evidence[]): Judgement {
  const present = replicas.filter((r) => r.sums !== undefined);
  if (present.length === 0) return { verdict: 'lost', states: replicas.map(() => 'missing') };
  const right = rightTable(present);
  if (right === undefined) {
    return { verdict: 'unclear', states: replicas.map((r) => (r.sums === undefined ? 'missing' : 'bad')) };
  }
  const states = replicas.map((replica) => stateOf(replica, right));
  if (states.every((state) => state === 'good')) return { verdict: 'same', states };
  // Without a whole good replica, blocks are gathered from several; that is only done where all verified ones agree.
  const repairable = states.includes('good') || !disagree(present);
  return { verdict: repairable ? 'differ' : 'unclear', states };
}

function stateOf({ sums, bad }: Evidence, right: Uint32Array): ReplicaState {
  if (sums === undefined) return 'missing';
  return bad.length === 0 && sums.length === right.length && sums.every((sum, i) => sum === right[i])
    ? 'good'
    : 'bad';
}

/** The checksums of the right content; undefined when some block has none, or no majority. */
function rightTable(present: readonly Evidence[]): Uint32Array | undefined {
  const blocks = Math.max(...present.map((r) => r.sums!.length));
  const right = new Uint32Array(blocks);
  const bad = present.map((r) => new Set(r.bad));
  for (let block = 0; block < blocks; block++) {
    const votes = new Map<number, number>();
    present.forEach(({ sums }, i) => {
      if (block >= sums!.length || bad[i]!.has(block)) return;
      votes.set(sums![block]!, (votes.get(sums![block]!) ?? 0) + 1);
    });
    const sum = elected(votes, present.length);
    if (sum === undefined) return undefined;
    right[block] = sum;
  }
  return right;
}

function elected(votes: ReadonlyMap<number, number>, voters: number): number | undefined {
  if (votes.size === 1) return votes.keys().next().value;
  for (const [sum, count] of votes) if (count * 2 > voters) return sum;
  return undefined;
}

function disagree(present: readonly Evidence[]): boolean {
  const bad = present.map((r) => new Set(r.bad));
  const first = new Map<number, number>();
  return present.some(({ sums }, i) =>
    sums!.some((sum, block) => {
      if (bad[i]!.has(block)) return false;
      if (!first.has(block)) first.set(block, sum);
      return first.get(block) !== sum;
    }),
  );
}
