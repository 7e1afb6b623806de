import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../src/base/random.js';
import { type ByteSink, readInto } from '../../../src/base/socket-reads.js';

const folder = mkdtempSync(join(tmpdir(), 'sheepfold-reads-'));
test.after(() => rmSync(folder, { recursive: true }));

interface Pair {
  readonly accepted: Socket;
  readonly client: Socket;
  close(): Promise<void>;
}

/** An accepted socket, paused, and the one that connected to it. */
async function pairOver(where: { path: string } | { port: number; host: string }): Promise<Pair> {
  const server: Server = createServer();
  await new Promise<void>((resolve) => server.listen(where, resolve));
  const accepted = new Promise<Socket>((resolve) =>
    server.once('connection', (socket: Socket) => {
      socket.pause();
      socket.on('error', () => {});
      resolve(socket);
    }),
  );
  const client = connect(
    'path' in where ? where : { port: (server.address() as AddressInfo).port, host: '127.0.0.1' },
  );
  client.on('error', () => {});
  const socket = await accepted;
  const close = async () => {
    client.destroy();
    socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  return { accepted: socket, client, close };
}

/** Small rooms, one after the other in one buffer, so that much has to be given out. */
class Collector implements ByteSink {
  readonly bytes: Buffer;
  at = 0;
  onFilled = () => {};

  constructor(capacity: number) {
    this.bytes = Buffer.alloc(capacity + 1000);
  }

  room(): Buffer {
    return this.bytes.subarray(this.at, this.at + 1000);
  }

  filled(bytes: Buffer): void {
    assert.is(bytes.byteOffset, this.bytes.byteOffset + this.at, 'bytes lie where there was room');
    this.at += bytes.length;
    this.onFilled();
  }
}

const sent = new SeededRandom(4).bytes(200_000);

for (const [name, where] of [
  ['TCP', { host: '127.0.0.1', port: 0 }],
  ['a unix socket', { path: join(folder, 'sock') }],
] as const) {
  test(`an accepted connection over ${name} is read into the buffers given, to its end`, async () => {
    const { accepted, client, close } = await pairOver(where);
    const sink = new Collector(sent.length);
    assert.equal(readInto(accepted, sink), Buffer.alloc(0));
    accepted.on('data', () => assert.unreachable('nothing comes by the stream'));
    const ended = new Promise((resolve) => accepted.once('end', resolve));
    accepted.resume();
    client.end(sent);
    await ended;
    assert.ok(sink.bytes.subarray(0, sink.at).equals(sent));
    assert.is(accepted.bytesRead, sent.length);
    await close();
  });
}

test('nothing is read while the socket is paused, not even from within filled', async () => {
  const { accepted, client, close } = await pairOver({ host: '127.0.0.1', port: 0 });
  const sink = new Collector(sent.length);
  readInto(accepted, sink);
  client.write(sent);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.is(sink.at, 0);
  for (let pieces = 1; pieces <= 3; pieces++) {
    const once = new Promise<void>((resolve) => {
      sink.onFilled = () => {
        accepted.pause();
        resolve();
      };
    });
    accepted.resume();
    await once;
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.is(sink.at, 1000 * pieces);
  }
  assert.ok(sink.bytes.subarray(0, sink.at).equals(sent.subarray(0, sink.at)));
  await close();
});

test('what the stream has read ahead is returned, and nothing of it is lost', async () => {
  const { accepted, client, close } = await pairOver({ host: '127.0.0.1', port: 0 });
  accepted.read(0);
  client.write('early');
  while (accepted.readableLength < 5) await new Promise((resolve) => setTimeout(resolve, 1));
  const sink = new Collector(100);
  const held = readInto(accepted, sink);
  assert.is(held?.toString(), 'early');
  client.write(' and late');
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.is(sink.at, 0, 'it is still paused');
  const filled = new Promise<void>((resolve) => {
    sink.onFilled = resolve;
  });
  accepted.resume();
  await filled;
  assert.is(sink.bytes.subarray(0, sink.at).toString(), ' and late');
  await close();
});

test('streams that are no plain sockets, and sockets that are closed, are left as they are', () => {
  const sink = new Collector(0);
  assert.is(readInto(new Duplex({ read() {}, write() {} }), sink), undefined);
  assert.is(readInto(new (class extends Socket {})(), sink), undefined);
  assert.is(readInto(new Socket(), sink), undefined);
});

test.run();
