/** The client against the real server of this project, which a test may take away. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { systemClock } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import { listenNbd } from '../../../src/nbd/listen.js';
import { createNbdServer } from '../../../src/nbd/server.js';
import { NbdClient } from '../../../src/nbd-client/client.js';
import { intercept, MemoryProvider } from '../../helpers/memory-device.js';
import { within } from '../../helpers/real-cluster.js';

interface World {
  readonly provider: MemoryProvider;
  readonly client: NbdClient;
  start(): Promise<() => Promise<void>>;
  readonly path: string;
}

async function withWorld(
  before: (operation: string) => Promise<void> | void,
  body: (world: World) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'nbd-client-'));
  const path = join(folder, 'nbd.sock');
  const provider = new MemoryProvider((device) => intercept(device, before));
  const client = new NbdClient({
    address: async () => ({ path }),
    exportName: 'disk',
    clock: systemClock,
    log: silentLogger,
  });
  const start = async (): Promise<() => Promise<void>> => {
    const server = createNbdServer({ provider, clock: systemClock, log: silentLogger });
    const listener = await listenNbd(server, { path });
    return async () => {
      await listener.close();
      await server.close();
    };
  };
  try {
    await body({ provider, client, start, path });
  } finally {
    client.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

test('reads, writes, zeroes, FUA and flush arrive', () =>
  withWorld(
    () => {},
    async ({ provider, client, start }) => {
      const volume = provider.add('disk', 8 * 1024 * 1024);
      const stop = await start();
      await client.write(5000, Buffer.from('hello'), { fua: true });
      await client.write(2 * 1024 * 1024, Buffer.alloc(5 * 1024 * 1024, 7));
      await client.flush();
      assert.is(Buffer.concat(await client.read(4998, 9)).toString(), '\0\0hello\0\0');
      assert.ok(Buffer.concat(await client.read(2 * 1024 * 1024, 1024 * 1024)).every((byte) => byte === 7));
      assert.ok(Buffer.concat(await client.read(1024 * 1024, 1024 * 1024)).every((byte) => byte === 0));
      await client.zero(4096, 4096, { mayUnmap: true });
      assert.equal(await client.blockStatus(0, 1024 * 1024), [
        { lengthBytes: 1024 * 1024, hole: true, zero: true },
      ]);
      const { fuaWrites, flushes, writes } = volume.counters;
      // What is longer than one request may be goes in pieces.
      assert.equal({ fuaWrites, flushes, writes }, { fuaWrites: 1, flushes: 1, writes: 3 });
      await stop();
    },
  ));

test('what waits when the server goes is done by the next one', () =>
  withWorld(
    () => new Promise((resolve) => setTimeout(resolve, 2)),
    async ({ provider, client, start }) => {
      const volume = provider.add('disk', 1024 * 1024);
      let stop = await start();
      const writes = Array.from({ length: 200 }, (_, i) =>
        client.write(i * 4096, Buffer.alloc(4096, i % 250)),
      );
      const read = client.read(900 * 1024, 8192);
      for (let i = 0; i < 3; i++) {
        await within(10_000, 'it is connected', () => client.connected);
        await stop();
        stop = await start();
      }
      await Promise.all([...writes, read]);
      for (let i = 0; i < 200; i++) assert.is(volume.blocks.get(i)?.[77], i % 250);
      await stop();
    },
  ));

test('a request made while nobody listens waits, and one for a volume that is gone is refused', () =>
  withWorld(
    () => {},
    async ({ provider, client, start }) => {
      provider.add('disk', 4096);
      const early = client.read(0, 512);
      await new Promise((resolve) => setTimeout(resolve, 60));
      const stop = await start();
      assert.is(Buffer.concat(await early).length, 512);
      provider.volumes.delete('disk');
      client.grown(8192);
      const outcome = await client.read(0, 512).catch((error: { code: string }) => error.code);
      assert.is(outcome, 'no-vdi');
      await stop();
    },
  ));

test('a refusal of the server is the error number it gave', () =>
  withWorld(
    () => {},
    async ({ provider, client, start }) => {
      provider.add('disk', 4096);
      const stop = await start();
      const outcome = await client
        .write(4096, Buffer.alloc(1))
        .catch((error: { errno: number }) => error.errno);
      assert.is(outcome, 28);
      assert.is(Buffer.concat(await client.read(0, 1)).length, 1, 'and the connection lives');
      await stop();
    },
  ));

test('a server that talks nonsense is left, and tried again', () =>
  withWorld(
    () => {},
    async ({ provider, client, start, path }) => {
      provider.add('disk', 4096);
      const sockets: Socket[] = [];
      const liar = createServer((socket) => {
        sockets.push(socket);
        socket.on('error', () => {});
        socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
      });
      await new Promise<void>((resolve) => liar.listen(path, resolve));
      const early = client.read(0, 16);
      await within(10_000, 'it tries more than once', () => sockets.length > 2);
      await new Promise((resolve) => liar.close(resolve));
      const stop = await start();
      assert.is(Buffer.concat(await early).length, 16);
      await stop();
    },
  ));

test.run();
