import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  beginPass,
  endPass,
  freshRecord,
  nextStep,
  parseScrubRecord,
  parseScrubSetting,
  passed,
  type ScrubRecord,
  UNREPAIRABLE_MAX,
  withoutUnrepairable,
  withUnrepairable,
} from '../../../../src/cluster/scrub/scrub-record.js';

const setting = { stopped: false, round: 0 };
const fresh = freshRecord('f', 0);
const running = beginPass(fresh, 0, false);

test('a pass begins when the period is over, and not before', () => {
  assert.is(nextStep({ ...fresh, elapsedMs: 999 }, setting, 1000), 'wait');
  assert.is(nextStep({ ...fresh, elapsedMs: 1000 }, setting, 1000), 'begin');
  assert.is(nextStep({ ...fresh, elapsedMs: 1000 }, setting, 0), 'wait');
});

test('one that is under way goes on, however long it takes', () => {
  assert.is(nextStep(running, setting, 1000), 'go-on');
  assert.is(nextStep({ ...running, elapsedMs: 5000 }, setting, 1000), 'go-on');
});

test('what somebody asks for begins at once, also without a period, and replaces one that is under way', () => {
  const asked = { stopped: false, round: 1 };
  assert.is(nextStep(fresh, asked, 0), 'begin');
  assert.is(nextStep(running, asked, 1000), 'begin');
  assert.is(nextStep(beginPass(running, 1, true), asked, 0), 'go-on');
});

test('nothing happens while it is stopped; a period of 0 stops what nobody asked for', () => {
  for (const record of [running, { ...fresh, elapsedMs: 5000 }]) {
    assert.is(nextStep(record, { stopped: true, round: 1 }, 1000), 'wait');
  }
  assert.is(nextStep(running, setting, 0), 'wait');
});

test('counts add up, and the trail stays short', () => {
  let record: ScrubRecord = running;
  for (let i = 0; i < 40; i++) record = passed(record, String(i), { objects: 1, bytes: 10, found: i % 2 });
  assert.equal(record.counts, { objects: 40, bytes: 400, found: 20, repaired: 0, failed: 0, strays: 0 });
  assert.is(record.trail.length, 16);
  assert.is(record.trail.at(-1), '39');
  const done = endPass({ ...record, elapsedMs: 77 }, 5);
  assert.is(done.passes, 1);
  assert.is(done.last!.found, 20);
  assert.is(done.last!.tookMs, 77);
  assert.equal(done.trail, []);
});

test('what cannot be repaired is remembered until a pass finds it right or gone', () => {
  let record = withUnrepairable(running, 'a', [3]);
  record = withUnrepairable(record, 'b', []);
  record = withUnrepairable(record, 'a', [3, 4]);
  assert.is(record.unrepairableCount, 2);
  assert.equal(record.unrepairable.find((entry) => entry.oid === 'a')!.blocks, [3, 4]);
  record = endPass(record, 0);
  assert.is(record.unrepairableCount, 2);
  record = withUnrepairable(beginPass(record, 0, false), 'a', [4]);
  record = endPass(record, 0);
  assert.equal(
    record.unrepairable.map(({ oid }) => oid),
    ['a'],
    'the volume of b was deleted',
  );
  record = withoutUnrepairable(record, 'a');
  assert.is(record.unrepairableCount, 0);
});

test('the list is bounded, the count is not', () => {
  let record = running;
  for (let i = 0; i < UNREPAIRABLE_MAX + 7; i++) {
    record = withUnrepairable(
      record,
      String(i),
      Array.from({ length: 40 }, (_, b) => b),
    );
  }
  assert.is(record.unrepairable.length, UNREPAIRABLE_MAX);
  assert.is(record.unrepairable[0]!.blocks.length, 16);
  assert.is(record.unrepairableCount, UNREPAIRABLE_MAX + 7);
  assert.ok(JSON.stringify(record).length < 20_000, 'a value that a coordinator takes');
  assert.is(beginPass(record, 0, false).unrepairableCount, UNREPAIRABLE_MAX, 'the rest is counted anew');
});

test('a record of an earlier format counts for nothing', () => {
  const text = JSON.stringify(fresh);
  assert.equal(parseScrubRecord(text, 'f'), fresh);
  assert.is(parseScrubRecord(text, 'g'), undefined);
  assert.is(parseScrubRecord(undefined, 'g'), undefined);
  assert.equal(parseScrubSetting(undefined), setting);
});

test.run();
