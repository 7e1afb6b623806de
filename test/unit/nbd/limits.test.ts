/** What one client and all clients may take, and what happens at the limits and at the end (I-10, I-11). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { BlockDevice } from '../../../src/volume/device.js';
import { intercept, MemoryProvider } from '../../helpers/memory-device.js';
import {
  attach,
  closeAll,
  duplexPair,
  errorOf,
  eventually,
  goPayload,
  ManualClock,
  option,
  request,
  setup,
  u32,
} from './raw-client.js';

const READ = 0;
const WRITE = 1;
const FLUSH = 3;

test('has at most the permitted requests in the device and serves the rest later', async () => {
  let inside = 0;
  let most = 0;
  const provider = new MemoryProvider((device) =>
    intercept(device, async () => {
      most = Math.max(most, ++inside);
      await new Promise((resolve) => setImmediate(resolve));
      inside--;
    }),
  );
  const client = await attach(setup({ provider, limits: { requestsPerConnectionMax: 4 } }).connect());
  client.send(
    ...Array.from({ length: 50 }, (_, cookie) => request(WRITE, 0, 3, { cookie, data: Buffer.from('abc') })),
  );
  const cookies = new Set<bigint>();
  for (let i = 0; i < 50; i++) cookies.add((await client.simpleReply()).cookie);
  assert.is(cookies.size, 50);
  assert.is(most, 4);
});

test('bytes of all connections together stay under the limit and everyone is served', async () => {
  const { connect, server } = setup({ limits: { bytesTotalMax: 300_000 } });
  const clients = await Promise.all(Array.from({ length: 5 }, () => attach(connect())));
  let most = 0;
  const poll = setInterval(() => {
    most = Math.max(most, server.stats().heldBytes);
  }, 0);
  for (const client of clients) {
    for (let i = 0; i < 10; i++) client.send(request(WRITE, 0, 200_000, { data: Buffer.alloc(200_000) }));
  }
  for (const client of clients) for (let i = 0; i < 10; i++) assert.is((await client.simpleReply()).error, 0);
  clearInterval(poll);
  assert.ok(most > 0 && most <= 300_000, `held ${most}`);
  assert.is(server.stats().heldBytes, 0);
});

test('a client that takes no replies is not read any more, and costs a bounded amount', async () => {
  const { connect, server } = setup({ limits: { bytesPerConnectionMax: 200_000 } });
  const client = await attach(connect());
  client.stream.pause();
  for (let i = 0; i < 100; i++) client.send(request(READ, 0, 65_536));
  assert.ok(await client.quiet(50));
  assert.ok(server.stats().heldBytes <= 200_000, `held ${server.stats().heldBytes}`);
  client.stream.resume();
  for (let i = 0; i < 100; i++) await client.recv(16 + 65_536);
  await eventually(() => server.stats().heldBytes === 0, 'all given back');
});

test('half a write and silence is dropped when others wait for its bytes, not otherwise', async () => {
  const clock = new ManualClock();
  const { connect, server } = setup({ clock, limits: { bytesTotalMax: 100_000 } });
  const silent = await attach(connect());
  silent.send(request(WRITE, 0, 90_000, { data: Buffer.alloc(1000) }));
  await eventually(() => server.stats().heldBytes === 90_000, 'bytes held');
  clock.advance(1_000_000);
  assert.ok(await silent.quiet());
  const other = await attach(connect());
  other.send(request(WRITE, 0, 50_000, { data: Buffer.alloc(50_000) }));
  assert.ok(await other.quiet());
  clock.advance(30_001);
  assert.is((await other.simpleReply()).error, 0);
  assert.is((await silent.rest()).length, 0);
  assert.is(server.stats().stalled, 1);
});

test('gives everything back when a client vanishes in the middle of a write', async () => {
  const { connect, server, provider } = setup();
  const client = await attach(connect());
  client.send(request(WRITE, 0, 90_000, { data: Buffer.alloc(1000) }));
  await eventually(() => server.stats().heldBytes === 90_000, 'bytes held');
  client.stream.destroy();
  await eventually(() => server.stats().heldBytes === 0, 'given back');
  await eventually(() => provider.volumes.get('disk')!.counters.closes === 1, 'device closed');
});

test('closes new connections past the limit and the oldest handshake past its own', async () => {
  const { connect, server } = setup({ limits: { connectionsMax: 3, handshakesMax: 2 } });
  const ready = await attach(connect());
  const first = connect();
  await first.recv(18);
  const second = connect();
  await second.recv(18);
  const refused = connect();
  await refused.rest();
  second.stream.destroy();
  await eventually(() => server.stats().connections === 2, 'one left');
  const third = connect();
  await third.recv(18);
  assert.is(server.stats().evicted, 0);
  ready.stream.destroy();
  await eventually(() => server.stats().connections === 2, 'two handshakes');
  const fourth = await attach(connect());
  await first.rest();
  assert.is(server.stats().evicted, 1);
  assert.is(await errorOf(fourth, request(FLUSH, 0, 0)), 0);
});

test('a slow provider does not count against the deadline of a client', async () => {
  let open: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  class Slow extends MemoryProvider {
    override async open(name: string): Promise<BlockDevice> {
      await gate;
      return super.open(name);
    }
  }
  const clock = new ManualClock();
  const client = setup({ provider: new Slow(), clock }).connect();
  await client.greet();
  client.send(option(7, goPayload('disk')));
  assert.ok(await client.quiet());
  for (let i = 0; i < 5; i++) clock.advance(10_001);
  open();
  assert.is((await client.optionReply()).type, 3);
});

test('a client that takes no answers in the handshake gets no more of them', async () => {
  const { server, provider } = setup();
  for (let i = 0; i < 1000; i++) provider.add(`volume-with-a-long-name-${i}`, 4096);
  const [near, far] = duplexPair();
  server.handle(far);
  near.write(Buffer.concat([u32(3), ...Array.from({ length: 500 }, () => option(3))]));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(far.writableLength > 0 && far.writableLength < 200_000, `${far.writableLength} bytes queued`);
});

test('the end of a client with a request stuck in the device closes the device after the grace', async () => {
  const provider = new MemoryProvider((device) => intercept(device, () => new Promise<void>(() => {})));
  const clock = new ManualClock();
  const { connect, server } = setup({ provider, clock });
  const client = await attach(connect());
  client.send(request(WRITE, 0, 3, { data: Buffer.from('abc') }));
  assert.ok(await client.quiet());
  const { counters } = provider.volumes.get('disk')!;
  client.stream.destroy();
  await eventually(() => server.stats().connections === 0, 'the connection ends');
  assert.is(counters.closes, 0);
  clock.advance(5_001);
  await eventually(() => counters.closes === 1, 'the device is closed');
});

test('closing the server does not wait for ever on a stuck provider', async () => {
  let give: (error: Error) => void = () => {};
  class Stuck extends MemoryProvider {
    override open(): Promise<never> {
      return new Promise((_, reject) => {
        give = reject;
      });
    }
  }
  const clock = new ManualClock();
  const { connect, server } = setup({ provider: new Stuck(), clock });
  const client = connect();
  await client.greet();
  client.send(option(7, goPayload('disk')));
  assert.ok(await client.quiet());
  const closed = server.close();
  clock.advance(10_001);
  await closed;
  await client.rest();
  give(new Error('too late'));
});

test.after(closeAll);
test.run();
