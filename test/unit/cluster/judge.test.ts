import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeEvidence } from '../../../src/cluster/checker.js';
import { type Evidence, judge } from '../../../src/cluster/judge.js';
import { emptyMessage, PeerType } from '../../../src/wire/peer-message.js';

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
