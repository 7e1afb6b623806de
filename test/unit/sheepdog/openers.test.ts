import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { silentLogger } from '../../../src/base/log.js';
import { Openers } from '../../../src/sheepdog/openers.js';
import type { Client } from '../../../src/sheepdog/operation.js';
import type { DoorParts } from '../../../src/sheepdog/parts.js';
import type { Locks } from '../../../src/volume/locks.js';
import { LockWorld } from './lock-world.js';

class Host {
  readonly clients = new Set<FakeClient>();

  connect(address = '10.0.0.1'): FakeClient {
    const client = new FakeClient(address, this);
    this.clients.add(client);
    return client;
  }
}

class FakeClient implements Client {
  silent = true;
  readonly notes = new Map<symbol, unknown>();
  private readonly listeners: (() => void)[] = [];

  constructor(
    readonly address: string,
    private readonly host: Host,
  ) {}

  onClose(listener: () => void): void {
    this.listeners.push(listener);
  }

  close(): void {
    this.host.clients.delete(this);
    for (const listener of this.listeners.splice(0)) listener();
  }
}

async function setUp(exclusive = false) {
  const world = new LockWorld();
  const locks = await world.locks('a', exclusive);
  const host = new Host();
  const silentFrom = (address: string) =>
    [...host.clients].filter((client) => client.silent && client.address === address);
  const parts = { locks, clock: world.clock, log: silentLogger } as unknown as DoorParts;
  const openers = new Openers(parts, silentFrom);
  /** What QEMU does: a connection for I/O first, then the lock on another one, which is closed. */
  const open = async (address?: string): Promise<FakeClient> => {
    const io = host.connect(address);
    const other = host.connect(address);
    other.silent = false;
    await world.done(openers.lock(other, 'line', false));
    other.close();
    return io;
  };
  const write = (io: FakeClient) => {
    io.silent = false;
    return world.done(openers.mayWrite(io, 'line'));
  };
  const release = async (address?: string): Promise<boolean> => {
    const other = host.connect(address);
    other.silent = false;
    const released = await world.done(openers.release(other, 'line', false));
    other.close();
    return released;
  };
  return { world, locks, host, openers, open, write, release };
}

const count = (locks: Locks) => locks.holders('line').length;

test('a lock lives while the connection for I/O is there, though it says nothing', async () => {
  const { world, locks, open } = await setUp();
  const io = await open();
  await world.pass(60_000);
  assert.is(count(locks), 1);
  io.close();
  await world.pass(4000);
  assert.is(count(locks), 1, 'QEMU may be reconnecting');
  await world.pass(4000);
  assert.is(count(locks), 0);
});

test('a client that reconnects in time keeps its lock', async () => {
  const { world, locks, host, open, write } = await setUp();
  const io = await open();
  await write(io);
  io.close();
  await world.pass(1000);
  const again = host.connect();
  await write(again);
  await world.pass(60_000);
  assert.is(count(locks), 1);
});

test('after a migration the source is fenced, and its release leaves the target its lock', async () => {
  const { locks, open, write, release } = await setUp();
  const source = await open();
  await write(source);
  const target = await open();
  await write(source);
  await write(target);
  try {
    await write(source);
    assert.unreachable('the source has written');
  } catch (error) {
    assert.ok(AppError.isCode(error, 'vdi-locked'), String(error));
  }
  const [, mine] = locks.holders('line');
  assert.ok(await release());
  assert.equal(
    locks.holders('line').map((holder) => holder.id),
    [mine!.id],
  );
  await write(target);
});

test('a reader that comes and goes fences nobody', async () => {
  const { locks, open, write, release } = await setUp();
  const guest = await open();
  await write(guest);
  const reader = await open();
  assert.ok(await release());
  reader.close();
  await write(guest);
  assert.is(count(locks), 1);
});

test('a connection without a lock may write when locks refuse nobody', async () => {
  const { host, write } = await setUp();
  await write(host.connect());
});

test('with exclusive locks who works on after the end of its lock takes it anew, or is refused', async () => {
  const { world, locks, open, write } = await setUp(true);
  const io = await open();
  await write(io);
  await world.done(locks.unlock('line', () => true));
  await write(io);
  assert.is(count(locks), 1);
  await world.done(locks.unlock('line', () => true));
  const other = await open('10.0.0.2');
  await write(other);
  try {
    await write(io);
    assert.unreachable('two clients have written');
  } catch (error) {
    assert.ok(AppError.isCode(error, 'vdi-locked'), String(error));
  }
});

test.run();
