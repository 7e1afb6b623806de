/** Links of nodes that have a network of their own for traffic between sheep. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Links } from '../../../../src/cluster/reach/links.js';
import type { PeerMessage } from '../../../../src/wire/peer-message.js';
import { echo, isNetwork, never, request, World } from './links-world.js';

/** Longer than a connection is tried. */
const CONNECT_MS = 2500;

function pair(handler = echo): { world: World; a: Links } {
  const world = new World();
  const a = world.node('a', echo, { io: true });
  world.node('b', handler, { io: true });
  return { world, a };
}

async function answered(world: World, a: Links, withinMs = 500): Promise<boolean> {
  const outcome = await world.outcome(a.request('b', request(5)), withinMs);
  return (outcome as PeerMessage).offset === 5;
}

function stateOf(a: Links): string {
  const { network, ioAvoided, fallbacks } = a.stateOf('b');
  return `${network}${ioAvoided ? ', I/O failed' : ''}, ${fallbacks}`;
}

test('the I/O network is used when both nodes are on it', async () => {
  const { world, a } = pair();
  assert.ok(await answered(world, a));
  assert.is(stateOf(a), 'io, 0');
});

test('a node that is not on the I/O network uses the main one, and is reached by it', async () => {
  const world = new World();
  const a = world.node('a', echo);
  const b = world.node('b', echo, { io: true });
  assert.ok(await answered(world, a));
  assert.is(stateOf(a), 'main, 0');
  assert.is(((await world.outcome(b.request('a', request(7)))) as PeerMessage).offset, 7);
});

test('where the I/O network does not reach a node, the main one is used', async () => {
  const { world, a } = pair();
  world.cutIo('a', 'b');
  assert.ok(await answered(world, a, CONNECT_MS));
  assert.is(stateOf(a), 'main, I/O failed, 1');
});

test('an I/O door that refuses is no suspicion, and the main network is used', async () => {
  const { world, a } = pair();
  world.addresses.set('b', { host: 'b', port: 1, ioHost: 'b-io', ioPort: 9 });
  assert.ok(await answered(world, a));
  assert.is(stateOf(a), 'main, I/O failed, 1');
  assert.equal(world.refused, []);
});

test('a node that is dead on both networks is suspected once, and says nothing about the I/O network', async () => {
  const { world, a } = pair();
  world.kill('b');
  assert.ok(isNetwork(await world.outcome(a.request('b', request()))));
  assert.equal(world.refused, ['b']);
  assert.is(a.stateOf('b').ioAvoided, false);
});

test('an I/O link that has gone silent is given up for the main network, and taken again later', async () => {
  const { world, a } = pair();
  assert.ok(await answered(world, a));
  world.cutIo('a', 'b');
  const lost = a.request('b', request(1));
  assert.is(await world.outcome(lost, 3000), 'pending');
  a.renew('b');
  assert.ok(isNetwork(await world.outcome(lost)));
  assert.ok(await answered(world, a, CONNECT_MS));
  assert.is(stateOf(a), 'main, I/O failed, 1');
  assert.is(await known(world, a.answersOnIo('b'), CONNECT_MS), false);

  world.cutIo('a', 'b', false);
  assert.is(await known(world, a.answersOnIo('b'), CONNECT_MS), true);
  a.returnToIo('b');
  await world.run(100);
  assert.ok(await answered(world, a));
  assert.is(stateOf(a), 'io, 1');
});

test('asking whether a node answers on the I/O network disturbs no link', async () => {
  const { world, a } = pair(never);
  const waiting = a.request('b', request());
  await world.run(50);
  assert.is(await known(world, a.answersOnIo('b')), true);
  assert.is(await world.outcome(waiting), 'pending');
});

test('a ping for another node or another cluster is not answered as one', async () => {
  const { world, a } = pair();
  world.addresses.set('c', { host: 'c', port: 1, ioHost: 'b-io', ioPort: 2 });
  assert.is(await known(world, a.answersOnIo('c')), false);
});

test('signs of life are answers, not what the network took', async () => {
  const { world, a } = pair(never);
  const before = a.pulse('b');
  void a.request('b', request()).catch(() => {});
  assert.ok(a.isWaiting('b'));
  await world.run(200);
  const welcomed = a.pulse('b');
  assert.is.not(welcomed, before, 'the answer to hello is one');
  void a.request('b', request()).catch(() => {});
  await world.run(200);
  assert.is(a.pulse('b'), welcomed);
});

async function known(world: World, work: Promise<boolean>, withinMs = 500): Promise<boolean | 'pending'> {
  let result: boolean | 'pending' = 'pending';
  void work.then((value) => {
    result = value;
  });
  await world.run(withinMs);
  return result;
}

test.run();
