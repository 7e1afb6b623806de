import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { PeerHandler } from '../../../../src/cluster/reach/links.js';
import { type Peer, Prober } from '../../../../src/cluster/reach/prober.js';
import { emptyMessage, PeerType } from '../../../../src/wire/peer-message.js';
import { echo, request, World } from './links-world.js';

const TICK_MS = 500;
/** After this time of silence, and a tick or two for noticing. */
const CUT_MS = 8 * TICK_MS;

/** Answers pings at once, and other requests never. */
const slow: PeerHandler = async (message) =>
  message.type === PeerType.ping ? emptyMessage(PeerType.pong) : new Promise(() => {});

class Watcher {
  readonly links;
  readonly prober: Prober;
  alarmed = false;
  private peers: Peer[] = [];

  constructor(
    readonly world: World,
    readonly id = 'a',
    io = false,
  ) {
    this.links = world.node(id, echo, { io });
    this.prober = new Prober({ links: this.links, clock: world.clock, tickMs: TICK_MS });
  }

  watch(...ids: string[]): this {
    this.peers = ids.map((id) => ({ id, incarnation: `${id}-1` }));
    const clock = this.world.clocks.get(this.id)!;
    const tick = () => {
      this.prober.tick(this.peers, () => this.alarmed);
      clock.after(TICK_MS, tick);
    };
    clock.after(TICK_MS, tick);
    return this;
  }

  /** Another start of the node. */
  anew(id: string): void {
    this.peers = this.peers.map((peer) => (peer.id === id ? { id, incarnation: `${id}-2` } : peer));
  }

  get cut(): string {
    return [...this.prober.cut.keys()].join();
  }
}

test('without any traffic a cut is found, and so is its end', async () => {
  const world = new World();
  world.node('b');
  const a = new Watcher(world).watch('b');
  await world.run(10_000);
  assert.is(a.cut, '');
  world.network.setBlocked('b', 'a', true);
  await world.run(CUT_MS - TICK_MS);
  assert.is(a.cut, '', 'not so soon');
  await world.run(6 * TICK_MS);
  assert.equal([...a.prober.cut], [['b', 'b-1']]);
  world.network.setBlocked('b', 'a', false);
  await world.run(7 * TICK_MS);
  assert.is(a.cut, '');
});

test('a request that takes its time is no cut', async () => {
  const world = new World();
  world.node('b', slow);
  const a = new Watcher(world).watch('b');
  const waiting = a.links.request('b', request());
  assert.is(await world.outcome(waiting, 60_000), 'pending');
  assert.is(a.cut, '');
});

test('a node that refuses connections and stays a member cannot be reached either', async () => {
  const world = new World();
  world.addresses.set('b', { host: 'b', port: 9 });
  const a = new Watcher(world).watch('b');
  await world.run(CUT_MS + 2 * TICK_MS);
  assert.is(a.cut, 'b');
});

test('what others complain about is found sooner', async () => {
  const world = new World();
  world.node('b');
  const a = new Watcher(world).watch('b');
  await world.run(5000);
  world.network.setBlocked('a', 'b', true);
  a.alarmed = true;
  await world.run(CUT_MS / 2 + TICK_MS);
  assert.is(a.cut, 'b');
});

test('who was frozen itself complains about nobody', async () => {
  const world = new World();
  world.node('b');
  const a = new Watcher(world).watch('b');
  await world.run(3000);
  world.clocks.get('a')!.freeze();
  await world.run(60_000);
  world.clocks.get('a')!.thaw();
  for (let i = 0; i < 40; i++) {
    await world.run(100);
    assert.is(a.cut, '');
  }
});

test('a link that was cut works soon after the end of it', async () => {
  const world = new World();
  world.node('b');
  const a = new Watcher(world).watch('b');
  await world.run(3000);
  world.network.setBlocked('a', 'b', true);
  await world.run(60_000);
  world.network.setBlocked('a', 'b', false);
  await world.run(1000);
  const answer = await world.outcome(a.links.request('b', request(4)), 500);
  assert.is((answer as { offset: number }).offset, 4);
});

test('a new start of a node begins without blame', async () => {
  const world = new World();
  world.addresses.set('b', { host: 'b', port: 9 });
  const a = new Watcher(world).watch('b');
  await world.run(CUT_MS + 2 * TICK_MS);
  assert.is(a.cut, 'b');
  a.anew('b');
  await world.run(TICK_MS);
  assert.is(a.cut, '');
});

test('an I/O network that fails is left before that counts as a cut, and used again when it works', async () => {
  const world = new World();
  world.node('b', slow, { io: true });
  const a = new Watcher(world, 'a', true).watch('b');
  await world.run(5000);
  assert.is(a.links.networkOf('b'), 'io');
  world.cutIo('a', 'b');
  for (let i = 0; i < 60; i++) {
    await world.run(500);
    assert.is(a.cut, '');
  }
  assert.is(a.links.networkOf('b'), 'main');
  world.cutIo('a', 'b', false);
  await world.run(15_000);
  assert.is(a.links.networkOf('b'), 'io');
  assert.equal(a.links.stateOf('b'), { nodeId: 'b', network: 'io', ioAvoided: false, fallbacks: 1 });
});

test('idle links of a large cluster are asked one after the other, and no more than 32 in a second', async () => {
  const world = new World();
  let pings = 0;
  const ids = Array.from({ length: 100 }, (_, i) => `p${i}`);
  const asked = new Set<string>();
  for (const id of ids) {
    world.node(id, async (message) => {
      pings++;
      asked.add(id);
      return emptyMessage(message.type + 1);
    });
  }
  new Watcher(world).watch(...ids);
  await world.run(10_000);
  assert.ok(pings >= 250 && pings <= 330, `${pings} in 10 s`);
  assert.is(asked.size, 100);
});

test.run();
