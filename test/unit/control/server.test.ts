import { Duplex } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import type { ControlHandler, ControlProgress } from '../../../src/control/api.js';
import type { ControlClient } from '../../../src/control/client.js';
import { encodePayloadHead } from '../../../src/control/frame.js';
import { decodeResponseHeader, encodeRequestHeader } from '../../../src/control/sheepdog-header.js';
import {
  ControlListener,
  readBytes,
  type ServeOptions,
  serveControl,
  within,
} from '../../helpers/control-pair.js';

const echo: ControlHandler['call'] = async (method, params, blob) => ({
  result: { method, params },
  blob: Buffer.from(blob),
});

async function withClient(
  handler: ControlHandler['call'],
  run: (client: ControlClient, listener: ControlListener) => Promise<void>,
  options: ServeOptions = {},
): Promise<void> {
  const listener = await ControlListener.start(handler, options);
  const client = await listener.client();
  try {
    await within(run(client, listener), 'the test');
  } finally {
    client.close();
    await listener.stop();
  }
}

function request(opcode: number, version: number, flags: number, payload: Uint8Array, id = 5): Buffer {
  const header = encodeRequestHeader({
    version,
    opcode,
    flags,
    epoch: 0,
    id,
    dataLength: payload.length,
  });
  return Buffer.concat([header, payload]);
}

const ping = encodePayloadHead({ method: 'ping', params: {} });

test('a call carries parameters and a blob both ways', async () => {
  await withClient(echo, async (client) => {
    const blob = Buffer.alloc(3_000_000, 7);
    const answer = await client.call('vdi.write', { name: 'a', offset: 4 }, { blob });
    assert.equal(answer.result as unknown, { method: 'vdi.write', params: { name: 'a', offset: 4 } });
    assert.is(Buffer.compare(answer.blob, blob), 0);
  });
});

test('pipelined calls are answered as they finish, each to its caller', async () => {
  const releases: (() => void)[] = [];
  const handler: ControlHandler['call'] = (_method, params) =>
    new Promise((resolve) => releases.push(() => resolve({ result: params })));
  await withClient(handler, async (client) => {
    const order: string[] = [];
    const calls = ['a', 'b', 'c'].map((name) =>
      client.call('vdi.info', { name }).then(() => order.push(name)),
    );
    while (releases.length < 3) await new Promise((resolve) => setTimeout(resolve, 1));
    for (const index of [2, 0, 1]) {
      releases[index]!();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await Promise.all(calls);
    assert.equal(order, ['c', 'a', 'b']);
  });
});

test('at most inFlightMax calls are at work, the others wait and are served', async () => {
  let running = 0;
  let most = 0;
  const handler: ControlHandler['call'] = async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 2));
    running--;
    return { result: {} };
  };
  await withClient(
    handler,
    async (client) => {
      await Promise.all(Array.from({ length: 50 }, () => client.call('vdi.flush', { name: 'a' })));
      assert.is(most, 4);
    },
    { inFlightMax: 4 },
  );
});

test('a refusal is an answer with its code and message, and the connection lives', async () => {
  const handler: ControlHandler['call'] = async (method) => {
    if (method === 'vdi.info') throw new AppError('no-vdi', 'no volume of that name');
    return { result: [] };
  };
  await withClient(handler, async (client) => {
    const error = await client.call('vdi.info', { name: 'x' }).catch((caught: unknown) => caught);
    assert.ok(AppError.isCode(error, 'no-vdi'));
    assert.is((error as AppError).message, 'no volume of that name');
    assert.equal((await client.call('vdi.list', {})).result, []);
  });
});

test('an unexpected exception is answered as unknown', async () => {
  const handler: ControlHandler['call'] = async () => {
    throw new TypeError('oops');
  };
  await withClient(handler, async (client) => {
    const error = await client.call('cluster.info', {}).catch((caught: unknown) => caught);
    assert.ok(AppError.isCode(error, 'unknown'));
  });
});

test('progress arrives before the result', async () => {
  const handler: ControlHandler['call'] = async (_method, _params, _blob, onProgress) => {
    for (let done = 1; done <= 3; done++) onProgress({ done, total: 3, unit: 'objects' });
    return { result: { freedObjects: 3 } };
  };
  await withClient(handler, async (client) => {
    const seen: ControlProgress[] = [];
    const answer = await client.call('vdi.delete', { name: 'a' }, { onProgress: (p) => seen.push(p) });
    assert.equal(
      seen.map((p) => p.done),
      [1, 2, 3],
    );
    assert.is(answer.result.freedObjects, 3);
  });
});

test('a call that is given up rejects at once and its late answer is ignored', async () => {
  const handler: ControlHandler['call'] = async (method) => {
    if (method === 'vdi.flush') await new Promise((resolve) => setTimeout(resolve, 30));
    return { result: [] };
  };
  await withClient(handler, async (client) => {
    const controller = new AbortController();
    const call = client.call('vdi.flush', { name: 'a' }, { signal: controller.signal });
    controller.abort();
    const error = await call.catch((caught: unknown) => caught);
    assert.instance(error, AppError);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal((await client.call('vdi.list', {})).result, []);
  });
});

test('an oversized payload is refused and drained, and the next request is served', async () => {
  const listener = await ControlListener.start(echo, { payloadBytesMax: 1000 });
  const socket = await listener.raw();
  socket.write(request(0xe0, 2, 1, Buffer.alloc(5000)));
  socket.write(request(0xe0, 2, 1, ping, 6));
  const refused = decodeResponseHeader(await readBytes(socket, 48));
  assert.is(refused.result, 0x05);
  assert.is(refused.dataLength, 0);
  const served = decodeResponseHeader(await readBytes(socket, 48));
  assert.is(served.id, 6);
  assert.is(served.result, 0);
  socket.destroy();
  await listener.stop();
});

test('a payload too large to drain ends the connection after the answer', async () => {
  const listener = await ControlListener.start(echo);
  const socket = await listener.raw();
  const header = { version: 2, opcode: 0xe0, flags: 1, epoch: 0, id: 1, dataLength: 0xffffffff };
  socket.write(encodeRequestHeader(header));
  assert.is(decodeResponseHeader(await readBytes(socket, 48)).result, 0x05);
  await within(new Promise((resolve) => socket.once('close', resolve)), 'the end of the connection');
  await listener.stop();
});

test('old opcodes are answered as the original does and their payload is drained', async () => {
  const listener = await ControlListener.start(echo);
  const socket = await listener.raw();
  const requests: [number, number, number, number][] = [
    [0x12, 1, 1, 0x8b],
    [0x12, 9, 1, 0x14],
    [0x70, 0, 0, 0x05],
    [0x87, 0x0a, 0, 0x8b],
    [0xe0, 7, 1, 0x14],
  ];
  for (const [opcode, version, flags, expected] of requests) {
    const payload = flags === 1 ? Buffer.alloc(512, 0xff) : Buffer.alloc(0);
    socket.write(request(opcode, version, flags, payload));
    const answer = decodeResponseHeader(await readBytes(socket, 48));
    assert.is(answer.result, expected, `opcode ${opcode.toString(16)}`);
    assert.is(answer.opcode, opcode);
    assert.is(answer.dataLength, 0);
  }
  socket.destroy();
  await listener.stop();
});

test('a request survives every split of its bytes', async () => {
  const listener = await ControlListener.start(echo);
  const bytes = request(0xe0, 2, 1, ping);
  const socket = await listener.raw();
  socket.setNoDelay(true);
  for (let split = 1; split < bytes.length; split += 5) {
    socket.write(bytes.subarray(0, split));
    await new Promise((resolve) => setImmediate(resolve));
    socket.write(bytes.subarray(split));
    const answer = decodeResponseHeader(await readBytes(socket, 48));
    assert.is(answer.result, 0);
    await readBytes(socket, answer.dataLength);
  }
  socket.destroy();
  await listener.stop();
});

test('garbage JSON and a missing method are refusals', async () => {
  const listener = await ControlListener.start(echo);
  const socket = await listener.raw();
  for (const payload of [
    Buffer.from('04000000{{{{'),
    Buffer.alloc(2),
    encodePayloadHead([1]),
    encodePayloadHead(null),
  ]) {
    socket.write(request(0xe0, 2, 1, payload));
    const answer = decodeResponseHeader(await readBytes(socket, 48));
    assert.is(answer.result, 0x05);
    await readBytes(socket, answer.dataLength);
  }
  socket.destroy();
  await listener.stop();
});

test('random bytes never crash the server', async () => {
  const listener = await ControlListener.start(echo);
  for (let seed = 1; seed <= 40; seed++) {
    const socket = await listener.raw();
    socket.on('error', () => {});
    const bytes = Buffer.alloc(200);
    for (let i = 0; i < bytes.length; i++) bytes[i] = (seed * 31 + i * i * 7 + ((seed * i) >> 3)) & 0xff;
    if (seed % 2 === 0) bytes[1] = 0xe0;
    socket.end(bytes);
    socket.resume();
    await within(new Promise((resolve) => socket.once('close', resolve)), `seed ${seed}`);
  }
  const client = await listener.client();
  assert.ok(await client.call('cluster.info', {}));
  client.close();
  await listener.stop();
});

test('the first chunk that was read to recognise the protocol is not lost', async () => {
  const sent: Buffer[] = [];
  const socket = new Duplex({
    read: () => {},
    write(chunk: Buffer, _encoding, callback) {
      sent.push(chunk);
      callback();
    },
  });
  serveControl(socket, request(0xe0, 2, 1, ping), { call: echo }, { epoch: () => 42 });
  await new Promise((resolve) => setTimeout(resolve, 10));
  const answer = decodeResponseHeader(Buffer.concat(sent));
  assert.is(answer.result, 0);
  assert.is(answer.epoch, 42);
});

test('closing a connection lets the call at work answer first', async () => {
  let release: () => void = () => {};
  const handler: ControlHandler['call'] = () =>
    new Promise((resolve) => {
      release = () => resolve({ result: { pid: 1 } });
    });
  await withClient(handler, async (client, listener) => {
    const call = client.call('cluster.info', {});
    while (listener.connections[0]?.isWorking !== true)
      await new Promise((resolve) => setTimeout(resolve, 1));
    const closed = new Promise<void>((resolve) => listener.connections[0]!.onClose(resolve));
    listener.connections[0]!.finish();
    release();
    assert.equal((await call).result as unknown, { pid: 1 });
    await closed;
  });
});

test.run();
