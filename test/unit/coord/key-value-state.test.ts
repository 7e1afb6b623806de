import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../src/base/random.js';
import type { WatchEvent } from '../../../src/coord/coordinator.js';
import { type Change, KeyValueState } from '../../../src/coord/key-value-state.js';
import { differences } from '../../../src/coord/state-diff.js';
import { WatchHub } from '../../../src/coord/watch-hub.js';
import { put } from '../../helpers/coordinator-suite.js';

test('operations of one transaction apply in their order', () => {
  const state = new KeyValueState();
  const { change } = state.txn(
    [],
    [put('a/1', 'x'), { type: 'delete-prefix', prefix: 'a/' }, put('a/2', 'y')],
  );
  assert.equal(
    state.list('').map(({ key }) => key),
    ['a/2'],
  );
  assert.equal(
    change?.events.map(({ type }) => type),
    ['put', 'delete', 'put'],
  );
});

test('a key moves from lease to lease with its last put', () => {
  const state = new KeyValueState();
  state.grant('one', 1, 'h');
  state.grant('two', 1, 'h');
  state.txn([], [put('k', '', 'one')]);
  state.txn([], [put('k', '', 'two')]);
  assert.is(state.expire('one'), undefined);
  assert.equal(state.expire('two')?.events, [{ type: 'delete', key: 'k', revision: 3 }]);
  assert.is(state.revision, 3);
});

test('the image of a state makes the same state, whatever order it came about in', () => {
  const [one, two] = [new KeyValueState(), new KeyValueState()];
  one.grant('a', 1, 'h');
  one.grant('b', 2, 'h');
  two.grant('b', 2, 'h');
  two.grant('a', 1, 'h');
  for (const state of [one, two]) state.txn([], [put('x', '', 'a'), put('y', '1')]);
  assert.equal(one.image(), two.image());
  const copy = KeyValueState.fromImage(one.image());
  assert.equal(copy.image(), one.image());
  assert.equal(copy.expire('a'), one.expire('a'));
});

test('prefixes are found among many keys as a plain search finds them', () => {
  const state = new KeyValueState();
  const random = new SeededRandom(1);
  const model = new Set<string>();
  for (let i = 0; i < 3000; i++) {
    const key = `${'ab/c'[random.below(4)]}${'ab/c'[random.below(4)]}${random.below(300)}`;
    if (random.chance(0.3)) {
      state.txn([], [{ type: 'delete', key }]);
      model.delete(key);
    } else {
      state.txn([], [put(key, '')]);
      model.add(key);
    }
  }
  for (const prefix of ['', 'a', 'ab', '/', 'c/1', 'zz', 'ab29']) {
    const wanted = [...model].filter((key) => key.startsWith(prefix)).sort();
    assert.equal(
      state.list(prefix).map(({ key }) => key),
      wanted,
    );
  }
});

test('the differences of two states lead a mirror from one to the other', () => {
  const state = new KeyValueState();
  state.txn([], [put('stays', ''), put('goes', ''), put('changes', '1')]);
  const before = KeyValueState.fromImage(state.image());
  state.txn([], [put('changes', '2')]);
  state.txn([], [{ type: 'delete', key: 'goes' }, put('new', '')]);
  state.txn([], [{ type: 'delete', key: 'new' }]);
  const changes = differences(before, state);
  const mirror = new Map(before.list('').map((kv) => [kv.key, kv]));
  for (const event of changes.flatMap(({ events }) => events)) {
    if (event.type === 'put') mirror.set(event.kv.key, event.kv);
    else mirror.delete(event.key);
  }
  assert.equal(
    [...mirror.values()].sort((a, b) => (a.key < b.key ? -1 : 1)),
    state.list(''),
  );
  assert.equal(
    changes.map(({ revision }) => revision),
    [2, 4],
  );
});

function change(revision: number): Change {
  return { revision, events: [{ type: 'delete', key: `k${revision}`, revision }] };
}

test('a watch from before the kept history is refused, one from within it is served', async () => {
  const hub = new WatchHub(5, 10);
  assert.throws(() => hub.watch('', 4, () => {}), /list again/);
  for (let revision = 6; revision < 40; revision++) hub.publish(change(revision));
  assert.throws(() => hub.watch('', 5, () => {}), /list again/);
  const seen: number[] = [];
  hub.watch('', 28, (events) => void seen.push(events[0]!.revision));
  await Promise.resolve();
  assert.equal(seen, [29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39]);
});

test('a watcher hears nothing inside the call that caused it, and may start and end watches itself', async () => {
  const hub = new WatchHub(0);
  const seen: WatchEvent[] = [];
  hub.watch('', 0, (events) => {
    if (seen.length === 0) hub.watch('', 0, (more) => void seen.push(...more)).cancel();
    seen.push(...events);
  });
  hub.publish(change(1));
  hub.publish(change(2));
  assert.is(seen.length, 0);
  await Promise.resolve();
  assert.equal(
    seen.map(({ revision }) => revision),
    [1, 2],
  );
});

test.run();
