/** Sockets that listen on while servers come and go. */
import { closeSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type NetConnectOpts, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { parseSheepArguments } from '../../../src/daemon/config.js';
import { type DoorName, ListeningSockets } from '../../../src/daemon/handover-sockets.js';

const test = suite<{ dir: string }>('listening sockets');

test.before.each((context) => {
  context.dir = mkdtempSync(join(tmpdir(), 'sheepfold-sockets-'));
});

test.after.each((context) => {
  rmSync(context.dir, { recursive: true, force: true });
});

function configFor(dir: string, port = 0) {
  const words = ['--dir', dir, '--coordinator', join(dir, 'c'), '--port', `${port}`, '--nbd-port', '-1'];
  return parseSheepArguments([...words, '--http-port', '-1', '--unix-socket', join(dir, 'sock')]);
}

/** A server that says one word to everybody. */
async function serve(sockets: ListeningSockets, door: DoorName, word: string): Promise<Server> {
  const server = createServer((socket) => socket.end(word));
  await new Promise<void>((resolve) => server.listen(sockets.at(door), resolve));
  return server;
}

function heard(address: NetConnectOpts): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(address);
    socket.setTimeout(5000, () => socket.destroy(new Error('no answer')));
    socket.on('data', (data) => {
      text += data;
    });
    socket.once('error', reject);
    socket.once('end', () => resolve(text));
  });
}

function portOf(server: Server): number {
  return (server.address() as { port: number }).port;
}

test('who connects between two servers is served by the second', async ({ dir }) => {
  const sockets = await ListeningSockets.bind(configFor(dir));
  for (const door of ['client', 'clientUnix'] as const) {
    const first = await serve(sockets, door, 'first');
    const address = door === 'client' ? { port: portOf(first) } : { path: join(dir, 'sock') };
    assert.is(await heard(address), 'first');
    first.close();
    const waiting = heard(address);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const second = await serve(sockets, door, 'second');
    assert.is(await waiting, 'second');
    second.close();
  }
  sockets.close();
});

test('at the end nobody listens, and the socket file is gone', async ({ dir }) => {
  const sockets = await ListeningSockets.bind(configFor(dir));
  const server = await serve(sockets, 'client', 'word');
  const port = portOf(server);
  server.close();
  sockets.close();
  assert.not(existsSync(join(dir, 'sock')));
  const error = await heard({ port }).catch((refused: NodeJS.ErrnoException) => refused);
  assert.is((error as NodeJS.ErrnoException).code, 'ECONNREFUSED');
});

test('a socket file that a killed sheep left is replaced, any other file is left alone', async ({ dir }) => {
  const killed = await ListeningSockets.bind(configFor(dir));
  for (const fd of killed.handles()!.values()) closeSync(fd);
  const next = await ListeningSockets.bind(configFor(dir));
  const server = await serve(next, 'clientUnix', 'next');
  assert.is(await heard({ path: join(dir, 'sock') }), 'next');
  server.close();
  next.close();
  writeFileSync(join(dir, 'note'), 'mine');
  const config = { ...configFor(dir), unixSocket: join(dir, 'note') };
  const error = await ListeningSockets.bind(config).catch((refused: unknown) => refused);
  assert.ok(AppError.isCode(error, 'network'));
  assert.ok(existsSync(join(dir, 'note')));
});

test('a port that is taken is named', async ({ dir }) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const error = await ListeningSockets.bind(configFor(dir, portOf(server))).catch((taken: unknown) => taken);
  assert.ok(AppError.isCode(error, 'system'));
  assert.match((error as Error).message, `port ${portOf(server)} is in use`);
  server.close();
});

test.run();
