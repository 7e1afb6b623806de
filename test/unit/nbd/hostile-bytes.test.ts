/** Seeded garbage: whatever arrives, the server lives, gives everything back and serves the next client (I-10). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../src/base/random.js';
import {
  closeAll,
  eventually,
  extendedRequest,
  goPayload,
  metaPayload,
  option,
  request,
  setup,
  u32,
} from './raw-client.js';

const ROUNDS = 400;

function session(random: SeededRandom): Buffer[] {
  const style = random.below(3);
  const make = style === 2 ? extendedRequest : request;
  const parts = [u32(random.chance(0.9) ? 3 : random.u32())];
  if (style > 0)
    parts.push(option(style === 2 ? 11 : 8), option(10, metaPayload('disk', ['base:allocation'])));
  parts.push(option(random.below(13), random.bytes(random.below(40))), option(7, goPayload('disk', [3])));
  for (let i = 0; i < 20; i++) {
    const command = random.below(10);
    const offset = random.chance(0.9) ? random.below(1024 * 1024) : random.u32() * random.u32();
    const length = random.chance(0.9) ? random.below(8192) : random.u32();
    const flags = random.chance(0.8) ? 0 : random.below(65536);
    if (command === 1)
      parts.push(make(command, offset, length % 8192, { flags, data: random.bytes(length % 8192) }));
    else parts.push(make(command, offset, length, { flags }));
  }
  return parts;
}

/** Flips, cuts or repeats a few bytes of the stream. */
function damage(bytes: Buffer, random: SeededRandom): Buffer {
  const out = Buffer.from(bytes);
  for (let i = random.below(4); i > 0; i--) out[random.below(out.length)] = random.below(256);
  if (random.chance(0.2)) return out.subarray(0, random.below(out.length));
  if (random.chance(0.1)) return Buffer.concat([out, random.bytes(random.below(500))]);
  return out;
}

async function play(seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const { server, connect } = setup({ limits: { requestsPerConnectionMax: 3, bytesTotalMax: 20_000 } });
  const bytes = damage(Buffer.concat(session(random)), random);
  const client = connect();
  for (let at = 0; at < bytes.length; ) {
    const count = 1 + random.below(3000);
    client.stream.write(bytes.subarray(at, at + count));
    at += count;
    if (random.chance(0.5)) await new Promise((resolve) => setImmediate(resolve));
  }
  await new Promise((resolve) => setImmediate(resolve));
  client.stream.destroy();
  await eventually(() => server.stats().connections === 0, 'the connection ends');
  await eventually(() => server.stats().heldBytes === 0, 'bytes given back');
  const next = connect();
  await next.greet();
  await next.go();
  next.send(request(0, 0, 512));
  assert.is((await next.simpleReply()).error, 0);
  await server.close();
}

test('damaged sessions never harm the server', async () => {
  for (let seed = 1; seed <= ROUNDS; seed++) {
    await play(seed).catch((error: Error) => {
      throw new Error(`seed ${seed}: ${error.message}`, { cause: error });
    });
  }
});

test('pure noise never harms the server', async () => {
  const random = new SeededRandom(99);
  const { server, connect } = setup();
  for (let i = 0; i < 200; i++) {
    const client = connect();
    client.send(random.bytes(random.below(5000)));
    client.stream.end();
  }
  await eventually(() => server.stats().connections === 0, 'all gone');
});

test.after(closeAll);
test.run();
