/**
 * What the replicas of one object say about each other. Every block carries a checksum that only its own content
 * matches, so one replica that verifies outvotes any number that do not; a majority is asked for only where verified
 * contents differ, which only a disk that forgets writes (or a defect) can bring about. Pure.
 *
 *   of one block, over the replicas that have the object        the block is
 *   no replica verifies                                         lost
 *   all that verify have the same content                       right: that content
 *   they differ, more than half of the replicas have the same   right: that content
 *   they differ otherwise, one to one in particular             contested
 *
 *   blocks contested      some                                  unclear
 *   blocks lost           some                                  unclear
 *   otherwise             every replica is right                same
 *                         some replica is right in every block  differ: it is copied
 *                         none is, what verifies agrees         differ: blocks are gathered from several
 *                         none is, what verifies differs        unclear: contents are never mixed
 *
 * One to one stays unclear: the epoch in which a replica was last written says nothing of one block, for a repair of
 * another block writes too. Which replica to trust is for people to say.
 */

/** One replica, as it was read from its disk. */
export interface Evidence {
  /** Checksum of each block, 0 for a hole; undefined: there is no such object. */
  readonly sums: Uint32Array | undefined;
  /** Blocks whose bytes do not match their checksum, or cannot be read. */
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
  /** unclear: the blocks of which nobody can say what is right. */
  readonly unclearBlocks: readonly number[];
}

export function judge(replicas: readonly Evidence[]): Judgement {
  const present = replicas.filter((r): r is Present => r.sums !== undefined);
  if (present.length === 0) {
    return { verdict: 'lost', states: replicas.map(() => 'missing'), unclearBlocks: [] };
  }
  const { right, contested, lost, differing } = electBlocks(present);
  const unclear = [...contested, ...lost].sort((a, b) => a - b);
  if (unclear.length > 0) {
    const states = replicas.map((r) => (r.sums === undefined ? 'missing' : 'bad'));
    return { verdict: 'unclear', states, unclearBlocks: unclear };
  }
  const states = replicas.map((replica) => stateOf(replica, right));
  if (states.every((state) => state === 'good')) return { verdict: 'same', states, unclearBlocks: [] };
  // Without a whole good replica, blocks are gathered from several; that is only done where all verified ones agree.
  const repairable = states.includes('good') || differing.length === 0;
  return repairable
    ? { verdict: 'differ', states, unclearBlocks: [] }
    : { verdict: 'unclear', states, unclearBlocks: differing };
}

type Present = Evidence & { readonly sums: Uint32Array };

function stateOf({ sums, bad }: Evidence, right: Uint32Array): ReplicaState {
  if (sums === undefined) return 'missing';
  return bad.length === 0 && sums.length === right.length && sums.every((sum, i) => sum === right[i])
    ? 'good'
    : 'bad';
}

interface Election {
  /** Checksums of the right content; 0 where there is none. */
  readonly right: Uint32Array;
  /** Blocks that verify with different contents and no majority. */
  readonly contested: readonly number[];
  /** Blocks that verify nowhere. */
  readonly lost: readonly number[];
  /** Blocks that verify with different contents, majority or not. */
  readonly differing: readonly number[];
}

function electBlocks(present: readonly Present[]): Election {
  const blocks = Math.max(...present.map((r) => r.sums.length));
  const right = new Uint32Array(blocks);
  const [contested, lost, differing]: number[][] = [[], [], []];
  const bad = present.map((r) => new Set(r.bad));
  for (let block = 0; block < blocks; block++) {
    const votes = new Map<number, number>();
    present.forEach(({ sums }, i) => {
      if (block >= sums.length || bad[i]!.has(block)) return;
      votes.set(sums[block]!, (votes.get(sums[block]!) ?? 0) + 1);
    });
    const sum = elected(votes, present.length);
    if (votes.size > 1) differing!.push(block);
    if (sum !== undefined) right[block] = sum;
    else (votes.size === 0 ? lost! : contested!).push(block);
  }
  return { right, contested: contested!, lost: lost!, differing: differing! };
}

function elected(votes: ReadonlyMap<number, number>, voters: number): number | undefined {
  if (votes.size === 1) return votes.keys().next().value;
  for (const [sum, count] of votes) if (count * 2 > voters) return sum;
  return undefined;
}
