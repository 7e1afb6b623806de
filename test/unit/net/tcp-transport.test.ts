import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Clock, systemClock } from '../../../src/base/clock.js';
import { AppError } from '../../../src/base/errors.js';
import { SeededRandom } from '../../../src/base/random.js';
import { encodePeerMessage } from '../../../src/net/peer-codec.js';
import { acceptPeerSocket, TcpTransport } from '../../../src/net/tcp-transport.js';
import type { Channel } from '../../../src/net/transport.js';
import type { PeerMessage } from '../../../src/wire/peer-message.js';
import { comparable, message, randomMessage, within } from './helpers.js';

const LIMIT_MS = 8000;

interface Door {
  server: Server;
  transport: TcpTransport;
  port: number;
  /** The next channel that the transport accepts. */
  next(): Promise<Channel>;
  close(): Promise<void>;
}

/** A listener that hands every socket to a transport, the way the daemon's front door does. */
async function openDoor(onChannel?: (channel: Channel) => void): Promise<Door> {
  const transport = new TcpTransport();
  const waiting: ((channel: Channel) => void)[] = [];
  const arrived: Channel[] = [];
  transport.listen((channel) => {
    onChannel?.(channel);
    const taker = waiting.shift();
    if (taker) taker(channel);
    else arrived.push(channel);
  });
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (chunk: Buffer) => transport.accept(socket, chunk));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    server,
    transport,
    port,
    next: () => {
      const channel = arrived.shift();
      return channel ? Promise.resolve(channel) : new Promise((resolve) => waiting.push(resolve));
    },
    close: async () => {
      await transport.close();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function closeOf(channel: Channel): Promise<Error> {
  return new Promise((resolve) => {
    channel.onClose = resolve;
  });
}

/** A plain socket to a port, for what a good peer would never send. */
function rawSocket(port: number): Socket {
  const socket = createConnection({ host: '127.0.0.1', port });
  socket.on('error', () => {});
  return socket;
}

/** Runs a test with a client transport and a door, and cleans both up. */
function both(name: string, run: (client: TcpTransport, door: Door) => Promise<void>): void {
  test(name, async () => {
    const door = await openDoor();
    const client = new TcpTransport();
    try {
      await within(LIMIT_MS, name, run(client, door));
    } finally {
      await client.close();
      await door.close();
    }
  });
}

both('ten thousand pipelined messages of random sizes arrive in order, both ways', async (client, door) => {
  const count = 10_000;
  const channel = await client.connect({ host: '127.0.0.1', port: door.port });
  const random = new SeededRandom(4);
  const sizes = [0, 1, 79, 80, 4096, 5000, 20_000];
  const sent = Array.from({ length: count }, (_, id) => ({
    ...randomMessage(random, 0),
    id,
    payload: new Uint8Array(random.pick(sizes)).fill(id),
  }));
  let next = 0;
  const echoed = new Promise<void>((resolve, reject) => {
    channel.onMessage = (got) => {
      const want = sent[next++]!;
      const same =
        got.id === want.id && got.oid === want.oid && Buffer.compare(got.payload, want.payload) === 0;
      if (!same) reject(new Error(`message ${next - 1} differs`));
      if (next === count) resolve();
    };
    channel.onClose = reject;
  });
  for (const m of sent.slice(0, 100)) channel.send(m);
  const server = await door.next();
  server.onMessage = (m) => server.send(m);
  server.onClose = () => {};
  for (let i = 100; i < count; i += 100) {
    for (const m of sent.slice(i, i + 100)) channel.send(m);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await echoed;
});

both('a message arrives with every field', async (client, door) => {
  const channel = await client.connect({ host: '127.0.0.1', port: door.port });
  const sent = randomMessage(new SeededRandom(8), 1000);
  channel.send(sent);
  const server = await door.next();
  const got = await new Promise<PeerMessage>((resolve) => {
    server.onMessage = resolve;
  });
  assert.equal(comparable(got), comparable(sent));
});

both('messages wait until somebody listens', async (client, door) => {
  const channel = await client.connect({ host: '127.0.0.1', port: door.port });
  for (let id = 0; id < 5; id++) channel.send(message({ id }));
  const server = await door.next();
  await new Promise((resolve) => setTimeout(resolve, 30));
  const ids: number[] = [];
  await new Promise<void>((resolve) => {
    server.onMessage = (m) => {
      ids.push(m.id);
      if (ids.length === 5) resolve();
    };
  });
  assert.equal(ids, [0, 1, 2, 3, 4]);
});

test('nobody listening is told with the cause ECONNREFUSED', async () => {
  const door = await openDoor();
  const { port } = door;
  await door.close();
  const client = new TcpTransport();
  try {
    await within(LIMIT_MS, 'refusal', client.connect({ host: '127.0.0.1', port }));
    assert.unreachable('nobody listens there');
  } catch (error) {
    assert.ok(AppError.isCode(error, 'network'), String(error));
    assert.is((error.cause as { code: string }).code, 'ECONNREFUSED');
  }
  await client.close();
});

both('closing tells both sides once, and what was sent before still arrives', async (client, door) => {
  const channel = await client.connect({ host: '127.0.0.1', port: door.port });
  let closes = 0;
  channel.onMessage = () => {};
  channel.onClose = () => closes++;
  channel.send(message({ id: 1 }));
  const server = await door.next();
  const ids: number[] = [];
  server.onMessage = (m) => ids.push(m.id);
  const closed = closeOf(server);
  channel.send(message({ id: 2, payload: Buffer.alloc(100_000) }));
  channel.close();
  channel.close();
  channel.send(message({ id: 3 }));
  assert.is(closes, 0, 'not inside the call');
  assert.ok(AppError.isCode(await closed, 'network'));
  assert.equal(ids, [1, 2]);
  assert.is(closes, 1);
});

both('the reason given to close is the one that is told', async (client, door) => {
  const channel = await client.connect({ host: '127.0.0.1', port: door.port });
  const reason = new AppError('old-epoch', 'left behind');
  const told = closeOf(channel);
  channel.close(reason);
  assert.is(await told, reason);
});

both('no message is delivered after close, not even of the same chunk', async (client, door) => {
  const channel = await client.connect({ host: '127.0.0.1', port: door.port });
  for (let id = 0; id < 10; id++) channel.send(message({ id }));
  const server = await door.next();
  const ids: number[] = [];
  const closed = closeOf(server);
  server.onMessage = (m) => {
    ids.push(m.id);
    if (m.id === 3) server.close();
  };
  await closed;
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(ids, [0, 1, 2, 3]);
});

both('a damaged stream closes the channel with the reason', async (_client, door) => {
  const socket = rawSocket(door.port);
  socket.write(encodePeerMessage(message({ id: 1, payload: Buffer.from('good') })));
  const server = await door.next();
  const ids: number[] = [];
  server.onMessage = (m) => ids.push(m.id);
  const closed = closeOf(server);
  const bad = encodePeerMessage(message({ id: 2, payload: Buffer.from('bad') }));
  bad[81] = 0;
  socket.write(bad);
  assert.match((await closed).message, /payload checksum mismatch/);
  assert.equal(ids, [1]);
  socket.destroy();
});

both('a stream that ends inside a message says so', async (_client, door) => {
  const socket = rawSocket(door.port);
  socket.end(encodePeerMessage(message()).subarray(0, 50));
  const server = await door.next();
  server.onMessage = () => assert.unreachable('half a message is none');
  assert.match((await closeOf(server)).message, /inside a header/);
});

both('a peer that vanishes breaks the channel', async (_client, door) => {
  const socket = rawSocket(door.port);
  socket.write(encodePeerMessage(message()));
  const server = await door.next();
  server.onMessage = () => {};
  const closed = closeOf(server);
  socket.resetAndDestroy();
  assert.ok(AppError.isCode(await closed, 'network'));
});

both('a handler set after the break is still told', async (client, door) => {
  const channel = await client.connect({ host: '127.0.0.1', port: door.port });
  channel.close();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.match((await closeOf(channel)).message, /closed here/);
});

both('a handler that was replaced is not told of the break', async (client, door) => {
  const channel = await client.connect({ host: '127.0.0.1', port: door.port });
  channel.onMessage = () => {};
  channel.onClose = () => assert.unreachable('replaced');
  const told = closeOf(channel);
  channel.close();
  await told;
  channel.onClose = () => assert.unreachable('told already');
  await new Promise((resolve) => setTimeout(resolve, 20));
});

both('a handler replaced while messages come gets the rest of them', async (client, door) => {
  const channel = await client.connect({ host: '127.0.0.1', port: door.port });
  for (let id = 0; id < 4; id++) channel.send(message({ id }));
  const server = await door.next();
  const rest = await new Promise<number[]>((resolve) => {
    const ids: number[] = [];
    server.onMessage = () => {
      server.onMessage = (m) => {
        ids.push(m.id);
        if (m.id === 3) resolve(ids);
      };
    };
  });
  assert.equal(rest, [1, 2, 3]);
});

both('queued bytes grow while the peer does not read, and fall when it does', async (client, door) => {
  const channel = await client.connect({ host: '127.0.0.1', port: door.port });
  channel.onMessage = () => {};
  channel.send(message({ payload: Buffer.alloc(1000) }));
  assert.is(channel.queuedBytes, 1080);
  // The other side reads nothing before its onMessage is set.
  const server = await door.next();
  const payload = Buffer.alloc(4 * 1024 * 1024);
  for (let i = 0; i < 8; i++) channel.send(message({ payload }));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(channel.queuedBytes > 1024 * 1024, `${channel.queuedBytes} bytes queued`);
  let seen = 0;
  await new Promise<void>((resolve) => {
    server.onMessage = () => {
      if (++seen === 9) resolve();
    };
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.is(channel.queuedBytes, 0);
});

both('a peer that never reads is not waited for when its channel is closed', async (client, door) => {
  const channel = await client.connect({ host: '127.0.0.1', port: door.port });
  channel.onMessage = () => {};
  const payload = Buffer.alloc(8 * 1024 * 1024);
  for (let i = 0; i < 8; i++) channel.send(message({ payload }));
  await door.next();
  channel.close();
  await client.close();
});

test('a closed transport refuses to connect and to accept', async () => {
  const door = await openDoor(() => assert.unreachable('accepted after close'));
  await door.transport.close();
  const socket = rawSocket(door.port);
  socket.write(encodePeerMessage(message()));
  await within(LIMIT_MS, 'socket dropped', new Promise((resolve) => socket.once('close', resolve)));
  try {
    await door.transport.connect({ host: '127.0.0.1', port: door.port });
    assert.unreachable();
  } catch (error) {
    assert.ok(AppError.isCode(error, 'network'));
  }
  await door.close();
});

test('a peer that does not answer in time is given up', async () => {
  const door = await openDoor();
  let timeIsUp = () => {};
  const clock: Clock = {
    ...systemClock,
    after: (_delayMs, run) => {
      timeIsUp = run;
      return { cancel: () => {} };
    },
  };
  const client = new TcpTransport({ clock, connectTimeoutMs: 1234 });
  const connecting = client.connect({ host: '127.0.0.1', port: door.port }).then(
    () => 'connected',
    (error) => error.message,
  );
  timeIsUp();
  assert.match(await within(LIMIT_MS, 'connect', connecting), /no answer within 1234 ms/);
  await client.close();
  await door.close();
});

test('closing the transport gives up connections that are being made', async () => {
  const client = new TcpTransport();
  const door = await openDoor();
  const connecting = client.connect({ host: '127.0.0.1', port: door.port }).then(
    () => 'connected',
    (error) => error.code,
  );
  await within(LIMIT_MS, 'close', client.close());
  assert.is(await within(LIMIT_MS, 'connect', connecting), 'network');
  await door.close();
});

test('an accepted socket can become a channel without a transport', async () => {
  const server = createServer((socket) => {
    socket.once('data', (chunk: Buffer) => {
      const channel = acceptPeerSocket(socket, chunk);
      channel.onMessage = (m) => channel.send({ ...m, type: m.type + 1 });
      channel.onClose = () => {};
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = new TcpTransport();
  const channel = await client.connect({
    host: '127.0.0.1',
    port: (server.address() as { port: number }).port,
  });
  const answer = new Promise<PeerMessage>((resolve) => {
    channel.onMessage = resolve;
  });
  channel.send(message({ type: 4, id: 77 }));
  const { type, id } = await within(LIMIT_MS, 'answer', answer);
  assert.equal([type, id], [5, 77]);
  await client.close();
  await new Promise<void>((resolve) => server.close(() => resolve()));
});

test.run();
