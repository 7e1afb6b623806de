import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { MemoryProvider } from '../../helpers/memory-device.js';
import {
  closeAll,
  eventually,
  goPayload,
  ManualClock,
  metaPayload,
  option,
  request,
  setup,
  u32,
} from './raw-client.js';

const ACK = 1;
const SERVER = 2;
const INFO = 3;
const META = 4;
const ERR = (n: number): number => 0x80000000 + n;

test('greets with the golden bytes of fixed newstyle', async () => {
  const client = setup().connect();
  const greeting = await client.recv(18);
  assert.is(greeting.toString('hex'), '4e42444d4147494349484156454f50540003');
});

test('answers GO with the golden bytes', async () => {
  const client = setup().connect();
  await client.greet();
  client.send(option(7, goPayload('disk', [3])));
  const bytes = await client.recv(20 + 12 + 20 + 14 + 20);
  const head = '0003e889045565a900000007';
  assert.is(
    bytes.toString('hex'),
    [
      `${head}000000030000000c000000000000001000000d6d`,
      `${head}000000030000000e0003000000010000100002000000`,
      `${head}0000000100000000`,
    ].join(''),
  );
});

test('answers EXPORT_NAME with size, flags and 124 zeros for a client that wants them', async () => {
  const client = setup().connect();
  await client.greet(1);
  client.send(option(1, Buffer.from('disk')));
  const bytes = await client.recv(134);
  assert.is(bytes.subarray(0, 10).toString('hex'), '00000000001000000d6d');
  assert.ok(bytes.subarray(10).every((byte) => byte === 0));
  client.send(request(0, 0, 8));
  assert.is((await client.simpleReply()).error, 0);
});

test('leaves the zeros out for a client that said so', async () => {
  const client = setup().connect();
  await client.greet(3);
  client.send(option(1, Buffer.from('disk')), request(3, 0, 0));
  await client.recv(10);
  assert.is((await client.simpleReply()).error, 0);
});

test('closes on an unknown export by EXPORT_NAME, which has no error reply', async () => {
  const client = setup().connect();
  await client.greet();
  client.send(option(1, Buffer.from('nothing')));
  assert.is((await client.rest()).length, 0);
});

test('closes on unknown client flags', async () => {
  for (const flags of [4, 0x80000000, 0xffffffff]) {
    const client = setup().connect();
    await client.greet(flags);
    assert.is((await client.rest()).length, 0);
  }
});

test('lets a client that is not fixed newstyle only name an export', async () => {
  const client = setup().connect();
  await client.greet(0);
  client.send(option(3));
  assert.is((await client.rest()).length, 0);
});

test('acknowledges ABORT and closes', async () => {
  const client = setup().connect();
  await client.greet();
  client.send(option(2));
  assert.is((await client.optionReply()).type, ACK);
  assert.is((await client.rest()).length, 0);
});

test('lists every export, snapshots too', async () => {
  const { connect, provider } = setup();
  provider.add('disk@monday', 4096, true);
  const client = connect();
  await client.greet();
  client.send(option(3));
  assert.is((await client.optionReply()).payload.toString('latin1'), '\0\0\0\x04disk');
  assert.is((await client.optionReply()).payload.toString('latin1'), '\0\0\0\x0bdisk@monday');
  assert.is((await client.optionReply()).type, ACK);
});

test('refuses options it does not know and lives on', async () => {
  const client = setup().connect();
  await client.greet();
  for (const number of [0, 4, 12, 77, 0xffffffff]) {
    assert.equal(await client.option(number, Buffer.alloc(13)), [ERR(1)]);
  }
  await client.go();
});

test('refuses a payload where none belongs', async () => {
  const client = setup().connect();
  await client.greet();
  for (const number of [3, 5, 8, 11]) assert.equal(await client.option(number, Buffer.from('x')), [ERR(3)]);
  await client.go();
});

test('refuses a second STRUCTURED_REPLY and a second EXTENDED_HEADERS', async () => {
  const client = setup().connect();
  await client.greet();
  assert.equal(await client.option(8), [ACK]);
  assert.equal(await client.option(8), [ERR(3)]);
  assert.equal(await client.option(11), [ACK]);
  assert.equal(await client.option(11), [ERR(3)]);
  assert.equal(await client.option(8), [ERR(10)]);
});

test('closes on EXPORT_NAME after EXTENDED_HEADERS', async () => {
  const client = setup().connect();
  await client.greet();
  await client.option(11);
  client.send(option(1, Buffer.from('disk')));
  assert.is((await client.rest()).length, 0);
});

test('refuses SET_META_CONTEXT before structured replies', async () => {
  const client = setup().connect();
  await client.greet();
  assert.equal(await client.option(10, metaPayload('disk', ['base:allocation'])), [ERR(3)]);
  assert.equal(await client.option(8), [ACK]);
  assert.equal(await client.option(10, metaPayload('disk', ['base:allocation'])), [META, ACK]);
  assert.equal(await client.option(10, metaPayload('disk', ['base:', 'other:thing'])), [ACK]);
  assert.equal(await client.option(10, metaPayload('nothing', ['base:allocation'])), [ERR(6)]);
});

test('lists contexts for no query, a namespace and the full name', async () => {
  const client = setup().connect();
  await client.greet();
  await client.option(8);
  for (const queries of [[], ['base:'], ['base:allocation', 'base:allocation']]) {
    assert.equal(await client.option(9, metaPayload('disk', queries)), [META, ACK]);
  }
  assert.equal(await client.option(9, metaPayload('disk', ['qemu:'])), [ACK]);
});

test('forgets the context when GO names another export', async () => {
  const { connect, provider } = setup();
  provider.add('other', 8192);
  const client = connect();
  await client.greet();
  await client.option(8);
  await client.option(10, metaPayload('disk', ['base:allocation']));
  await client.go('other');
  client.send(request(7, 0, 4096));
  const chunk = await client.structuredChunk();
  assert.is(chunk.type, 0x8001);
  assert.is(chunk.payload.readUInt32BE(0), 22);
});

test('INFO tells name and block sizes when asked and leaves the client in the handshake', async () => {
  const client = setup().connect();
  await client.greet();
  assert.equal(await client.option(6, goPayload('disk', [0, 1, 2, 3, 99])), [INFO, INFO, INFO, ACK]);
  assert.equal(await client.option(6, goPayload('disk')), [INFO, ACK]);
  assert.equal(await client.option(3), [SERVER, ACK]);
});

test('opens a volume once for INFO, SET_META_CONTEXT and GO, and closes it once', async () => {
  const { connect, provider, server } = setup();
  const client = connect();
  await client.greet();
  await client.option(8);
  await client.option(6, goPayload('disk'));
  await client.option(10, metaPayload('disk', ['base:allocation']));
  await client.go();
  assert.is(provider.opened, 1);
  client.stream.destroy();
  await eventually(() => server.stats().connections === 0, 'the end');
  await server.close();
  assert.is(provider.volumes.get('disk')!.counters.closes, 1);
});

test('closes what INFO opened when the client leaves', async () => {
  const { connect, provider } = setup();
  const client = connect();
  await client.greet();
  await client.option(6, goPayload('disk'));
  client.stream.destroy();
  await eventually(() => provider.volumes.get('disk')!.counters.closes === 1, 'close');
});

test('takes the empty name for the only volume, and refuses it when there is a choice', async () => {
  const { connect, provider } = setup();
  provider.add('disk@tag', 4096, true);
  const client = connect();
  await client.greet();
  assert.equal(await client.option(6, goPayload('')), [INFO, ACK]);
  provider.add('second', 4096);
  client.send(option(7, goPayload('')));
  const reply = await client.optionReply();
  assert.is(reply.type, ERR(6));
  assert.match(reply.payload.toString(), 'no default export');
});

test('refuses names that are not text, have control characters or are too long', async () => {
  const client = setup().connect();
  await client.greet();
  assert.equal(await client.option(7, goPayload(Buffer.from([0xff, 0xfe]))), [ERR(3)]);
  assert.equal(await client.option(7, goPayload('a\0b')), [ERR(3)]);
  assert.equal(await client.option(7, goPayload('x'.repeat(256))), [ERR(3)]);
  assert.equal(await client.option(7, goPayload('x'.repeat(5000))), [ERR(3)]);
  assert.equal(await client.option(7, goPayload('../../etc/passwd')), [ERR(6)]);
  await client.go();
});

test('refuses inner lengths that do not add up', async () => {
  const client = setup().connect();
  await client.greet();
  await client.option(8);
  const bad = [
    Buffer.alloc(0),
    Buffer.alloc(3),
    u32(0xffffffff),
    Buffer.concat([u32(4), Buffer.from('dis')]),
    Buffer.concat([goPayload('disk'), Buffer.from('x')]),
    Buffer.concat([u32(4), Buffer.from('disk'), Buffer.from([0xff, 0xff])]),
  ];
  for (const payload of bad) assert.equal(await client.option(7, payload), [ERR(3)]);
  const huge = Buffer.concat([u32(4), Buffer.from('disk'), u32(0xffffffff)]);
  assert.equal(await client.option(10, huge), [ERR(3)]);
});

test('drains an option that is too long and answers ERR_TOO_BIG', async () => {
  const client = setup().connect();
  await client.greet();
  assert.equal(await client.option(7, Buffer.alloc(200_000)), [ERR(9)]);
  await client.go();
});

test('closes on an absurd option length without waiting for it', async () => {
  const client = setup().connect();
  await client.greet();
  client.send(Buffer.from('IHAVEOPT'), u32(7), u32(0xffffffff));
  assert.is((await client.rest()).length, 0);
});

test('closes on a bad option magic', async () => {
  const client = setup().connect();
  await client.greet();
  client.send(Buffer.from('IHAVEOPX'), u32(3), u32(0));
  assert.is((await client.rest()).length, 0);
});

test('closes after too many options', async () => {
  const client = setup({ limits: { optionsMax: 5 } }).connect();
  await client.greet();
  for (let i = 0; i < 5; i++) await client.option(99);
  client.send(option(99));
  assert.is((await client.rest()).length, 0);
});

test('closes half a header and silence at the deadline, and not before', async () => {
  const clock = new ManualClock();
  const { connect, server } = setup({ clock });
  const client = connect();
  await client.greet();
  client.send(Buffer.from('IHAVE'));
  clock.advance(9_000);
  assert.ok(await client.quiet());
  clock.advance(1_001);
  await client.rest();
  assert.is(server.stats().connections, 0);
});

test('has no deadline after the handshake', async () => {
  const clock = new ManualClock();
  const client = setup({ clock }).connect();
  await client.greet();
  await client.go();
  clock.advance(10_000_000);
  assert.ok(await client.quiet());
});

test('tells the reason when the provider refuses', async () => {
  class Refusing extends MemoryProvider {
    override async open(): Promise<never> {
      throw new AppError('vdi-locked', 'volume disk is locked by host b');
    }
  }
  const client = setup({ provider: new Refusing() }).connect();
  await client.greet();
  client.send(option(7, goPayload('disk')));
  const reply = await client.optionReply();
  assert.is(reply.type, ERR(2));
  assert.match(reply.payload.toString(), 'locked by host b');
});

test('hangs up when the provider shuts down', async () => {
  class Closing extends MemoryProvider {
    override async open(): Promise<never> {
      throw new AppError('shutdown', 'closing');
    }
  }
  const client = setup({ provider: new Closing() }).connect();
  await client.greet();
  client.send(option(7, goPayload('disk')));
  assert.is((await client.rest()).length, 0);
});

test('without TLS refuses STARTTLS by policy', async () => {
  const client = setup().connect();
  await client.greet();
  assert.equal(await client.option(5), [ERR(2)]);
});

test('with TLS required says nothing else before it', async () => {
  const tls = { mode: 'require', credentials: { type: 'psk', keys: new Map() } } as const;
  const client = setup({ tls }).connect();
  await client.greet();
  for (const number of [3, 6, 7, 8, 9, 10, 11, 99]) {
    assert.equal(await client.option(number, Buffer.alloc(0)), [ERR(5)]);
  }
  client.send(option(1, Buffer.from('disk')));
  assert.is((await client.rest()).length, 0);
});

test('closes when options are injected before the TLS handshake', async () => {
  const tls = { mode: 'optional', credentials: { type: 'psk', keys: new Map() } } as const;
  const client = setup({ tls }).connect();
  await client.greet();
  client.send(option(5), option(3));
  assert.is((await client.rest()).length, 20);
});

test.after(closeAll);
test.run();
