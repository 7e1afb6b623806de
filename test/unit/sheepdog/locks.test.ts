import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { LockWorld } from './lock-world.js';

async function mustBeLocked(promise: Promise<unknown>): Promise<void> {
  try {
    await promise;
  } catch (error) {
    assert.ok(AppError.isCode(error, 'vdi-locked'), String(error));
    return;
  }
  assert.unreachable('it was not refused');
}

test('without exclusive locks any number of clients open a volume, in order', async () => {
  const world = new LockWorld();
  const a = await world.locks('a');
  const b = await world.locks('b');
  const first = await world.done(a.lock('line', false));
  const second = await world.done(b.lock('line', false));
  await world.pass();
  const ids = a.holders('line').map((holder) => holder.id);
  assert.equal(ids, [first, second]);
  assert.not.ok(a.isAlone('line', first));
});

test('an exclusive lock refuses everybody else until it is given up', async () => {
  const world = new LockWorld();
  const a = await world.locks('a', true);
  const b = await world.locks('b', true);
  const first = await world.done(a.lock('line', false));
  await world.done(mustBeLocked(b.lock('line', false)));
  await world.done(mustBeLocked(b.lock('line', true)));
  await world.done(mustBeLocked(a.lock('line', false)));
  await world.done(a.unlock('line', (holder) => holder.id === first));
  await world.done(b.lock('line', false));
});

test('a lock dies with the incarnation of its sheep', async () => {
  const world = new LockWorld();
  const a = await world.locks('a', true);
  const b = await world.locks('b', true);
  const first = await world.done(a.lock('line', false));
  await world.pass();
  world.nodes.get('a')!.incarnation = 'a-2';
  assert.equal(b.lines(), []);
  assert.not.ok(a.has('line', first));
  await world.done(b.lock('line', false));
  await world.pass();
  assert.is(a.holders('line').length, 1);
});

test('a lock of a sheep that is down does not count', async () => {
  const world = new LockWorld();
  const a = await world.locks('a', true);
  const b = await world.locks('b', true);
  await world.done(a.lock('line', false));
  world.nodes.get('a')!.up = false;
  await world.done(b.lock('line', false));
});

test('the first write of a later opener fences the earlier ones, and no others', async () => {
  const world = new LockWorld();
  const a = await world.locks('a');
  const b = await world.locks('b');
  const source = await world.done(a.lock('line', false));
  const target = await world.done(b.lock('line', false));
  await world.done(a.takeOver('line', source));
  await world.pass();
  assert.not.ok(b.isFenced('line', target), 'the first opener takes nothing over');
  await world.done(b.takeOver('line', target));
  await world.pass();
  assert.ok(a.isFenced('line', source));
  assert.not.ok(b.isFenced('line', target));
  const later = await world.done(a.lock('line', false));
  assert.not.ok(a.isFenced('line', later));
});

test('shared holders have the states of the protocol', async () => {
  const world = new LockWorld();
  const a = await world.locks('a', true);
  const b = await world.locks('b', true);
  await world.done(a.lock('line', true));
  await world.done(b.lock('line', true));
  await world.pass();
  const states = () => a.holders('line').map((holder) => holder.state);
  assert.equal(states(), ['modified', 'invalidated']);
  await world.done(b.refreshed('line'));
  await world.pass();
  assert.equal(states(), ['shared', 'shared']);
  await world.done(b.invalidateOthers('line'));
  await world.pass();
  assert.equal(states(), ['invalidated', 'modified']);
  assert.is(a.ownState('line'), 'invalidated');
});

test('a sheep has one shared lock of a volume, however often it is asked', async () => {
  const world = new LockWorld();
  const a = await world.locks('a', true);
  const first = await world.done(a.lock('line', true));
  assert.is(await world.done(a.lock('line', true)), first);
  assert.is(a.holders('line').length, 1);
});

test('locks taken at the same moment are both kept, or one is refused', async () => {
  const world = new LockWorld();
  const a = await world.locks('a', true);
  const b = await world.locks('b', true);
  const outcome = (promise: Promise<unknown>) =>
    promise.then(
      () => 'locked',
      () => 'refused',
    );
  const both = await world.done(
    Promise.all([outcome(a.lock('line', false)), outcome(b.lock('line', false))]),
  );
  assert.equal([...both].sort(), ['locked', 'refused']);
  const shared = await world.done(Promise.all([a.lock('other', true), b.lock('other', true)]));
  await world.pass();
  assert.is(a.holders('other').length, shared.length);
});

test.run();
