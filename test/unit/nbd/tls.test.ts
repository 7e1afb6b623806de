import type { Duplex } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parsePskFile } from '../../../src/nbd/psk-file.js';
import { closeAll, eventually, ManualClock, option, RawClient, request, setup } from './raw-client.js';

const key = Buffer.alloc(32, 7);
const tls = { mode: 'require', credentials: { type: 'psk', keys: new Map([['alice', key]]) } } as const;

/** STARTTLS and the handshake, as a client of Node would do it. */
async function secure(
  client: RawClient,
  version: 'TLSv1.2' | 'TLSv1.3',
  identity = 'alice',
): Promise<RawClient> {
  assert.equal(await client.option(5), [1]);
  client.stream.removeAllListeners('data');
  const stream: Duplex = tlsConnect({
    socket: client.stream,
    minVersion: version,
    maxVersion: version,
    ciphers: version === 'TLSv1.2' ? 'ECDHE-PSK-CHACHA20-POLY1305' : 'TLS_AES_128_GCM_SHA256',
    checkServerIdentity: () => undefined,
    pskCallback: () => ({ identity, psk: key }),
  });
  return new RawClient(stream);
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`serves a client with a pre-shared key over ${version}, and forgets what came before it`, async () => {
    const plain = setup({ tls }).connect();
    await plain.greet();
    const client = await secure(plain, version);
    assert.equal(await client.option(8), [1]);
    assert.equal(await client.option(5), [0x80000003]);
    await client.go();
    client.send(request(0, 0, 4));
    assert.is((await client.structuredChunk()).type, 1);
    client.stream.destroy();
  });
}

test('an unknown user fails like a wrong key and the stream is closed', async () => {
  const { connect, server } = setup({ tls });
  const plain = connect();
  await plain.greet();
  const client = await secure(plain, 'TLSv1.2', 'mallory');
  await client.rest();
  await eventually(() => server.stats().connections === 0, 'closed');
});

test('noise instead of a TLS hello closes the stream', async () => {
  const { connect, server } = setup({ tls });
  const client = connect();
  await client.greet();
  assert.equal(await client.option(5), [1]);
  client.send(option(3));
  await client.rest();
  await eventually(() => server.stats().connections === 0, 'closed');
});

test('silence after STARTTLS ends at the deadline of the handshake', async () => {
  const clock = new ManualClock();
  const { connect, server } = setup({ tls, clock });
  const client = connect();
  await client.greet();
  assert.equal(await client.option(5), [1]);
  client.send(Buffer.from([0x16, 0x03, 0x01]));
  assert.ok(await client.quiet());
  clock.advance(10_001);
  await client.rest();
  await eventually(() => server.stats().connections === 0, 'closed');
});

test('reads the key file of psktool and names a bad line without showing it', () => {
  const keys = parsePskFile('# comment\n\nalice:00ff\nuser:with:colon:AB\r\n');
  assert.equal([...keys.keys()], ['alice', 'user:with:colon']);
  assert.is(keys.get('alice')!.toString('hex'), '00ff');
  for (const bad of ['alice', 'alice:', ':00', 'alice:xyz0', 'alice:123']) {
    assert.throws(
      () => parsePskFile(`ok:00\n${bad}\n`),
      (error: Error) => error.message.includes('line 2 '),
    );
  }
  assert.throws(() => parsePskFile('# nothing\n'), 'no key');
});

test.after(closeAll);
test.run();
