/** One connection after the other to a daemon without a cluster: what is answered, refused, and what ends it. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Daemon } from '../../../pool-backend/daemon.js';
import {
  KEEPALIVE_PROGRAM,
  MessageStatus,
  MessageType,
  remoteHeader,
} from '../../../pool-backend/rpc/message.js';
import { type ProcedureName, procedures } from '../../../pool-backend/rpc/procedures.js';
import { silentLogger } from '../../../src/base/log.js';
import { LibvirtClient, Refused } from '../../helpers/libvirt-client.js';
import { poolXml } from '../../helpers/pool-daemon.js';

interface World {
  folder: string;
  socket: string;
  readOnly: string;
  daemon: Daemon;
}

const test = suite<World>('session');
const NOTHING = Buffer.alloc(0);
const AWAY = 9;

test.before.each(async (world) => {
  world.folder = mkdtempSync(join(tmpdir(), 'sheepfold-session-'));
  world.socket = join(world.folder, 'sock');
  world.readOnly = join(world.folder, 'sock-ro');
  world.daemon = await Daemon.start({
    socket: world.socket,
    socketMode: 0o640,
    readOnlySocket: world.readOnly,
    readOnlyMode: 0o666,
    configFolder: join(world.folder, 'config'),
    stateFolder: join(world.folder, 'state'),
    log: silentLogger,
  });
});
test.after.each(({ daemon, folder }) => {
  daemon.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function refusal(work: Promise<unknown>): Promise<Refused['wire']> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Refused) return error.wire;
    throw error;
  }
  throw new Error('it was answered');
}

const call = (procedure: number, serial: number) =>
  remoteHeader({ procedure, type: MessageType.call, serial, status: MessageStatus.ok });

test('the handshake of virsh is answered, and its end is the daemon’s end, too', async ({ socket }) => {
  const client = await LibvirtClient.connect(socket);
  assert.equal(await client.call('authList', undefined), { types: [0] });
  assert.equal(await client.call('connectSupportsFeature', { feature: 10 }), { supported: true });
  await client.call('connectOpen', { name: undefined, flags: 0 });
  assert.equal(await client.call('connectSupportsFeature', { feature: 99 }), { supported: false });
  assert.equal(await client.call('connectGetUri', undefined), { uri: 'storage:///system' });
  assert.equal(await client.call('connectGetType', undefined), { type: 'storage' });
  await client.call('connectRegisterCloseCallback', undefined);
  await client.call('connectUnregisterCloseCallback', undefined);
  await client.call('connectClose', undefined);
  await client.ended();
});

test('nothing but the handshake is answered before the connection is open', async ({ socket }) => {
  const client = await LibvirtClient.connect(socket);
  const wire = await refusal(client.call('connectNumOfStoragePools', undefined));
  assert.equal([wire.code, wire.message], [1, 'internal error: connection not open']);
  client.send(call(4, 500), NOTHING);
  const foreign = await refusal(client.reply(500));
  assert.is(foreign.code, 1);
  client.close();
});

test('a URI of another driver is refused', async ({ socket }) => {
  const client = await LibvirtClient.connect(socket);
  const wire = await refusal(client.call('connectOpen', { name: 'qemu:///system', flags: 0 }));
  assert.is(wire.code, 3);
  client.close();
});

test('unknown procedures, programs and versions are refused; the connection lives', async ({ socket }) => {
  const client = await LibvirtClient.open(socket);
  const send = (header: Parameters<LibvirtClient['send']>[0]) => {
    client.send(header, NOTHING);
    return refusal(client.reply(header.serial));
  };
  assert.match((await send(call(9999, 100))).message!, 'unknown procedure: 9999');
  assert.match((await send(call(-5, 101))).message!, 'unknown procedure: -5');
  assert.is((await send(call(4, 102))).code, 3);
  assert.match((await send({ ...call(1, 103), program: 7 })).message!, 'Cannot find program 7 version 1');
  assert.match((await send({ ...call(1, 104), version: 2 })).message!, 'Cannot find program');
  assert.match((await send({ ...call(71, 105), type: MessageType.callWithFds })).message!, 'descriptor');
  assert.equal(await client.call('connectNumOfStoragePools', undefined), { count: 0 });
  client.close();
});

test('arguments that cannot be read are refused for every procedure; the connection lives', async ({
  socket,
}) => {
  const client = await LibvirtClient.open(socket);
  const junk = Buffer.alloc(4096, 0xff);
  let serial = 1000;
  for (const name of Object.keys(procedures) as ProcedureName[]) {
    client.send(call(procedures[name].number, serial), junk);
    const wire = await refusal(client.reply(serial++));
    assert.match(wire.message!, 'Unable to decode message payload', name);
  }
  assert.equal(await client.call('connectNumOfStoragePools', undefined), { count: 0 });
  client.close();
});

test('a message of impossible length, or of an unexpected type, ends the connection', async ({ socket }) => {
  const long = await LibvirtClient.open(socket);
  long.socket.write(Buffer.from('ffffffff20008086', 'hex'));
  await long.ended();
  const event = await LibvirtClient.open(socket);
  event.send({ ...call(370, 1), type: MessageType.event }, NOTHING);
  await event.ended();
  const next = await LibvirtClient.open(socket);
  assert.equal(await next.call('connectNumOfStoragePools', undefined), { count: 0 });
  next.close();
});

test('packets of streams that do not exist are ignored', async ({ socket }) => {
  const client = await LibvirtClient.open(socket);
  client.packet('storageVolUpload', 77, Buffer.alloc(1000));
  client.packet('storageVolUpload', 77, NOTHING, MessageStatus.ok);
  assert.equal(await client.call('connectNumOfStoragePools', undefined), { count: 0 });
  client.close();
});

test('a ping is answered with a pong', async ({ socket }) => {
  const client = await LibvirtClient.open(socket);
  const ping = { ...call(1, 0), program: KEEPALIVE_PROGRAM, type: MessageType.event };
  client.send(ping, NOTHING);
  const pong = await client.take(({ program }) => program === KEEPALIVE_PROGRAM, 'pong');
  assert.equal([pong.procedure, pong.type], [2, MessageType.event]);
  client.close();
});

test('who may only read changes nothing, by socket or by flag', async ({ socket, readOnly }) => {
  for (const [path, flags] of [
    [readOnly, 0],
    [socket, 1],
  ] as const) {
    const client = await LibvirtClient.open(path, flags);
    const wire = await refusal(client.call('storagePoolDefineXml', { xml: poolXml('a', AWAY), flags: 0 }));
    assert.is(wire.code, 29);
    assert.is(wire.message, 'operation virStoragePoolDefineXML forbidden for read only access');
    assert.equal(await client.call('connectNumOfDefinedStoragePools', undefined), { count: 0 });
    client.close();
  }
});

test('the sockets have their modes', ({ socket, readOnly }) => {
  assert.equal([statSync(socket).mode & 0o777, statSync(readOnly).mode & 0o777], [0o640, 0o666]);
});

test('several clients see each other’s changes, and events of what they asked for', async ({ socket }) => {
  const [writer, watcher] = await Promise.all([LibvirtClient.open(socket), LibvirtClient.open(socket)]);
  const register = { eventId: 0, pool: undefined };
  const { callbackId } = await watcher.call('connectStoragePoolEventRegisterAny', register);
  const { pool } = await writer.call('storagePoolDefineXml', { xml: poolXml('a', AWAY), flags: 0 });
  const event = await watcher.take(({ type }) => type === MessageType.event, 'event');
  assert.is(event.procedure, 370);
  assert.is(event.body.readInt32BE(0), callbackId);
  const { pools, count } = await watcher.call('connectListAllStoragePools', { needResults: true, flags: 1 });
  assert.equal([pools, count], [[pool], 1]);
  const none = await watcher.call('connectListAllStoragePools', { needResults: true, flags: 2 });
  assert.is(none.count, 0);
  await watcher.call('connectStoragePoolEventDeregisterAny', { callbackId });
  const again = await refusal(watcher.call('connectStoragePoolEventDeregisterAny', { callbackId }));
  assert.is(again.code, 8);
  await writer.call('storagePoolUndefine', { pool });
  const gone = await refusal(writer.call('storagePoolGetInfo', { pool }));
  assert.is(gone.message, `Storage pool not found: no storage pool with matching uuid '${pool.uuid}' (a)`);
  writer.close();
  watcher.close();
});

test('flags that nobody knows are refused by name', async ({ socket }) => {
  const client = await LibvirtClient.open(socket);
  const wire = await refusal(client.call('connectGetStoragePoolCapabilities', { flags: 8 }));
  assert.is(
    wire.message,
    'invalid argument: unsupported flags (0x8) in function virConnectGetStoragePoolCapabilities',
  );
  client.close();
});

test('many calls at once are all answered', async ({ socket }) => {
  const client = await LibvirtClient.open(socket);
  const serials = Array.from({ length: 500 }, () => client.begin('connectNumOfStoragePools', undefined));
  for (const serial of serials) await client.reply(serial);
  client.close();
});

test('a second daemon on the same socket is refused, what a dead one left is replaced', async (world) => {
  const again = (socket: string) =>
    Daemon.start({
      socket,
      socketMode: 0o600,
      readOnlyMode: 0o600,
      configFolder: join(world.folder, 'config2'),
      stateFolder: join(world.folder, 'state2'),
      log: silentLogger,
    });
  try {
    (await again(world.socket)).stop();
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, 'another daemon listens');
  }
  (await again(join(world.folder, 'third'))).stop();
});

test.run();
