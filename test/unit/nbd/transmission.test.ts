import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { intercept, MemoryProvider } from '../../helpers/memory-device.js';
import {
  attach,
  closeAll,
  errorOf,
  eventually,
  extendedRequest,
  goPayload,
  option,
  request,
  setup,
  u32,
  u64,
} from './raw-client.js';

const READ = 0;
const WRITE = 1;
const DISC = 2;
const FLUSH = 3;
const TRIM = 4;
const CACHE = 5;
const WRITE_ZEROES = 6;
const BLOCK_STATUS = 7;
const MIB = 1024 * 1024;

test('writes and reads back, with golden reply bytes', async () => {
  const client = await attach(setup().connect());
  client.send(request(WRITE, 4095, 3, { cookie: 7, data: Buffer.from('abc') }));
  assert.is((await client.recv(16)).toString('hex'), '67446698000000000000000000000007');
  client.send(request(READ, 4094, 5, { cookie: 8 }));
  assert.is((await client.recv(21)).toString('hex'), '674466980000000000000000000000080061626300');
});

test('answers structured reads with golden bytes', async () => {
  const { connect, provider } = setup();
  provider.volumes.get('disk')!.write(512, Buffer.from('abcd'));
  const client = await attach(connect(), 'structured');
  client.send(request(READ, 512, 4, { cookie: 9 }));
  assert.is(
    (await client.recv(32)).toString('hex'),
    '668e33ef0001000100000000000000090000000c000000000000020061626364',
  );
});

test('answers extended reads with golden bytes and repeats the offset', async () => {
  const { connect, provider } = setup();
  provider.volumes.get('disk')!.write(512, Buffer.from('abcd'));
  const client = await attach(connect(), 'extended');
  client.send(extendedRequest(READ, 512, 4, { cookie: 9 }));
  assert.is(
    (await client.recv(44)).toString('hex'),
    '6e8a278c000100010000000000000009000000000000020000000000' + '0000000c' + '0000000000000200' + '61626364',
  );
});

test('answers extended writes with an empty final chunk', async () => {
  const client = await attach(setup().connect(), 'extended');
  client.send(extendedRequest(WRITE, 4096, 2, { data: Buffer.from('hi') }));
  const chunk = await client.extendedChunk();
  assert.equal([chunk.flags, chunk.type, chunk.offset, chunk.payload.length], [1, 0, 4096n, 0]);
});

test('carries out flush, FUA, trim, cache and write zeroes on the device', async () => {
  const { connect, provider } = setup();
  const volume = provider.volumes.get('disk')!;
  volume.write(0, Buffer.alloc(16384, 1));
  const client = await attach(connect());
  assert.is(await errorOf(client, request(FLUSH, 0, 0)), 0);
  assert.is(await errorOf(client, request(WRITE, 0, 1, { flags: 1, data: Buffer.from('x') })), 0);
  assert.is(await errorOf(client, request(TRIM, 0, 4096)), 0);
  assert.is(await errorOf(client, request(CACHE, 0, 4096)), 0);
  assert.is(await errorOf(client, request(WRITE_ZEROES, 4096, 4096)), 0);
  assert.is(await errorOf(client, request(WRITE_ZEROES, 8192, 4096, { flags: 2 })), 0);
  assert.is(await errorOf(client, request(WRITE_ZEROES, 12288, 4096, { flags: 16 })), 0);
  assert.equal([...volume.blocks.keys()], [2]);
  assert.is(volume.counters.flushes, 1);
  assert.is(volume.counters.fuaWrites, 1);
});

test('FAST_ZERO with NO_HOLE is not fast and says so', async () => {
  const client = await attach(setup().connect());
  assert.is(await errorOf(client, request(WRITE_ZEROES, 0, 4096, { flags: 16 | 2 })), 95);
});

test('refuses ranges beyond the end with the error of each command', async () => {
  const client = await attach(setup().connect());
  assert.is(await errorOf(client, request(READ, MIB - 1, 2)), 22);
  assert.is(await errorOf(client, request(READ, 2n ** 64n - 1n, 4096)), 22);
  assert.is(await errorOf(client, request(WRITE, MIB, 1, { data: Buffer.from('x') })), 28);
  assert.is(await errorOf(client, request(WRITE_ZEROES, MIB, 1)), 28);
  assert.is(await errorOf(client, request(TRIM, MIB, 1)), 22);
  assert.is(await errorOf(client, request(CACHE, MIB, 1)), 22);
  assert.is(await errorOf(client, request(READ, MIB - 1, 1)), 0);
});

test('refuses unknown commands and flags and lives on', async () => {
  const client = await attach(setup().connect());
  assert.is(await errorOf(client, request(8, 0, 0)), 22);
  assert.is(await errorOf(client, request(0xffff, 0, 0)), 22);
  assert.is(await errorOf(client, request(READ, 0, 1, { flags: 0x8000 })), 22);
  assert.is(await errorOf(client, request(READ, 0, 1, { flags: 2 })), 22);
  assert.is(await errorOf(client, request(READ, 0, 1, { flags: 4 })), 22);
  assert.is(await errorOf(client, request(READ, 0, 1, { flags: 32 })), 22);
  assert.is(await errorOf(client, request(BLOCK_STATUS, 0, 4096)), 22);
  assert.is(await errorOf(client, request(FLUSH, 0, 1)), 22);
  assert.is(await errorOf(client, request(FLUSH, 0, 0)), 0);
});

test('drains the payload of a refused write, so that framing stays right', async () => {
  const client = await attach(setup().connect());
  assert.is(await errorOf(client, request(WRITE, MIB, 100_000, { data: Buffer.alloc(100_000, 0x25) })), 28);
  assert.is(await errorOf(client, request(WRITE, 0, 3, { flags: 0x4000, data: Buffer.from('abc') })), 22);
  assert.is(await errorOf(client, request(FLUSH, 0, 0)), 0);
});

test('refuses requests longer than the maximum, drains them and lives on', async () => {
  const client = await attach(setup({ limits: { payloadBytesMax: 4096 } }).connect());
  assert.is(await errorOf(client, request(READ, 0, 4097)), 22);
  assert.is(await errorOf(client, request(WRITE, 0, 70_000, { data: Buffer.alloc(70_000) })), 22);
  assert.is(await errorOf(client, request(READ, 0, 0xffffffff)), 22);
  assert.is(await errorOf(client, request(FLUSH, 0, 0)), 0);
});

test('closes on an extended payload longer than the maximum', async () => {
  const client = await attach(setup().connect(), 'extended');
  client.send(extendedRequest(WRITE, 0, 2n ** 40n, { flags: 32 }));
  assert.is((await client.rest()).length, 0);
});

test('takes an extended WRITE without payload flag, as QEMU sends it', async () => {
  const client = await attach(setup().connect(), 'extended');
  client.send(Buffer.concat([extendedRequest(WRITE, 512, 2, { flags: 1 }), Buffer.from('hi')]));
  assert.is((await client.extendedChunk()).type, 0);
  client.send(extendedRequest(READ, 512, 2));
  assert.is((await client.extendedChunk()).payload.subarray(-2).toString(), 'hi');
});

test('refuses payloads where none belong', async () => {
  const client = await attach(setup().connect(), 'extended');
  client.send(extendedRequest(TRIM, 0, 5, { data: Buffer.from('12345') }));
  assert.is((await client.extendedChunk()).type, 0x8001);
  client.send(extendedRequest(FLUSH, 0, 0));
  assert.is((await client.extendedChunk()).type, 0);
});

test('trims more than 4 GiB with an extended header', async () => {
  const { connect, provider } = setup();
  const volume = provider.add('big', 2 ** 45);
  volume.write(2 ** 40, Buffer.alloc(4096, 1));
  volume.zero = (): void => {
    volume.blocks.clear();
  };
  const client = await attach(connect(), 'extended', 'big');
  client.send(extendedRequest(TRIM, 0, 2n ** 44n));
  assert.is((await client.extendedChunk()).type, 0);
  assert.is(volume.blocks.size, 0);
});

test('refuses writes of every kind on a read-only export', async () => {
  const { connect, provider } = setup();
  provider.add('disk@tag', MIB, true);
  const client = await attach(connect(), 'simple', 'disk@tag');
  assert.is(await errorOf(client, request(WRITE, 0, 1, { data: Buffer.from('x') })), 1);
  assert.is(await errorOf(client, request(WRITE_ZEROES, 0, 1)), 1);
  assert.is(await errorOf(client, request(TRIM, 0, 1)), 1);
  assert.is(await errorOf(client, request(FLUSH, 0, 0)), 0);
});

test('treats empty reads, writes and trims as done', async () => {
  const client = await attach(setup().connect());
  for (const command of [READ, WRITE, TRIM, WRITE_ZEROES, CACHE]) {
    assert.is(await errorOf(client, request(command, 0, 0)), 0);
  }
  const structured = await attach(setup().connect(), 'structured');
  structured.send(request(READ, 0, 0));
  const chunk = await structured.structuredChunk();
  assert.equal([chunk.flags, chunk.type], [1, 0]);
});

test('sends long structured reads as data and holes, and as data with DF', async () => {
  const { connect, provider } = setup();
  provider.volumes.get('disk')!.write(512 * 1024, Buffer.alloc(4096, 7));
  const client = await attach(connect(), 'structured');
  client.send(request(READ, 0, MIB));
  const chunks = [
    await client.structuredChunk(),
    await client.structuredChunk(),
    await client.structuredChunk(),
  ];
  assert.equal(
    chunks.map(({ flags, type, payload }) => [flags, type, payload.length]),
    [
      [0, 2, 12],
      [0, 1, 8 + 4096],
      [1, 2, 12],
    ],
  );
  assert.is(chunks[2]!.payload.toString('hex'), '0000000000081000' + '0007f000');
  client.send(request(READ, 0, MIB, { flags: 4 }));
  const whole = await client.structuredChunk();
  assert.equal([whole.flags, whole.type, whole.payload.length], [1, 1, 8 + MIB]);
});

test('answers BLOCK_STATUS, one extent with REQ_ONE', async () => {
  const { connect, provider } = setup();
  const volume = provider.volumes.get('disk')!;
  volume.write(4096, Buffer.alloc(4096, 7));
  volume.write(8192, Buffer.alloc(4096));
  const client = await attach(connect(), 'structured');
  client.send(request(BLOCK_STATUS, 0, 16384));
  assert.is(
    (await client.structuredChunk()).payload.toString('hex'),
    '00000001' + '0000100000000003' + '0000100000000000' + '0000100000000002' + '0000100000000003',
  );
  client.send(request(BLOCK_STATUS, 512, 16384, { flags: 8 }));
  assert.is((await client.structuredChunk()).payload.toString('hex'), '00000001' + '00000e0000000003');
});

test('answers extended BLOCK_STATUS, plain and with a payload', async () => {
  const { connect } = setup();
  const client = await attach(connect(), 'extended');
  client.send(extendedRequest(BLOCK_STATUS, 0, MIB));
  const plain = await client.extendedChunk();
  assert.is(plain.type, 6);
  assert.is(plain.payload.toString('hex'), '00000001' + '00000001' + '0000000000100000' + '0000000000000003');
  client.send(extendedRequest(BLOCK_STATUS, 0, 12, { data: Buffer.concat([u64(8192), u32(1)]) }));
  const filtered = await client.extendedChunk();
  assert.is(filtered.payload.readBigUInt64BE(8), 8192n);
  for (const data of [u64(4096), Buffer.concat([u64(4096), u32(2)]), Buffer.concat([u64(2 ** 40), u32(1)])]) {
    client.send(extendedRequest(BLOCK_STATUS, 0, data.length, { data }));
    assert.is((await client.extendedChunk()).type, 0x8001);
  }
});

test('sends errors in the structured style with the text of the cause', async () => {
  const wrapped = new MemoryProvider((device) =>
    intercept(device, () => {
      throw new AppError('no-space', 'all disks are full');
    }),
  );
  const client = await attach(setup({ provider: wrapped }).connect(), 'structured');
  client.send(request(WRITE, 0, 1, { data: Buffer.from('x') }));
  const chunk = await client.structuredChunk();
  assert.is(chunk.payload.readUInt32BE(0), 28);
  assert.is(chunk.payload.subarray(6).toString(), 'all disks are full');
});

test('an error of the device is answered and the connection lives', async () => {
  let failing = true;
  const provider = new MemoryProvider((device) =>
    intercept(device, () => {
      if (failing) throw new Error('disk on fire');
    }),
  );
  const client = await attach(setup({ provider }).connect());
  assert.is(await errorOf(client, request(READ, 0, 1)), 5);
  failing = false;
  assert.is(await errorOf(client, request(FLUSH, 0, 0)), 0);
});

test('a backend that shuts down makes the connection drop without an answer', async () => {
  const provider = new MemoryProvider((device) =>
    intercept(device, () => {
      throw new AppError('shutdown', 'going down');
    }),
  );
  const client = await attach(setup({ provider }).connect());
  client.send(request(WRITE, 0, 1, { data: Buffer.from('x') }));
  assert.is((await client.rest()).length, 0);
});

test('closing the server ends connections without half an answer and closes the devices', async () => {
  const { connect, server, provider } = setup();
  const client = await attach(connect());
  client.send(request(READ, 0, 4096));
  await server.close();
  assert.is((await client.rest()).length % 4112, 0);
  assert.is(provider.volumes.get('disk')!.counters.closes, 1);
});

test('DISC is not obeyed before the replies to earlier requests have left', async () => {
  let open: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const provider = new MemoryProvider((device) => intercept(device, () => gate));
  const client = await attach(setup({ provider }).connect());
  client.send(request(WRITE, 0, 1, { data: Buffer.from('x') }), request(DISC, 0, 0), request(READ, 0, 1));
  assert.ok(await client.quiet());
  open();
  assert.is((await client.rest()).length, 16);
});

test('answers in the order the device finishes', async () => {
  const gates: (() => void)[] = [];
  const provider = new MemoryProvider((device) =>
    intercept(device, () => new Promise<void>((resolve) => gates.push(resolve))),
  );
  const client = await attach(setup({ provider }).connect());
  client.send(request(FLUSH, 0, 0, { cookie: 1 }), request(FLUSH, 0, 0, { cookie: 2 }));
  await eventually(() => gates.length === 2, 'both in the device');
  gates[1]!();
  assert.is((await client.simpleReply()).cookie, 2n);
  gates[0]!();
  assert.is((await client.simpleReply()).cookie, 1n);
});

test('a bad request magic ends the connection', async () => {
  const client = await attach(setup().connect());
  client.send(Buffer.alloc(28, 0x42));
  assert.is((await client.rest()).length, 0);
});

test('holds requests against the size the volume has now', async () => {
  const { connect, provider } = setup();
  const client = await attach(connect());
  provider.volumes.get('disk')!.resize(8192);
  assert.is(await errorOf(client, request(READ, 8192, 1)), 22);
  provider.volumes.get('disk')!.resize(2 * MIB);
  assert.is(await errorOf(client, request(WRITE, MIB, 1, { data: Buffer.from('x') })), 0);
  const fresh = connect();
  await fresh.greet();
  fresh.send(option(7, goPayload('disk')));
  assert.is((await fresh.optionReply()).payload.readBigUInt64BE(2), BigInt(2 * MIB));
});

test('tells the observer command, bytes and error by name', async () => {
  const seen: unknown[] = [];
  const observer = {
    requestDone: (command: string, durationMs: number, bytes: number, error: string | undefined): void => {
      seen.push([command, durationMs >= 0, bytes, error]);
    },
  };
  const client = await attach(setup({ observer }).connect());
  await errorOf(client, request(WRITE, 0, 3, { data: Buffer.from('abc') }));
  await errorOf(client, request(READ, MIB, 1));
  assert.equal(seen, [
    ['WRITE', true, 3, undefined],
    ['READ', true, 0, 'EINVAL'],
  ]);
});

test.after(closeAll);
test.run();
