import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { ControlClient } from '../../../src/control/client.js';
import { encodeResponseHeader } from '../../../src/control/sheepdog-header.js';
import { ControlListener, within } from '../../helpers/control-pair.js';

async function errorOf(promise: Promise<unknown>): Promise<AppError> {
  const error = await within(
    promise.then(
      () => undefined,
      (caught: unknown) => caught,
    ),
    'the refusal',
  );
  assert.instance(error, AppError);
  return error as AppError;
}

/** A port where nobody listens: one that was free a moment ago. */
async function freePort(): Promise<number> {
  const listener = await ControlListener.start(async () => ({ result: {} }));
  await listener.stop();
  return listener.port;
}

test('a refused connection is told in the words of the original', async () => {
  const port = await freePort();
  const error = await errorOf(ControlClient.connect({ host: '127.0.0.1', port }));
  assert.is(error.code, 'network');
  assert.is(error.message, `failed to connect to 127.0.0.1:${port}: Connection refused`);
});

test('a missing unix socket is told by its path', async () => {
  const path = join(tmpdir(), `no-such-socket-${process.pid}`);
  const error = await errorOf(ControlClient.connect({ path }));
  assert.is(error.message, `failed to connect to ${path}: No such file or directory`);
});

test('a host that cannot be resolved is an invalid address', async () => {
  const error = await errorOf(ControlClient.connect({ host: 'nosuch.invalid', port: 7000 }));
  assert.is(error.code, 'invalid');
  assert.is(error.message, 'Invalid ip address nosuch.invalid');
});

test('calls at work are rejected when the sheep dies', async () => {
  const listener = await ControlListener.start(() => new Promise(() => {}));
  const client = await listener.client();
  const call = client.call('cluster.info', {});
  setTimeout(() => void listener.stop(), 20);
  assert.is((await errorOf(call)).code, 'network');
  assert.is((await errorOf(client.call('cluster.info', {}))).code, 'network');
});

test('a server that is not a sheep is told so', async () => {
  const server = createServer((socket) => socket.end(Buffer.alloc(100, 0x41)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const client = await ControlClient.connect({ host: '127.0.0.1', port });
  assert.match(
    (await errorOf(client.call('cluster.info', {}))).message,
    /does not speak the control protocol/,
  );
  server.close();
});

test('an old sheep without the control interface is told so', async () => {
  const header = { opcode: 0xe0, flags: 0, epoch: 0, id: 1, dataLength: 0, result: 0x05 };
  const server = createServer((socket) =>
    socket.once('data', () => socket.write(encodeResponseHeader(header))),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const client = await ControlClient.connect({ host: '127.0.0.1', port });
  assert.is((await errorOf(client.call('cluster.info', {}))).code, 'not-supported');
  client.close();
  server.close();
});

test('close rejects what waits', async () => {
  const listener = await ControlListener.start(() => new Promise(() => {}));
  const client = await listener.client();
  const call = client.call('cluster.info', {});
  client.close();
  assert.match((await errorOf(call)).message, /is closed/);
  await listener.stop();
});

test.run();
