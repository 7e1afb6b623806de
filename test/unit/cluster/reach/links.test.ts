import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../../src/base/errors.js';
import { emptyMessage, type PeerMessage } from '../../../../src/wire/peer-message.js';
import { echo, isNetwork, never, request, World } from './links-world.js';

test('requests are answered, each with its own answer', async () => {
  const world = new World();
  const a = world.node('a');
  world.node('b');
  const answers = Promise.all([1, 2, 3].map((n) => a.request('b', request(n))));
  await world.run(100);
  assert.equal(
    (await answers).map((m) => m.offset),
    [1, 2, 3],
  );
});

test('an error of the other side arrives as that error', async () => {
  const world = new World();
  const a = world.node('a');
  world.node('b', async () => {
    throw new AppError('no-space', 'full');
  });
  const error = await world.outcome(a.request('b', request()));
  assert.ok(AppError.isCode(error, 'no-space'));
});

test('nobody listening is a network error and a suspicion', async () => {
  const world = new World();
  const a = world.node('a');
  world.addresses.set('b', { host: 'b', port: 9 });
  assert.ok(isNetwork(await world.outcome(a.request('b', request()))));
  assert.equal(world.refused, ['b']);
  assert.ok(isNetwork(await world.outcome(a.request('unknown', request()))));
});

test('when the other process dies, who waits is told, and a new start is reached again', async () => {
  const world = new World();
  const a = world.node('a');
  world.node('b', never);
  const waiting = a.request('b', request());
  assert.is(await world.outcome(waiting), 'pending');
  world.kill('b');
  assert.ok(isNetwork(await world.outcome(waiting)));
  world.node('b');
  assert.equal(((await world.outcome(a.request('b', request(5)))) as PeerMessage).offset, 5);
});

test('a node of another cluster cannot be reached, which is no error that a client would see', async () => {
  const world = new World();
  const a = world.node('a');
  world.node('b', echo, { formatId: 'another' });
  assert.ok(isNetwork(await world.outcome(a.request('b', request()))));
});

test('a sheep that has taken over the address of another does not answer for it', async () => {
  const world = new World();
  const a = world.node('a');
  world.node('b', echo, { as: 'somebody else' });
  assert.ok(isNetwork(await world.outcome(a.request('b', request()))));
});

test('the exclusion of a node ends the wait for it, also the first exclusion ever', async () => {
  const world = new World();
  const a = world.node('a');
  world.node('b', never);
  a.keepOnly('b', 'b-1');
  const waiting = a.request('b', request());
  assert.is(await world.outcome(waiting), 'pending');
  world.kill('b', true);
  assert.is(await world.outcome(waiting), 'pending', 'a machine without power says nothing');
  a.keepOnly('b', undefined);
  assert.ok(isNetwork(await world.outcome(waiting)));
});

test('the exclusion of a node ends the wait for a connection to it', async () => {
  const world = new World();
  const a = world.node('a');
  world.node('b', never);
  a.keepOnly('b', 'b-1');
  world.kill('b', true);
  const waiting = a.request('b', request());
  assert.is(await world.outcome(waiting, 100), 'pending');
  a.keepOnly('b', undefined);
  assert.ok(AppError.isCode(await world.outcome(waiting, 1), 'network'));
  world.node('b');
  a.keepOnly('b', 'b-2');
  assert.equal(((await world.outcome(a.request('b', request(6)), 50)) as PeerMessage).offset, 6);
});

test('the same incarnation in a new epoch disturbs nobody, another one does', async () => {
  const world = new World();
  const a = world.node('a');
  world.node('b', never);
  a.keepOnly('b', 'b-1');
  const waiting = a.request('b', request());
  await world.run(50);
  a.keepOnly('b', 'b-1');
  assert.is(await world.outcome(waiting), 'pending');
  a.keepOnly('b', 'b-2');
  assert.ok(isNetwork(await world.outcome(waiting)));
});

test('only the newest link of a node counts: what was unread on the old one is never executed', async () => {
  const world = new World();
  const seen: number[] = [];
  const origins: boolean[] = [];
  world.node('b', async (message, origin) => {
    seen.push(message.offset);
    await new Promise<void>((resolve) => world.clock.after(100, resolve));
    origins.push(origin.closed);
    return emptyMessage(message.type + 1);
  });
  const a = world.node('a');
  const first = a.request('b', request(1));
  await world.run(50);
  world.network.setBlocked('a', 'b', true);
  const late = a.request('b', request(2));
  await world.run(5);
  a.resetAll();
  assert.ok(isNetwork(await world.outcome(first, 1)));
  assert.ok(isNetwork(await world.outcome(late, 1)));
  world.network.setBlocked('a', 'b', false);
  const again = a.request('b', request(3));
  await world.run(3000);
  await again.catch(() => {});
  assert.is(seen[0], 1);
  assert.ok(seen.includes(3) || isNetwork(await world.outcome(again)));
  assert.is(origins[0], true, 'who has been replaced is marked as gone');
  assert.ok(!seen.includes(2) || seen.indexOf(2) < seen.indexOf(3), 'never behind its repetition');
});

test('a peer that does not say hello first is refused', async () => {
  const world = new World();
  let handled = 0;
  world.node('b', async (message) => {
    handled++;
    return emptyMessage(message.type + 1);
  });
  const clock = world.clock.forNode('x');
  const transport = world.network.transportFor('x', { host: 'x', port: 1 }, clock);
  const answers: PeerMessage[] = [];
  let closed = false;
  void transport.connect({ host: 'b', port: 1 }).then((channel) => {
    channel.onMessage = (m) => answers.push(m);
    channel.onClose = () => (closed = true);
    channel.send(request());
    channel.send(request());
  });
  await world.run(200);
  assert.equal([handled, closed], [0, true]);
  assert.ok(answers.length <= 1 && answers.every((m) => m.result !== 0));
});

test('closing all links ends all waits', async () => {
  const world = new World();
  const a = world.node('a');
  world.node('b', never);
  const waiting = a.request('b', request());
  await world.run(50);
  a.close();
  assert.ok(isNetwork(await world.outcome(waiting)));
});

test.run();
