/** Who may hold how many bytes of requests, and what becomes of those who keep them for nothing (I-10, I-11). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FREE_BYTES, WINDOW_BYTES_MIN } from '../../../src/sheepdog/held-bytes.js';
import { Flag, Op } from '../../../src/wire/sheepdog.js';
import { ConnectionWorld, KIB, MIB, settled, type TestClient } from './connection-world.js';

const write = (bytes: number) => ({ opcode: Op.WRITE_OBJ, flags: Flag.WRITE, payload: Buffer.alloc(bytes) });
const read = (dataLength: number) => ({ opcode: Op.READ_OBJ, version: 0, dataLength });
/** A write that is under way until the test ends it. */
const slow = (bytes: number) => ({
  opcode: Op.DISCARD_OBJ,
  flags: Flag.WRITE,
  payload: Buffer.alloc(bytes),
});

test('what is announced takes nothing from others, until it comes', async () => {
  const world = new ConnectionWorld(8 * MIB);
  for (let i = 0; i < 100; i++) world.connect().announce(100 * MIB, 100 * KIB);
  const other = world.connect();
  other.send(read(8 * MIB));
  await settled();
  assert.is(other.answers.length, 1);
});

test('small requests wait for nobody', async () => {
  const world = new ConnectionWorld(MIB);
  world.connect().send(slow(MIB));
  const large = world.connect();
  large.send(read(MIB));
  const small = world.connect();
  for (let i = 0; i < 20; i++) small.send(i % 2 === 0 ? read(64 * KIB) : write(64 * KIB), i);
  await settled();
  assert.is(small.answers.length, 20);
  assert.is(large.answers.length, 0);
  world.endWork();
  await settled();
  assert.is(large.answers.length, 1);
});

test('requests beyond the free bytes go on when those before them end', async () => {
  const world = new ConnectionWorld(MIB);
  world.connect().send(slow(MIB));
  const client = world.connect();
  await settled();
  for (let i = 0; i < 4; i++) client.send(slow(FREE_BYTES / 2), i);
  await settled();
  assert.is(world.atWork.length, 3, 'one of another connection, and two');
  for (const end of world.atWork.splice(1)) end();
  await settled();
  assert.is(world.atWork.length, 3);
  assert.is(client.answers.length, 2);
});

test('payloads that fill the budget together are all collected in the end', async () => {
  const world = new ConnectionWorld(4 * MIB);
  const clients = Array.from({ length: 8 }, () => world.connect());
  const bytes = 3 * MIB;
  for (const client of clients) client.announce(bytes, MIB);
  const reader = world.connect();
  reader.send(read(4 * MIB));
  await settled();
  for (const client of clients) client.stream.write(Buffer.alloc(bytes - MIB));
  for (let i = 0; i < 20; i++) await settled();
  assert.equal(
    clients.map((client) => client.answers.length),
    clients.map(() => 1),
  );
  assert.is(reader.answers.length, 1);
});

test('a payload larger than the budget and the window is collected', async () => {
  const world = new ConnectionWorld(MIB);
  const client = world.connect();
  client.send(write(3 * WINDOW_BYTES_MIN));
  for (let i = 0; i < 20; i++) await settled();
  assert.is(client.answers.length, 1);
});

test('a new connection holds few bytes, and more when it has carried requests through', async () => {
  const world = new ConnectionWorld(512 * MIB);
  const counts = [0, 0, 0];
  for (const [i, first] of [undefined, read(4 * MIB), write(4 * MIB)].entries()) {
    const client = world.connect({ reads: first !== undefined });
    if (first !== undefined) {
      for (let id = 0; id < 8; id++) client.send(first, id);
      for (let turn = 0; turn < 5; turn++) await settled();
    }
    for (let id = 0; id < 16; id++) {
      client.send({ opcode: Op.DISCARD_OBJ, flags: Flag.WRITE, payload: Buffer.alloc(2 * MIB) }, id);
    }
    for (let turn = 0; turn < 20; turn++) await settled();
    counts[i] = world.atWork.length;
    client.stream.destroy();
    await settled();
    world.endWork();
    await settled();
  }
  assert.equal(counts, [4, 16, 16]);
});

async function pass(world: ConnectionWorld, ms: number): Promise<void> {
  await settled();
  world.clock.pass(ms);
  await settled();
}

test('all who keep half a payload are dropped at once when others wait for it', async () => {
  const world = new ConnectionWorld(8 * MIB);
  const stalled = Array.from({ length: 5 }, () => world.connect());
  for (const client of stalled) client.announce(100 * MIB, MIB / 2);
  await pass(world, 60_000);
  assert.not.ok(
    stalled.some((client) => client.gone),
    'nobody waits: they may stay',
  );
  const honest = world.connect();
  honest.send(read(MIB));
  await pass(world, 2900);
  assert.is(honest.answers.length, 0);
  assert.not.ok(stalled.some((client) => client.gone));
  await pass(world, 600);
  assert.ok(stalled.every((client) => client.gone));
  assert.is(honest.answers.length, 1);
});

test('who sends a drip is stalled, who sends at leisure is not', async () => {
  const world = new ConnectionWorld(2 * MIB);
  const drip = world.connect();
  const leisurely = world.connect();
  for (const client of [drip, leisurely]) client.announce(MIB, 300 * KIB);
  await settled();
  const honest = world.connect();
  honest.send(read(MIB));
  for (let i = 0; i < 8; i++) {
    drip.stream.write(Buffer.alloc(1));
    leisurely.stream.write(Buffer.alloc(50 * KIB));
    await pass(world, 500);
  }
  assert.equal([drip.gone, leisurely.gone, honest.answers.length], [true, false, 1]);
});

test('who does not take its answers is dropped when others wait, who takes them slowly is not', async () => {
  const world = new ConnectionWorld(8 * MIB);
  const never = world.connect({ reads: false });
  const slowly = world.connect({ reads: false });
  for (const client of [never, slowly]) {
    for (let id = 0; id < 4; id++) client.send(read(MIB), id);
  }
  await settled();
  const honest = world.connect();
  honest.send(read(5 * MIB));
  for (let i = 0; i < 4; i++) {
    slowly.stream.read();
    await pass(world, 1000);
  }
  assert.equal([never.gone, slowly.gone, honest.answers.length], [true, false, 1]);
});

test('a connection whose request is under way in the cluster is not stalled', async () => {
  const world = new ConnectionWorld(2 * MIB);
  const working = world.connect();
  working.send(slow(2 * MIB));
  await settled();
  const honest = world.connect();
  honest.send(read(MIB));
  await pass(world, 60_000);
  assert.not.ok(working.gone || honest.gone);
  world.endWork();
  await settled();
  assert.is(honest.answers.length, 1);
  assert.is(working.answers.length, 1);
});

test('one that waits for bytes itself is not stalled', async () => {
  const world = new ConnectionWorld(2 * MIB);
  const working = world.connect();
  working.send(slow(2 * MIB));
  await settled();
  const waiting = [world.connect(), world.connect()];
  for (const client of waiting) client.send(write(MIB));
  await pass(world, 60_000);
  assert.not.ok(waiting.some((client) => client.gone));
  world.endWork();
  await settled();
  assert.equal(
    waiting.map((client) => client.answers.length),
    [1, 1],
  );
});

test('a request at work keeps its bytes when its connection is gone', async () => {
  const world = new ConnectionWorld(2 * MIB);
  const client = world.connect();
  client.send(slow(2 * MIB));
  await settled();
  client.stream.destroy();
  await settled();
  assert.ok(client.gone);
  const honest = world.connect();
  honest.send(read(MIB));
  await settled();
  assert.is(honest.answers.length, 0);
  world.endWork();
  await settled();
  assert.is(honest.answers.length, 1);
});

test('what a connection collected or did not read is free when it is gone', async () => {
  const world = new ConnectionWorld(2 * MIB);
  const gone: TestClient[] = [world.connect(), world.connect({ reads: false })];
  gone[0]!.announce(100 * MIB, MIB / 2);
  gone[1]!.send(read(MIB));
  await settled();
  for (const client of gone) client.stream.destroy();
  await settled();
  const honest = world.connect();
  honest.send(slow(2 * MIB));
  await settled();
  assert.is(world.atWork.length, 1);
});

test('one that waits in front and has become unable to go on holds nobody up', async () => {
  const world = new ConnectionWorld(4 * MIB);
  const first = world.connect({ reads: false });
  // Its answer is not read: when its turn comes, it must not go on.
  first.send(slow(2 * MIB), 0);
  const other = world.connect();
  other.send(slow(2 * MIB), 0);
  await settled();
  first.send(read(MIB), 1);
  await settled();
  const honest = world.connect();
  honest.send(read(MIB));
  await settled();
  first.connection.settle();
  world.endWork();
  await settled();
  assert.is(honest.answers.length, 1);
});

test.run();
