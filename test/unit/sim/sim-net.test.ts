import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { SeededRandom } from '../../../src/base/random.js';
import type { Channel, Transport } from '../../../src/net/transport.js';
import type { PeerMessage } from '../../../src/wire/peer-message.js';
import { type NodeClock, SimClock } from '../../helpers/sim-clock.js';
import { SimNetwork } from '../../helpers/sim-net.js';

const address = (i: number) => ({ host: `10.0.0.${i}`, port: 7000 });

interface Node {
  name: string;
  clock: NodeClock;
  transport: Transport;
  /** Ids received on accepted channels, in order, and ends of channels. */
  heard: (number | string)[];
  accepted: Channel[];
}

function world(seed = 1): { clock: SimClock; net: SimNetwork; a: Node; b: Node; add: (i: number) => Node } {
  const clock = new SimClock();
  const net = new SimNetwork({ clock, random: new SeededRandom(seed) });
  const add = (i: number): Node => {
    const nodeClock = clock.forNode(`n${i}`);
    const transport = net.transportFor(`n${i}`, address(i), nodeClock);
    const node: Node = { name: `n${i}`, clock: nodeClock, transport, heard: [], accepted: [] };
    transport.listen((channel) => {
      node.accepted.push(channel);
      channel.onMessage = (m) => node.heard.push(m.id);
      channel.onClose = () => node.heard.push('closed');
    });
    return node;
  };
  return { clock, net, a: add(1), b: add(2), add };
}

async function open(clock: SimClock, from: Node, to: Node): Promise<Channel> {
  const result = await attempt(clock, from, Number(to.name.slice(1)));
  assert.ok(result.channel, String(result.error));
  return result.channel!;
}

async function attempt(
  clock: SimClock,
  from: Node,
  to: number,
): Promise<{ channel?: Channel; error?: unknown }> {
  const out: { channel?: Channel; error?: unknown } = {};
  from.transport.connect(address(to)).then(
    (channel) => {
      out.channel = channel;
    },
    (error) => {
      out.error = error;
    },
  );
  await clock.run({
    untilMs: clock.nowMs() + 10_000,
    stop: () => out.channel !== undefined || 'error' in out,
  });
  return out;
}

function message(id: number, payload = new Uint8Array(0)): PeerMessage {
  const zeros = { flags: 0, result: 0, epoch: 1, root: 1, copies: 2, objectShift: 20, offset: 0, length: 0 };
  return { type: 0x10, id, oid: 1n, parent: 0n, sequence: 0, commit: 0, payload, ...zeros };
}

function later(clock: SimClock, ms: number): Promise<void> {
  return clock.run({ untilMs: clock.nowMs() + ms });
}

test('messages arrive in order, all of them, after some time', async () => {
  const { clock, a, b } = world();
  const channel = await open(clock, a, b);
  const ids = Array.from({ length: 200 }, (_, i) => i + 1);
  for (const id of ids) channel.send(message(id));
  assert.is(b.heard.length, 0);
  await later(clock, 1000);
  assert.equal(b.heard, ids);
});

test('what arrives is what the buffer held when it was sent', async () => {
  const { clock, a, b } = world();
  const channel = await open(clock, a, b);
  await later(clock, 10);
  let got = new Uint8Array(0);
  b.accepted[0]!.onMessage = (m) => {
    got = new Uint8Array(m.payload);
  };
  const payload = new Uint8Array([1, 2, 3]);
  channel.send(message(1, payload));
  payload.fill(9);
  await later(clock, 100);
  assert.equal([...got], [1, 2, 3]);
});

test('a field that the wire cannot carry is refused at once', async () => {
  const { clock, a, b } = world();
  const channel = await open(clock, a, b);
  assert.throws(() => channel.send({ ...message(1), epoch: -1 }), /out of range/);
});

test('connecting is refused where nobody listens', async () => {
  const { clock, a } = world();
  const { error } = await attempt(clock, a, 9);
  assert.ok(AppError.isCode(error, 'network'));
  assert.is(((error as AppError).cause as { code: string }).code, 'ECONNREFUSED');
});

test('closing delivers what was sent before, then tells the other side', async () => {
  const { clock, a, b } = world();
  const channel = await open(clock, a, b);
  let own = 0;
  channel.onClose = () => own++;
  channel.send(message(1));
  channel.close();
  channel.send(message(2));
  await later(clock, 100);
  assert.equal(b.heard, [1, 'closed']);
  assert.is(own, 1);
});

test('after a break a prefix has arrived in each direction, and both sides hear of it once', async () => {
  const lengths = new Set<number>();
  for (let seed = 1; seed <= 30; seed++) {
    const { clock, net, a, b } = world(seed);
    const channel = await open(clock, a, b);
    await later(clock, 50);
    for (let id = 1; id <= 5; id++) channel.send(message(id));
    let own = 0;
    channel.onClose = () => own++;
    net.breakOne();
    await later(clock, 5000);
    assert.is(b.heard.at(-1), 'closed');
    const ids = b.heard.slice(0, -1);
    assert.equal(ids, [1, 2, 3, 4, 5].slice(0, ids.length));
    lengths.add(ids.length);
    assert.is(own, 1);
  }
  assert.ok(lengths.size >= 4, `${[...lengths]}`);
});

test('messages of a broken channel may arrive after those of its successor', async () => {
  let late = 0;
  for (let seed = 1; seed <= 100; seed++) {
    const { clock, net, a, b } = world(seed);
    const channel = await open(clock, a, b);
    await later(clock, 50);
    let closed = false;
    channel.onClose = () => {
      closed = true;
    };
    for (let id = 1; id <= 5; id++) channel.send(message(id));
    net.breakOne();
    await clock.run({ untilMs: clock.nowMs() + 5000, stop: () => closed });
    const next = await open(clock, a, b);
    next.send(message(100));
    await later(clock, 5000);
    const at = b.heard.indexOf(100);
    if (b.heard.slice(at + 1).some((id) => typeof id === 'number')) late++;
  }
  assert.ok(late >= 3, `${late} of 100`);
});

test('a killed process: its channels close, connecting is refused', async () => {
  const { clock, net, a, b } = world();
  const channel = await open(clock, a, b);
  let closed = false;
  channel.onClose = () => {
    closed = true;
  };
  net.kill('n2');
  b.clock.kill();
  await later(clock, 100);
  assert.ok(closed);
  const { error } = await attempt(clock, a, 2);
  assert.is(((error as AppError).cause as { code: string }).code, 'ECONNREFUSED');
});

test('a channel that ends as soon as it is open is first open, then closed', async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const { clock, net, a, b } = world(seed);
    let closed = 0;
    a.transport.connect(address(2)).then((channel) => {
      channel.onClose = () => closed++;
    });
    await clock.run({ untilMs: 1000, stop: () => b.accepted.length > 0 });
    net.kill('n2');
    b.clock.kill();
    await later(clock, 1000);
    assert.is(closed, 1);
  }
});

test('a machine without power is silent: connecting times out, the old channel is reset when it is back', async () => {
  const { clock, net, a, b, add } = world();
  const channel = await open(clock, a, b);
  let closed = false;
  channel.onClose = () => {
    closed = true;
  };
  net.kill('n2', { silent: true });
  b.clock.kill();
  channel.send(message(1));
  const { error } = await attempt(clock, a, 2);
  assert.is(((error as AppError).cause as { code: string }).code, 'ETIMEDOUT');
  assert.not.ok(closed);
  const reborn = add(2);
  await later(clock, 200);
  assert.ok(closed);
  assert.equal(reborn.heard, []);
});

test('a one-way partition holds one direction back and delivers after it heals', async () => {
  const { clock, net, a, b } = world();
  const channel = await open(clock, a, b);
  await later(clock, 50);
  let answers = 0;
  channel.onMessage = () => answers++;
  net.setBlocked('n1', 'n2', true);
  channel.send(message(1));
  b.accepted[0]!.send(message(2));
  await later(clock, 3000);
  assert.equal([b.heard, answers], [[], 1]);
  assert.ok(AppError.isCode((await attempt(clock, a, 2)).error, 'network'));
  net.setBlocked('n1', 'n2', false);
  await later(clock, 3000);
  assert.equal(b.heard, [1]);
});

test('a frozen process accepts, hears nothing, and hears it all when it thaws', async () => {
  const { clock, a, b } = world();
  b.clock.freeze();
  const channel = await open(clock, a, b);
  channel.send(message(1));
  channel.send(message(2));
  await later(clock, 1000);
  assert.is(b.accepted.length, 0);
  b.clock.thaw();
  await later(clock, 100);
  assert.equal(b.heard, [1, 2]);
});

test('bytes queue up behind a partition', async () => {
  const { clock, net, a, b } = world();
  const channel = await open(clock, a, b);
  net.setBlocked('n1', 'n2', true);
  for (let i = 0; i < 4; i++) channel.send(message(i, new Uint8Array(64 * 1024)));
  await later(clock, 100);
  assert.ok(channel.queuedBytes > 128 * 1024);
  net.healAll();
  await later(clock, 3000);
  assert.is(channel.queuedBytes, 0);
});

test.run();
