import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../../src/base/random.js';
import { CommitStream, Unsettled } from '../../../../src/cluster/objects/unsettled.js';

test('a range is uncommitted from its arrival until the primary commits it', () => {
  const unsettled = new Unsettled([]);
  unsettled.begin('p', 1, 7n, 0, 4096);
  unsettled.begin('p', 2, 7n, 8192, 12288);
  assert.ok(unsettled.overlaps(7n, 0, 1));
  assert.not(unsettled.overlaps(7n, 4096, 8192));
  assert.not(unsettled.overlaps(8n, 0, 4096));
  unsettled.commit('p', 1);
  assert.not(unsettled.overlaps(7n, 0, 4096));
  assert.ok(unsettled.overlaps(7n, 12287, 20000));
  unsettled.commit('p', 2);
  assert.equal(unsettled.all(), []);
});

test('a repeated sequence is one write', () => {
  const unsettled = new Unsettled([]);
  unsettled.begin('p', 1, 7n, 0, 10);
  unsettled.begin('p', 1, 7n, 0, 10);
  unsettled.commit('p', 1);
  assert.not(unsettled.overlaps(7n, 0, 10));
});

test('streams of two primaries commit apart', () => {
  const unsettled = new Unsettled([]);
  unsettled.begin('p', 1, 7n, 0, 10);
  unsettled.begin('q', 1, 8n, 0, 10);
  unsettled.commit('q', 9);
  assert.ok(unsettled.overlaps(7n, 0, 10));
  assert.not(unsettled.overlaps(8n, 0, 10));
});

test('at the end of an epoch bytes uncommitted or in flight are in doubt, and suspects as a whole', () => {
  const unsettled = new Unsettled([1n]);
  unsettled.begin('p', 1, 7n, 0, 10);
  unsettled.endEpoch([[9n, [{ start: 0, end: 4096 }]]]);
  assert.equal([...unsettled.pending], [1n, 7n, 9n]);
  assert.ok(unsettled.overlaps(7n, 5, 6));
  assert.not(unsettled.overlaps(7n, 10, 11));
  assert.ok(unsettled.overlaps(1n, 1_000_000, 1_000_001));
  unsettled.add(7n);
  assert.ok(unsettled.overlaps(7n, 10, 11), 'another node doubts all of it');
  unsettled.commit('p', 1);
  assert.ok(unsettled.hasObject(7n), 'a commit of the former epoch settles nothing');
});

test('settling an object forgets its writes, and a later commit of them is harmless', () => {
  const unsettled = new Unsettled([]);
  unsettled.begin('p', 1, 7n, 0, 10);
  unsettled.begin('p', 2, 8n, 0, 10);
  unsettled.add(7n);
  unsettled.settle(7n);
  assert.not(unsettled.overlaps(7n, 0, 10));
  unsettled.commit('p', 2);
  assert.equal(unsettled.all(), []);
});

test('the watermark moves only over a gapless run of finished writes', () => {
  const stream = new CommitStream();
  assert.equal([stream.issue(), stream.issue(), stream.issue()], [1, 2, 3]);
  assert.not(stream.finish(2));
  assert.is(stream.watermark, 0);
  assert.ok(stream.finish(1));
  assert.is(stream.watermark, 2);
  assert.ok(stream.finish(3));
  assert.is(stream.watermark, 3);
});

test('random writes and commits agree with a list that is searched from end to end', () => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = new SeededRandom(seed);
    const unsettled = new Unsettled([]);
    let slow: { primary: string; sequence: number; oid: bigint; start: number; end: number }[] = [];
    let doubted: { oid: bigint; start: number; end: number }[] = [];
    const next = new Map<string, number>();
    for (let i = 0; i < 150; i++) {
      const primary = random.pick(['p', 'q']);
      const oid = BigInt(random.below(4));
      const action = random.below(12);
      if (action < 7) {
        const sequence = (next.get(primary) ?? 0) + 1;
        next.set(primary, sequence);
        const start = random.below(20);
        const end = start + 1 + random.below(5);
        unsettled.begin(primary, sequence, oid, start, end);
        slow.push({ primary, sequence, oid, start, end });
      } else if (action < 10) {
        const sequence = random.below((next.get(primary) ?? 0) + 1);
        unsettled.commit(primary, sequence);
        slow = slow.filter((w) => w.primary !== primary || w.sequence > sequence);
      } else if (action === 10) {
        unsettled.settle(oid);
        slow = slow.filter((w) => w.oid !== oid);
        doubted = doubted.filter((d) => d.oid !== oid);
      } else if (random.chance(0.3)) {
        unsettled.endEpoch([[oid, [{ start: 3, end: 9 }]]]);
        doubted.push(...slow, { oid, start: 3, end: 9 });
        slow = [];
        next.clear();
      }
      const at = random.below(25);
      const expected = [...doubted, ...slow].some((w) => w.oid === oid && w.start < at + 3 && at < w.end);
      assert.is(unsettled.overlaps(oid, at, at + 3), expected, `seed ${seed}, step ${i}`);
    }
    const all = new Set([...doubted, ...slow].map((w) => w.oid));
    assert.equal(new Set(unsettled.all()), all);
  }
});

test.run();
