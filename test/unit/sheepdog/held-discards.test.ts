import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger } from '../../../src/base/log.js';
import { HeldDiscards } from '../../../src/sheepdog/held-discards.js';
import type { Client } from '../../../src/sheepdog/operation.js';

class FakeClient implements Client {
  readonly address = '127.0.0.1';
  readonly silent = false;
  readonly notes = new Map<symbol, unknown>();
  private readonly listeners: (() => void)[] = [];

  onClose(listener: () => void): void {
    this.listeners.push(listener);
  }

  close(): void {
    for (const listener of this.listeners) listener();
  }
}

function setUp() {
  const held = new HeldDiscards(silentLogger);
  const client = new FakeClient();
  const done: number[] = [];
  /** A request that zeroes one index entry. */
  const zero = async (index: number): Promise<void> => {
    await held.before(client, true);
    await held.run(client, 1, async () => {
      done.push(index);
    });
  };
  const other = async (): Promise<void> => {
    await held.before(client, false);
  };
  return { client, done, zero, other };
}

test('zeros from a connection that has done something else are discards at once', async () => {
  const { done, zero, other } = setUp();
  await other();
  await zero(1);
  assert.equal(done, [1]);
});

test('zeros from a connection that ends afterwards never happen', async () => {
  const { client, done, zero, other } = setUp();
  await zero(1);
  await zero(2);
  client.close();
  await other();
  assert.equal(done, []);
});

test('zeros are carried out, in order, before the next request of another kind', async () => {
  const { done, zero, other } = setUp();
  await zero(3);
  await zero(1);
  assert.equal(done, []);
  await other();
  assert.equal(done, [3, 1]);
  await zero(2);
  assert.equal(done, [3, 1, 2]);
});

test('what is held back is bounded', async () => {
  const held = new HeldDiscards(silentLogger);
  const client = new FakeClient();
  let done = 0;
  for (let i = 0; i < 4; i++) {
    await held.before(client, true);
    await held.run(client, 500_000, async () => void done++);
  }
  await held.before(client, false);
  assert.is(done, 2);
});

test.run();
