import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep } from '../../../src/base/clock.js';
import type { Coordinator } from '../../../src/coord/coordinator.js';
import { put } from '../../helpers/coordinator-suite.js';
import { FakeLocalWorld, inSimulatedTime } from '../../helpers/coordinator-worlds.js';

/** A new log every few records, so that crashes fall on each step of a rotation too. */
const ROTATE_RECORDS = 6;

interface Told {
  readonly acknowledged: string[];
  readonly begun: string[];
}

/** Transactions of one handle; each writes a key of its own and the same value under a common key. */
async function work(handle: Coordinator, name: string, count: number, told: Told): Promise<void> {
  for (let i = 0; i < count; i++) {
    const key = `w/${name}/${i}`;
    told.begun.push(key);
    // A value longer than a page, now and then, can be torn.
    const value = i % 4 === 3 ? 'x'.repeat(9000) : '';
    await handle.txn([], [put(key, value), put('last', key)]);
    told.acknowledged.push(key);
  }
}

async function workload(world: FakeLocalWorld, told: Told): Promise<void> {
  const [a, b] = [await world.open('a'), await world.open('b')];
  const lease = await a.grantLease(1000);
  await a.txn([], [put('leased', '', lease.id)]);
  told.acknowledged.push('leased');
  await Promise.all([work(a, 'a', 12, told), work(b, 'b', 12, told)]);
}

/** What must hold after any crash and a new start. */
async function checkRestart(world: FakeLocalWorld, told: Told, what: string): Promise<void> {
  const handle = await world.open('c');
  const { entries } = await handle.list('');
  const found = new Map(entries.map((kv) => [kv.key, kv]));
  for (const key of told.acknowledged) {
    if (key !== 'leased') assert.ok(found.has(key), `${what}: ${key} was acknowledged`);
  }
  for (const kv of entries.filter(({ key }) => key.startsWith('w/'))) {
    assert.ok(told.begun.includes(kv.key), `${what}: ${kv.key} was asked for`);
    assert.is(kv.createRevision, kv.modRevision, `${what}: ${kv.key} was written once`);
  }
  // Atomic: the common key names the transaction that wrote last.
  const writers = entries.filter(({ key }) => key.startsWith('w/'));
  const newest = writers.sort((x, y) => y.modRevision - x.modRevision)[0];
  assert.is(found.get('last')?.value, newest?.key, what);
  await sleep(world.clock, 200);
  assert.is(await handle.get('leased'), undefined, `${what}: its holder is dead`);
  await handle.txn([], [put('after', '')]);
  await handle.close();
  const again = await world.open('d');
  assert.ok(await again.get('after'), what);
  await again.close();
}

async function countOps(): Promise<number> {
  const world = new FakeLocalWorld(3, { rotateRecords: ROTATE_RECORDS });
  const told = { acknowledged: [], begun: [] };
  await inSimulatedTime(world.clock, () => workload(world, told));
  const log = world.disk.list('coord').at(-1)!;
  assert.ok(Number.parseInt(log.slice(4), 16) >= 3, 'the workload rotates the log');
  return world.disk.opCount;
}

async function crashAt(op: number, powerCut: boolean, loseAll: boolean): Promise<void> {
  const world = new FakeLocalWorld(3 + op, { rotateRecords: ROTATE_RECORDS });
  const told: Told = { acknowledged: [], begun: [] };
  world.disk.crashAtOp(op);
  // The work never ends, as its promises do not settle; the crash does.
  const ended = Promise.race([world.disk.crashed, workload(world, told).catch(() => {})]);
  await inSimulatedTime(world.clock, () => ended.then(() => {}));
  world.crash({ powerCut, loseAll });
  const what = `crash at operation ${op}${powerCut ? ', power cut' : ''}${loseAll ? ', all lost' : ''}`;
  await inSimulatedTime(world.clock, () => checkRestart(world, told, what));
}

const variants: [string, boolean, boolean][] = [
  ['a kill of all processes', false, false],
  ['a power cut', true, false],
  ['a power cut that loses everything unsynced', true, true],
];

for (const [name, powerCut, loseAll] of variants) {
  test(`${name} at each disk operation keeps everything acknowledged, once`, async () => {
    const total = await countOps();
    for (let op = 0; op < total; op++) await crashAt(op, powerCut, loseAll);
  });
}

test('a record torn by a killed process stops nobody and is never applied', async () => {
  for (const length of [1, 3, 4, 20, 31, 32, 33, 60, 100, 9000]) {
    const world = new FakeLocalWorld(length);
    await world.run(async () => {
      const [a, b] = [await world.open('a'), await world.open('b')];
      await a.txn([], [put('before', '')]);
      world.disk.onOp = (op) => (op.kind === 'write' ? { type: 'short', length } : undefined);
      a.txn([], [put('torn', 'x'.repeat(10_000))]).catch(() => {});
      world.disk.onOp = undefined;
      world.kill('a');
      await b.txn([], [put('next', '')]);
      await b.txn([], [put('small', '')]);
      const { entries } = await b.list('');
      assert.equal(
        entries.map(({ key }) => key),
        ['before', 'next', 'small'],
      );
      const c = await world.open('c');
      assert.equal((await c.list('')).entries, entries, 'a reader that comes later decides the same');
    });
  }
});

test('garbage in the log is stepped over', async () => {
  const world = new FakeLocalWorld(5);
  await world.run(async () => {
    const [a, b] = [await world.open('a'), await world.open('b')];
    await a.txn([], [put('before', '')]);
    const file = world.disk.open('coord/log.00000001');
    for (const garbage of ['00'.repeat(600), 'fe534cff', 'fe534cff00000000', `fe534cff${'ff'.repeat(40)}`]) {
      file.append(Buffer.from(garbage, 'hex'));
      await b.txn([], [put(garbage.slice(0, 20), '')]);
    }
    assert.is((await a.list('')).entries.length, 5);
    const c = await world.open('c');
    assert.equal(await c.list(''), await a.list(''));
  });
});

test.run();
