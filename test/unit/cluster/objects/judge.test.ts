import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeEvidence } from '../../../../src/cluster/objects/checker.js';
import { type Evidence, judge } from '../../../../src/cluster/objects/judge.js';
import { emptyMessage, PeerType } from '../../../../src/wire/peer-message.js';

const missing: Evidence = { sums: undefined, bad: [] };

function replica(sums: number[], ...bad: number[]): Evidence {
  return { sums: Uint32Array.from(sums), bad };
}

function verdict(...replicas: Evidence[]): string {
  const { verdict, states } = judge(replicas);
  return `${verdict}: ${states.join(' ')}`;
}

test('equal replicas are the same, a single one too', () => {
  assert.is(verdict(replica([5, 0, 7]), replica([5, 0, 7]), replica([5, 0, 7])), 'same: good good good');
  assert.is(verdict(replica([5])), 'same: good');
  assert.is(verdict(replica([]), replica([])), 'same: good good', 'when only existence was asked for');
});

test('an object that nobody has is lost', () => {
  assert.is(verdict(missing, missing), 'lost: missing missing');
});

test('one replica that has the object is enough to give it back to the others', () => {
  assert.is(verdict(missing, replica([5, 6]), missing), 'differ: missing good missing');
});

test('one replica that verifies outvotes any number that do not', () => {
  assert.is(verdict(replica([5, 6], 1), replica([5, 6]), replica([5, 6], 1)), 'differ: bad good bad');
  assert.is(verdict(replica([5, 1], 1), replica([5, 6])), 'differ: bad good', 'a lost checksum has no vote');
});

test('bad blocks in different places of all replicas are gathered from each other', () => {
  assert.is(verdict(replica([5, 6], 0), replica([5, 6], 1)), 'differ: bad bad');
});

test('a block that is bad on every replica cannot be repaired', () => {
  assert.is(verdict(replica([5, 6], 1), replica([5, 6], 1)), 'unclear: bad bad');
  assert.is(verdict(replica([5, 6], 1), missing), 'unclear: bad missing');
});

test('where verified contents differ the majority is right, and without one nobody is', () => {
  assert.is(verdict(replica([5, 6]), replica([5, 9]), replica([5, 6])), 'differ: good bad good');
  assert.is(verdict(replica([5, 6]), replica([5, 9])), 'unclear: bad bad');
  assert.is(verdict(replica([1, 2]), replica([3, 4]), replica([5, 6])), 'unclear: bad bad bad');
});

test('contents that differ are never mixed', () => {
  // Block 0 has a majority, block 1 another one: no replica is what both say.
  const found = verdict(replica([5, 9]), replica([7, 6]), replica([5, 6], 0));
  assert.is(found, 'unclear: bad bad bad');
});

test('a hole differs from data', () => {
  assert.is(verdict(replica([0]), replica([8]), replica([8])), 'differ: bad good good');
});

test('blocks of which nobody can say what is right are named', () => {
  assert.equal(judge([replica([5, 6, 7], 1, 2), replica([5, 6, 7], 1)]).unclearBlocks, [1]);
  assert.equal(judge([replica([5, 6, 7]), replica([5, 9, 7])]).unclearBlocks, [1]);
  assert.equal(judge([replica([5, 9]), replica([7, 6]), replica([5, 6], 0)]).unclearBlocks, [0]);
  assert.equal(judge([replica([5, 6]), replica([5, 6], 1)]).unclearBlocks, []);
});

test('an object cut short is bad, and the whole one is right', () => {
  assert.is(verdict(replica([]), replica([5, 6])), 'differ: bad good');
  assert.is(verdict(replica([]), replica([])), 'same: good good');
});

/** The rows of the table in judge.ts, each for itself, by a second and slower way of counting. */
const rows: Record<string, (all: readonly Evidence[]) => boolean> = {
  'nobody has it: lost': (all) => !all.some(isThere),
  'some block contested: unclear': (all) => all.some(isThere) && blocksThat(all, 'contested').length > 0,
  'some block lost: unclear': (all) =>
    blocksThat(all, 'contested').length === 0 && blocksThat(all, 'lost').length > 0,
  'every replica right: same': (all) => decided(all) && all.every((one) => isRight(one, all)),
  'some replica right: differ': (all) =>
    decided(all) && all.some((one) => isRight(one, all)) && !all.every((one) => isRight(one, all)),
  'none right, all agree: differ': (all) =>
    decided(all) && !all.some((one) => isRight(one, all)) && blocksThat(all, 'mixed').length === 0,
  'none right, some differ: unclear': (all) =>
    decided(all) && !all.some((one) => isRight(one, all)) && blocksThat(all, 'mixed').length > 0,
};

const isThere = ({ sums }: Evidence) => sums !== undefined;

function votesOn(block: number, all: readonly Evidence[]): number[] {
  return all.filter((r) => isThere(r) && !r.bad.includes(block)).map((r) => r.sums![block]!);
}

function winner(block: number, all: readonly Evidence[]): number | undefined {
  const votes = votesOn(block, all);
  const there = all.filter(isThere).length;
  return votes.find((sum) => {
    const same = votes.filter((other) => other === sum).length;
    return same === votes.length || same > there / 2;
  });
}

function blocksThat(all: readonly Evidence[], what: 'contested' | 'lost' | 'mixed'): number[] {
  if (!all.some(isThere)) return [];
  return [0, 1].filter((block) => {
    const votes = votesOn(block, all);
    if (what === 'lost') return votes.length === 0;
    if (what === 'mixed') return new Set(votes).size > 1;
    return votes.length > 0 && winner(block, all) === undefined;
  });
}

function decided(all: readonly Evidence[]): boolean {
  const open = blocksThat(all, 'contested').length + blocksThat(all, 'lost').length;
  return all.some(isThere) && open === 0;
}

function isRight(one: Evidence, all: readonly Evidence[]): boolean {
  return isThere(one) && one.bad.length === 0 && [0, 1].every((b) => one.sums![b] === winner(b, all));
}

/** Every state of a replica of two blocks: missing, or each block a hole, one of two contents, or bad. */
function allEvidence(): Evidence[] {
  const found: Evidence[] = [missing];
  for (const first of [0, 5, 6, -1]) {
    for (const second of [0, 7, 8, -1]) {
      const bad = [first, second].flatMap((sum, block) => (sum < 0 ? [block] : []));
      found.push(replica([first < 0 ? 5 : first, second < 0 ? 7 : second], ...bad));
    }
  }
  return found;
}

test('of one to three replicas every combination is in exactly one row of the table, and gets its verdict', () => {
  const states = allEvidence();
  const seen = new Map<string, number>();
  const check = (all: readonly Evidence[]) => {
    const fitting = Object.keys(rows).filter((name) => rows[name]!(all));
    assert.is(fitting.length, 1, `${JSON.stringify(all)}: ${fitting}`);
    const [row] = fitting;
    const found = judge(all);
    assert.is(found.verdict, row!.split(': ')[1]);
    assert.is(found.unclearBlocks.length > 0, found.verdict === 'unclear');
    if (found.verdict === 'differ' || found.verdict === 'same') {
      const right = all.map((one) => isRight(one, all));
      assert.equal(
        found.states.map((state) => state === 'good'),
        right,
      );
    }
    seen.set(row!, (seen.get(row!) ?? 0) + 1);
  };
  for (const a of states) {
    check([a]);
    for (const b of states) {
      check([a, b]);
      for (const c of states) check([a, b, c]);
    }
  }
  assert.is(seen.size, Object.keys(rows).length, 'no row is idle');
});

test('an answer to a check holds the table and then the bad blocks', () => {
  const answer = emptyMessage(PeerType.replicaCheck + 1);
  assert.equal(decodeEvidence(answer), { sums: undefined, bad: [] });
  answer.length = 1;
  answer.sequence = 1;
  answer.payload = Buffer.from('050000000600000001000000', 'hex');
  assert.equal(decodeEvidence(answer), { sums: Uint32Array.of(5, 6), bad: [1] });
  answer.sequence = 4;
  assert.throws(() => decodeEvidence(answer), /too short/);
});

test.run();
