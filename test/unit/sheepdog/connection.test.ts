import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Operation } from '../../../src/sheepdog/operation.js';
import { Flag, Op, Result } from '../../../src/wire/sheepdog.js';
import { ConnectionWorld, KIB, MIB, settled } from './connection-world.js';

/** A repeated request for I/O: the connection begins quietly. */
const repeated = { opcode: Op.READ_OBJ, version: 0, dataLength: 512 };

test('a request with a payload of its own gets none back, except with PIGGYBACK', async () => {
  const echo: Operation = ({ payload }) => ({ result: 0, payload });
  const world = new ConnectionWorld(MIB, [
    [Op.OIDS_EXIST, echo],
    [
      Op.CONTROL,
      (request) => ({ result: 0, payload: Buffer.concat([request.payload, request.payload]), flags: 0 }),
    ],
  ]);
  const client = world.connect();
  const payload = Buffer.from('echo');
  client.send({ opcode: Op.OIDS_EXIST, flags: Flag.WRITE, payload }, 1);
  client.send({ opcode: Op.OIDS_EXIST, flags: Flag.WRITE | Flag.PIGGYBACK, payload }, 2);
  client.send({ opcode: Op.READ_OBJ, flags: Flag.WRITE, payload }, 3);
  client.send({ opcode: Op.CONTROL, version: 2, flags: Flag.WRITE, payload }, 4);
  await settled();
  const told = client.answers.map(({ id, result, payload }) => [id, result, payload.toString()]);
  assert.equal(told.sort(), [
    [1, Result.INVALID_PARMS, ''],
    [2, 0, 'echo'],
    [3, Result.INVALID_PARMS, ''],
    [4, 0, 'echoecho'],
  ]);
});

test('a connection is handed over with the part of a payload that has come', async () => {
  const world = new ConnectionWorld(MIB);
  const client = world.connect();
  client.announce(MIB, 200 * KIB);
  await settled();
  client.connection.settle();
  assert.is(client.connection.unread?.length, 48 + 200 * KIB);
});

test('a connection is handed over when its requests are answered, not before', async () => {
  const world = new ConnectionWorld(MIB);
  const client = world.connect();
  client.send({ opcode: Op.DISCARD_OBJ, dataLength: 0 });
  await settled();
  client.connection.settle();
  client.send({ opcode: Op.READ_OBJ, version: 0, dataLength: 512 }, 2);
  await settled();
  assert.is(client.connection.unread, undefined);
  world.endWork();
  await settled();
  assert.is(client.answers.length, 1);
  assert.is(client.connection.unread?.length, 48);
});

test('answers that the quiet start keeps leave before the connection is handed over', async () => {
  const world = new ConnectionWorld(MIB);
  const client = world.connect();
  client.send(repeated, 17);
  await settled();
  client.connection.settle();
  assert.is(client.answers.length, 0);
  assert.is(client.connection.unread, undefined);
  world.clock.pass(20);
  await settled();
  assert.is(client.answers.length, 1);
  assert.is(client.connection.unread?.length, 0);
});

test('answers that the quiet start keeps leave before the connection ends', async () => {
  const world = new ConnectionWorld(MIB);
  const client = world.connect();
  client.send(repeated, 17);
  await settled();
  client.connection.finish();
  await settled();
  assert.not.ok(client.gone);
  world.clock.pass(20);
  await settled();
  assert.is(client.answers.length, 1);
  assert.ok(client.gone);
});

test('a connection that begins with repetitions is read until there are no more of them', async () => {
  const world = new ConnectionWorld(256 * MIB);
  const client = world.connect();
  for (let id = 1; id <= 20; id++) client.send({ ...repeated, dataLength: 4 * MIB }, id);
  await settled();
  assert.is(client.answers.length, 0);
  world.clock.pass(20);
  for (let turn = 0; turn < 5; turn++) await settled();
  assert.is(client.answers.length, 20);
});

test.run();
