import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger } from '../../../src/base/log.js';
import type { ConversationLimits } from '../../../src/relay/conversation.js';
import { Relay } from '../../../src/relay/relay.js';
import { Op } from '../../../src/wire/sheepdog.js';
import { within } from '../../helpers/real-cluster.js';
import { encodeRequest, SheepdogClient } from '../../helpers/sheepdog-client.js';
import { answerTo, ScriptedSheep } from './scripted-sheep.js';

const DEADLINE_MS = 5000;

interface World {
  readonly sheep: readonly ScriptedSheep[];
  readonly relay: Relay;
  client(): Promise<SheepdogClient>;
}

async function withRelay(
  options: { sheep?: number; limits?: ConversationLimits },
  body: (world: World) => Promise<void>,
): Promise<void> {
  const sheep = await Promise.all(Array.from({ length: options.sheep ?? 1 }, () => ScriptedSheep.start()));
  const relay = await Relay.start({
    listen: [{ host: '127.0.0.1', port: 0 }],
    sheep: sheep.map(({ port }) => ({ host: '127.0.0.1', port })),
    log: silentLogger,
    ...(options.limits && { limits: options.limits }),
  });
  const clients: SheepdogClient[] = [];
  const client = async () => {
    const one = await SheepdogClient.connect({ host: '127.0.0.1', port: relay.ports[0]! });
    clients.push(one);
    return one;
  };
  try {
    await body({ sheep, relay, client });
  } finally {
    for (const one of clients) one.close();
    relay.close();
    for (const one of sheep) one.down();
  }
}

const READ = { opcode: Op.READ_OBJ, dataLength: 5 };
const echo = (sheep: ScriptedSheep, text: string) => {
  sheep.onRequest = (frame, socket) => void socket.write(answerTo(frame, Buffer.from(text)));
};

test('each client has a connection to the sheep at once, silent until it speaks, gone when it is gone', () =>
  withRelay({}, async ({ sheep: [sheep], relay, client }) => {
    const one = await client();
    await within(DEADLINE_MS, 'a connection', () => sheep!.sockets.size === 1);
    assert.is(sheep!.requests.length, 0);
    one.close();
    await within(DEADLINE_MS, 'no connection', () => sheep!.sockets.size === 0);
    await within(DEADLINE_MS, 'it is forgotten', () => relay.connectionCount === 0);
  }));

test('a client that comes while no sheep is up waits for one', () =>
  withRelay({}, async ({ sheep: [sheep], client }) => {
    sheep!.down();
    const one = await client();
    const answer = one.request(READ);
    await new Promise((resolve) => setTimeout(resolve, 300));
    echo(sheep!, 'hello');
    await sheep!.up();
    assert.is((await answer).payload.toString(), 'hello');
  }));

test('the client notices nothing of connections that break, also inside an answer', () =>
  withRelay({}, async ({ sheep: [sheep], client }) => {
    const one = await client();
    let requests = 0;
    const broken = new Set<Socket>();
    sheep!.onRequest = (frame, socket) => {
      if (broken.has(socket)) return;
      const bytes = answerTo(frame, Buffer.from('hello'));
      requests++;
      if (requests % 40 !== 0) {
        socket.write(bytes);
        return;
      }
      broken.add(socket);
      socket.write(bytes.subarray(0, (requests / 40) % bytes.length), () => socket.resetAndDestroy());
    };
    for (let round = 0; round < 4; round++) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => one.request(READ)));
      assert.ok(answers.every(({ payload }) => payload.toString() === 'hello'));
    }
    assert.ok(requests > 200, 'some were asked twice');
    assert.ok(one.open);
  }));

test('the next sheep of the list takes over, for those who come later too', () =>
  withRelay({ sheep: 2 }, async ({ sheep: [first, second], client }) => {
    echo(first!, 'first');
    echo(second!, 'secon');
    const one = await client();
    assert.is((await one.request(READ)).payload.toString(), 'first');
    first!.down();
    assert.is((await one.request(READ)).payload.toString(), 'secon');
    await first!.up();
    const other = await client();
    assert.is((await other.request(READ)).payload.toString(), 'secon');
    assert.is((await one.request(READ)).payload.toString(), 'secon');
  }));

test('a client that does not read makes its sheep wait, not the relay grow', () =>
  withRelay({}, async ({ sheep: [sheep], client }) => {
    const one = await client();
    const payload = Buffer.alloc(1024 * 1024);
    let given = 0;
    sheep!.onRequest = (frame, socket) => void socket.write(answerTo(frame, payload), () => given++);
    one.socket.pause();
    const answers = Array.from({ length: 64 }, () =>
      one.request({ opcode: Op.READ_OBJ, dataLength: payload.length }),
    );
    await within(DEADLINE_MS, 'all are asked', () => sheep!.requests.length === answers.length);
    await new Promise((resolve) => setTimeout(resolve, 200));
    // What the four socket buffers of the way hold has left the sheep; the system decides how much that is.
    assert.ok(given < 40, `${given} of 64 answers have left the sheep`);
    one.socket.resume();
    await Promise.all(answers);
  }));

test('while no sheep answers, a client can ask so much and no more', () =>
  withRelay({ limits: { requestsMax: 10, bytesMax: 1024 * 1024 } }, async ({ sheep: [sheep], client }) => {
    const one = await client();
    const payload = Buffer.alloc(64 * 1024);
    const answers = Array.from({ length: 400 }, () => one.request({ opcode: Op.WRITE_OBJ, payload }));
    await within(DEADLINE_MS, 'the first are there', () => sheep!.requests.length >= 10);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.ok(sheep!.requests.length <= 12, `${sheep!.requests.length} requests`);
    assert.ok(one.socket.writableLength > 0, 'the rest is with the client');
    sheep!.onRequest = (frame, socket) => void socket.write(answerTo(frame));
    for (const socket of sheep!.sockets) socket.destroy();
    await Promise.all(answers);
  }));

test('a client that has sent everything and closes its side still gets its answers', () =>
  withRelay({}, async ({ sheep: [sheep], relay }) => {
    const socket = connect({ host: '127.0.0.1', port: relay.ports[0]!, allowHalfOpen: true });
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    const ended = new Promise((resolve) => socket.once('end', resolve));
    socket.end(encodeRequest(READ));
    await within(DEADLINE_MS, 'it is asked', () => sheep!.requests.length === 1);
    for (const upstream of sheep!.sockets)
      upstream.write(answerTo(sheep!.requests[0]!, Buffer.from('hello')));
    await ended;
    assert.is(bytes, 53);
    socket.destroy();
  }));

test('a client that asks to create a volume when its sheep dies learns that the outcome is not known', () =>
  withRelay({}, async ({ sheep: [sheep], client }) => {
    const one = await client();
    const answer = one
      .request({ opcode: Op.NEW_VDI, payload: Buffer.alloc(256) })
      .catch((error) => error.message);
    await within(DEADLINE_MS, 'it is asked', () => sheep!.requests.length === 1);
    for (const socket of sheep!.sockets) socket.destroy();
    assert.match(await answer, /closed the connection/);
  }));

test('a unix socket that a killed relay left is replaced; other files and living relays are not', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'relay-'));
  const path = join(folder, 'sock');
  const start = () =>
    Relay.start({ listen: [{ path }], sheep: [{ path: `${path}-sheep` }], log: silentLogger });
  try {
    writeFileSync(path, 'a file');
    assert.match(await start().catch((error) => error.message), /is in use/);
    rmSync(path);
    const relay = await start();
    assert.match(await start().catch((error) => error.message), /is in use/);
    relay.close();
    await within(DEADLINE_MS, 'the file is gone', () => !existsSync(path));
    (await start()).close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.run();
