// deadline: 300 s
/** Streams that are cut, slow, mad or never read: they cost the one who sends them, and nobody else (I-10, I-11). */
import { connect, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { objRequest } from '../../src/wire/headers.js';
import { INODE_INDEX_BYTES, INODE_INDEX_OFFSET } from '../../src/wire/inode.js';
import { dataOid, inodeOid } from '../../src/wire/oid.js';
import { Flag, Op } from '../../src/wire/sheepdog.js';
import { ok } from '../helpers/sheepdog-calls.js';
import { encodeRequest } from '../helpers/sheepdog-client.js';
import { doorTests, pattern, residentBytes, type SheepdogDoor } from '../helpers/sheepdog-door.js';

const KIB = 1024;
const MIB = 1024 * KIB;
/** The door's own budget of bytes for requests, and what a collector leaves lying about. */
const GROWTH_BYTES_MAX = 700 * MIB;
/** Far below a lease, on a busy machine too. */
const LONGEST_MS_MAX = 2000;
const it = doorTests(test);

/** Runs `body` beside a client that writes and reads; tells how long that one waited at most. */
async function besideOthers(door: SheepdogDoor, name: string, body: () => Promise<void>): Promise<number> {
  const { calls } = await door.connect();
  const { vid } = ok(await calls.newVdi({ name, sizeBytes: 4 * MIB, blockSizeShift: 20 }));
  const oid = dataOid(vid, 0);
  ok(await calls.createObj(oid, 0, pattern(0, 4 * KIB)));
  ok(await calls.writeIndex(vid, 0, [vid]));
  const { pid } = door.sheep();
  const beforeBytes = residentBytes(door.sheep());
  let over = false;
  let rounds = 0;
  let longestMs = 0;
  const work = (async () => {
    while (!over) {
      const startMs = performance.now();
      const data = pattern(++rounds, 4 * KIB);
      ok(await calls.writeObj(oid, 0, data));
      assert.ok(ok(await calls.readObj(oid, 0, 4 * KIB)).payload.equals(data));
      longestMs = Math.max(longestMs, performance.now() - startMs);
      await sleep(systemClock, 5);
    }
  })();
  await Promise.all([work, body().finally(() => (over = true))]);
  const grownMib = Math.round((residentBytes(door.sheep()) - beforeBytes) / MIB);
  process.stdout.write(`${name}: ${rounds} rounds, longest ${Math.round(longestMs)} ms, ${grownMib} MiB\n`);
  assert.ok(door.sheep().running && door.sheep().pid === pid);
  assert.ok(grownMib * MIB < GROWTH_BYTES_MAX, `grown by ${grownMib} MiB`);
  return longestMs;
}

const sockets = new Set<Socket>();
test.after.each(() => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
});

/** A socket without any manners of its own; it lives until the end of the test. */
function rawSocket(door: SheepdogDoor): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(door.address());
    sockets.add(socket);
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
    socket.on('error', () => {});
  });
}

it('a request that comes byte by byte is answered like any other', async (door) => {
  const { client, calls } = await door.connect();
  const { vid } = ok(await calls.newVdi({ name: 'bytes', sizeBytes: MIB }));
  const fields = objRequest.encode({ oid: inodeOid(vid) });
  const request = { opcode: Op.READ_OBJ, version: 0, dataLength: 512, fields };
  const bytes = encodeRequest(request, 77);
  const answer = client.expect(request, 77, bytes);
  for (const byte of bytes) {
    client.send(Buffer.of(byte));
    await sleep(systemClock, 1);
  }
  assert.is((await answer).payload.toString('utf8', 0, 5), 'bytes');
});

it('a write that is cut off inside its payload changes nothing', async (door) => {
  const { calls } = await door.connect();
  const { vid } = ok(await calls.newVdi({ name: 'cut', sizeBytes: MIB, blockSizeShift: 20 }));
  const oid = dataOid(vid, 0);
  ok(await calls.createObj(oid, 0, pattern(1, MIB)));
  ok(await calls.writeIndex(vid, 0, [vid]));
  const fields = objRequest.encode({ oid });
  const request = encodeRequest({
    opcode: Op.WRITE_OBJ,
    flags: Flag.WRITE,
    fields,
    payload: pattern(2, MIB),
  });
  for (const bytes of [1, 47, 48, 49, 512 * KIB, request.length - 1]) {
    const socket = await rawSocket(door);
    await new Promise<void>((done) => socket.write(request.subarray(0, bytes), () => done()));
    if (bytes % 2 === 0) socket.end();
    else socket.resetAndDestroy();
    await sleep(systemClock, 20);
    socket.destroy();
  }
  assert.ok(ok(await calls.readObj(oid, 0, MIB)).payload.equals(pattern(1, MIB)));
});

it('many that announce much and send nothing take nothing from the others', async (door) => {
  const longestMs = await besideOthers(door, 'announced', async () => {
    const fields = objRequest.encode({ oid: dataOid(0x123456, 0) });
    for (let i = 0; i < 100; i++) {
      const socket = await rawSocket(door);
      const dataLength = 100 * MIB;
      socket.write(encodeRequest({ opcode: Op.WRITE_OBJ, flags: Flag.WRITE, fields, dataLength }));
    }
    await sleep(systemClock, 3000);
  });
  assert.ok(longestMs < LONGEST_MS_MAX, `others waited ${Math.round(longestMs)} ms`);
});

it('many that send a part of much and stop hold up large requests for seconds only', async (door) => {
  const { calls } = await door.connect();
  const { vid } = ok(await calls.newVdi({ name: 'parts-data', sizeBytes: 16 * MIB }));
  const oid = dataOid(vid, 0);
  ok(await calls.createObj(oid, 0, pattern(1, MIB)));
  ok(await calls.writeIndex(vid, 0, [vid]));
  const longestMs = await besideOthers(door, 'parts', async () => {
    const fields = objRequest.encode({ oid: dataOid(0x123456, 0) });
    const announced = encodeRequest({
      opcode: Op.WRITE_OBJ,
      flags: Flag.WRITE,
      fields,
      dataLength: 100 * MIB,
    });
    const part = Buffer.alloc(6 * MIB);
    for (let i = 0; i < 60; i++) {
      const socket = await rawSocket(door);
      socket.write(announced);
      socket.write(part);
    }
    await sleep(systemClock, 1500);
    const startMs = performance.now();
    ok(await calls.writeObj(oid, 0, pattern(2, MIB)));
    const waitedMs = performance.now() - startMs;
    process.stdout.write(`parts: a large write took ${Math.round(waitedMs)} ms\n`);
    // Three seconds a round, and a second round for those that had to wait themselves.
    assert.ok(waitedMs < 15_000, `${Math.round(waitedMs)} ms`);
  });
  assert.ok(longestMs < LONGEST_MS_MAX, `others waited ${Math.round(longestMs)} ms`);
});

it('many that ask for much and do not read take nothing from the others', async (door) => {
  const { calls } = await door.connect();
  const { vid } = ok(await calls.newVdi({ name: 'unread-data', sizeBytes: 16 * MIB }));
  ok(await calls.createObj(dataOid(vid, 0), 0, pattern(1, 64 * KIB)));
  const longestMs = await besideOthers(door, 'unread', async () => {
    const fields = objRequest.encode({ oid: dataOid(vid, 0) });
    const read = { opcode: Op.READ_OBJ, version: 0, dataLength: 4 * MIB, fields };
    const reads = Buffer.concat(Array.from({ length: 300 }, (_, id) => encodeRequest(read, id)));
    for (let i = 0; i < 20; i++) {
      const socket = await rawSocket(door);
      socket.pause();
      socket.write(reads);
    }
    await sleep(systemClock, 5000);
  });
  assert.ok(longestMs < LONGEST_MS_MAX, `others waited ${Math.round(longestMs)} ms`);
});

it('who reads late gets every answer all the same', async (door) => {
  const { calls } = await door.connect();
  const { vid } = ok(await calls.newVdi({ name: 'late', sizeBytes: 16 * MIB }));
  const data = pattern(1, 4 * MIB);
  ok(await calls.createObj(dataOid(vid, 0), 0, data));
  ok(await calls.writeIndex(vid, 0, [vid]));
  const late = await door.connect();
  late.client.socket.pause();
  const answers = Array.from({ length: 40 }, () => late.calls.readObj(dataOid(vid, 0), 0, 4 * MIB));
  await sleep(systemClock, 1000);
  late.client.socket.resume();
  for (const answer of await Promise.all(answers)) assert.ok(ok(answer).payload.equals(data));
});

it('thousands of requests on one connection are all answered', async (door) => {
  await besideOthers(door, 'thousands', async () => {
    const { client, calls } = await door.connect();
    const { vid } = ok(await calls.newVdi({ name: 'thousands-data', sizeBytes: MIB }));
    const fields = objRequest.encode({ oid: inodeOid(vid) });
    const request = { opcode: Op.READ_OBJ, version: 0, dataLength: 512, fields };
    const answers = await Promise.all(Array.from({ length: 10_000 }, () => client.request(request)));
    assert.ok(answers.every(({ result }) => result === 0));
  });
});

it('zeros for the whole index of the largest volume hold nobody up', async (door) => {
  const { calls } = await door.connect();
  const { vid } = ok(await calls.newVdi({ name: 'index-data', sizeBytes: 2 ** 42 }));
  // Another request first, so that the zeros are believed at once.
  await calls.readHeader(vid);
  const longestMs = await besideOthers(door, 'index', async () => {
    ok(await calls.writeObj(inodeOid(vid), INODE_INDEX_OFFSET, Buffer.alloc(INODE_INDEX_BYTES)));
  });
  assert.ok(longestMs < LONGEST_MS_MAX, `others waited ${Math.round(longestMs)} ms`);
});

it('noise instead of requests ends the connection or is refused, and that is all', async (door) => {
  await besideOthers(door, 'noise', async () => {
    for (let i = 0; i < 60; i++) {
      const socket = await rawSocket(door);
      socket.resume();
      const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()));
      socket.write(pattern(i, 1 + i * 997));
      await Promise.race([gone, sleep(systemClock, 100)]);
      socket.destroy();
    }
  });
});

test.run();
