import * as assert from 'uvu/assert';
import { AppError } from '../../src/base/errors.js';
import type { Coordinator, KeyValue, Lease, WatchEvent } from '../../src/coord/coordinator.js';

/** One store and the processes around it, as a driver's test sets it up. */
export interface CoordinatorWorld {
  /** A handle of its own, as another process would open it. */
  open(name: string): Promise<Coordinator>;
  /** The process of that name dies without a word. */
  kill(name: string): void;
  /** The process of that name stops, and goes on (SIGSTOP, SIGCONT). Absent where it cannot be done. */
  freeze?(name: string, frozen: boolean): void;
  /** Time to live of the suite's leases; SUITE_TTL_MS without. */
  readonly ttlMs?: number;
  nowMs(): number;
  sleep(delayMs: number): Promise<void>;
  /** Runs a test's body with a deadline, and cleans up. */
  run(body: () => Promise<void>): Promise<void>;
}

export const SUITE_TTL_MS = 300;

/** What every driver promises (coordinator.ts). Adds one uvu test for each promise. */
export function coordinatorSuite(
  test: (name: string, run: () => Promise<void>) => void,
  driver: string,
  makeWorld: () => CoordinatorWorld | Promise<CoordinatorWorld>,
): void {
  const promise = (name: string, body: (world: CoordinatorWorld) => Promise<void>): void => {
    test(`${driver}: ${name}`, async () => {
      const world = await makeWorld();
      await world.run(() => body(world));
    });
  };
  transactions(promise);
  watches(promise);
  leases(promise);
  lifetimes(promise);
}

type AddPromise = (name: string, body: (world: CoordinatorWorld) => Promise<void>) => void;

function transactions(promise: AddPromise): void {
  promise('a transaction writes all its keys at one revision', async (world) => {
    const a = await world.open('a');
    const { ok, revision } = await a.txn([], [put('x', '1'), put('y', '2'), put('z', '3')]);
    assert.ok(ok);
    const { entries } = await a.list('');
    assert.equal(
      entries.map((kv) => [kv.key, kv.value, kv.modRevision, kv.createRevision]),
      [
        ['x', '1', revision, revision],
        ['y', '2', revision, revision],
        ['z', '3', revision, revision],
      ],
    );
  });

  promise('every kind of comparison decides, and a failed one changes nothing', async (world) => {
    const a = await world.open('a');
    const { revision } = await a.txn([], [put('k', 'v')]);
    const holding = [
      { key: 'k', exists: true },
      { key: 'k', value: 'v' },
      { key: 'k', modRevision: revision },
      { key: 'none', exists: false },
      { key: 'none', modRevision: 0 },
    ];
    const failing = [
      { key: 'k', exists: false },
      { key: 'k', value: 'w' },
      { key: 'k', modRevision: revision + 1 },
      { key: 'none', exists: true },
      { key: 'none', value: '' },
    ];
    for (const compare of holding) assert.ok((await a.txn([compare], [])).ok, JSON.stringify(compare));
    for (const compare of failing) {
      const result = await a.txn([...holding, compare], [put('other', '1')]);
      assert.is(result.ok, false, JSON.stringify(compare));
    }
    assert.is(await a.get('other'), undefined);
    assert.is((await a.list('')).revision, revision);
  });

  promise(
    'the revision rises with each transaction that changed something, and not otherwise',
    async (world) => {
      const a = await world.open('a');
      const first = (await a.txn([], [put('k', '1')])).revision;
      const second = (await a.txn([], [put('k', '1')])).revision;
      assert.ok(second > first);
      assert.is((await a.txn([], [{ type: 'delete', key: 'absent' }])).revision, second);
      const third = (await a.txn([], [{ type: 'delete', key: 'k' }])).revision;
      assert.ok(third > second);
      const fourth = (await a.txn([], [put('k', '2')])).revision;
      assert.ok(fourth > third);
      assert.is((await a.get('k'))?.createRevision, fourth);
    },
  );

  promise('of several operations on one key in a transaction the last one counts', async (world) => {
    const a = await world.open('a');
    await a.txn([], [put('e/1', ''), put('e/2', ''), put('f', '')]);
    const deleteAll = { type: 'delete-prefix' as const, prefix: 'e/' };
    await a.txn([], [put('e/0', ''), deleteAll, put('e/2', 'x'), put('e/3', ''), put('e/3', 'y')]);
    const { entries } = await a.list('');
    assert.equal(
      entries.map((kv) => [kv.key, kv.value]),
      [
        ['e/2', 'x'],
        ['e/3', 'y'],
        ['f', ''],
      ],
    );
    await a.txn([], [put('g', ''), { type: 'delete', key: 'f' }, { type: 'delete', key: 'g' }, deleteAll]);
    assert.equal((await a.list('')).entries, []);
  });

  promise('a transaction may have a hundred comparisons and hundreds of operations', async (world) => {
    const a = await world.open('a');
    const keys = Array.from({ length: 300 }, (_, i) => `k/${String(i).padStart(3, '0')}`);
    const some = keys.slice(0, 100);
    const { ok, revision } = await a.txn(
      some.map((key) => ({ key, exists: false })),
      keys.map((key) => put(key, 'x')),
    );
    assert.ok(ok);
    const { entries } = await a.list('k/');
    assert.equal(keysOf(entries), keys);
    assert.ok(entries.every((kv) => kv.modRevision === revision));
    const wrong = some.map((key, i) => ({ key, value: i === 99 ? 'y' : 'x' }));
    const deletions = keys.map((key) => ({ type: 'delete' as const, key }));
    assert.not((await a.txn(wrong, deletions)).ok);
    assert.is((await a.list('k/')).entries.length, 300);
  });

  promise('deleting a prefix deletes the keys under it and no other', async (world) => {
    const a = await world.open('a');
    await a.txn(
      [],
      [put('a', ''), put('a/', ''), put('a/1', ''), put('a/2', ''), put('a0', ''), put('b', '')],
    );
    await a.txn([], [{ type: 'delete-prefix', prefix: 'a/' }]);
    assert.equal(keysOf((await a.list('')).entries), ['a', 'a0', 'b']);
  });

  promise('values and keys are any text', async (world) => {
    const [a, b] = [await world.open('a'), await world.open('b')];
    const value = 'é\u0000\n"\\\u{1f411}\u2028';
    await a.txn([], [put(`k/${value}`, value)]);
    assert.is((await b.get(`k/${value}`))?.value, value);
  });

  promise('counters incremented by several handles at once lose no increment', async (world) => {
    const handles = await Promise.all(['a', 'b', 'c', 'd'].map((name) => world.open(name)));
    await Promise.all(handles.map((handle) => increment(handle, 'counter', 15)));
    assert.is((await handles[0]!.get('counter'))?.value, '60');
  });

  promise('what one handle was promised every other sees at once', async (world) => {
    const [a, b] = [await world.open('a'), await world.open('b')];
    for (let i = 0; i < 20; i++) {
      const { revision } = await a.txn([], [put('k', String(i))]);
      assert.is((await b.get('k'))?.value, String(i));
      assert.ok((await b.list('')).revision >= revision);
    }
  });
}

function watches(promise: AddPromise): void {
  promise('list and watch together are an exact mirror, under load', async (world) => {
    const names = ['a', 'b', 'c'];
    const [a, b, c] = await Promise.all(names.map((name) => world.open(name)));
    const load = [churn(a!, 1), churn(b!, 2)];
    await world.sleep(5);
    const mirror = await openMirror(c!, 'm/');
    await Promise.all(load);
    const { entries, revision } = await a!.list('m/');
    await a!.txn([], [put('m/end', '')]);
    await until(world, () => mirror.keys.has('m/end'));
    mirror.keys.delete('m/end');
    assert.equal([...mirror.keys.values()].sort(byKey), entries);
    assert.ok(mirror.revisions.length > 20 && mirror.revisions.at(-1)! > revision);
    const rising = [...new Set(mirror.revisions)].sort((x, y) => x - y);
    assert.equal(mirror.revisions, rising, 'one call per revision, in order');
  });

  promise('a watch from an old revision tells everything since', async (world) => {
    const a = await world.open('a');
    const { revision } = await a.txn([], [put('k', '0')]);
    const first = await a.txn([], [put('k', '1'), put('other', '')]);
    await a.txn([], [put('other', 'x')]);
    const second = await a.txn([], [{ type: 'delete', key: 'k' }]);
    const seen: WatchEvent[] = [];
    a.watch('k', revision, (events) => void seen.push(...events));
    const third = await a.txn([], [put('k', '2')]);
    await until(world, () => seen.length >= 3);
    const told = seen.map((event) => [event.type === 'put' ? event.kv.value : 'deleted', event.revision]);
    assert.equal(told, [
      ['1', first.revision],
      ['deleted', second.revision],
      ['2', third.revision],
    ]);
  });

  promise('a cancelled watch is silent, and its neighbours go on', async (world) => {
    const [a, b] = [await world.open('a'), await world.open('b')];
    const { revision } = await b.list('');
    let cancelled = 0;
    let kept = 0;
    const watch = b.watch('', revision, () => {
      cancelled++;
      watch.cancel();
    });
    b.watch('', revision, () => void kept++);
    for (let i = 0; i < 5; i++) await a.txn([], [put('k', String(i))]);
    await until(world, () => kept === 5);
    assert.is(cancelled, 1);
  });
}

function leases(promise: AddPromise): void {
  promise('a revoked lease takes its keys along at one revision', async (world) => {
    const [a, b] = [await world.open('a'), await world.open('b')];
    const lease = await a.grantLease(ttlOf(world));
    await a.txn([], [put('l/1', '', lease.id), put('l/2', '', lease.id), put('l/3', '')]);
    assert.is((await b.get('l/1'))?.lease, lease.id);
    const mirror = await openMirror(b, 'l/');
    await lease.revoke();
    await lease.lost;
    assert.equal(keysOf((await b.list('l/')).entries), ['l/3']);
    await until(world, () => mirror.keys.size === 1);
    assert.is(mirror.revisions.length, 1);
    assert.ok(lease.validUntilMs() <= world.nowMs());
  });

  promise('a put on a lease that is gone is refused whole', async (world) => {
    const a = await world.open('a');
    const lease = await a.grantLease(ttlOf(world));
    await lease.revoke();
    await rejectsWith('cluster-error', a.txn([], [put('x', ''), put('y', '', lease.id)]));
    assert.equal((await a.list('')).entries, []);
  });

  promise('a key put again without the lease outlives it', async (world) => {
    const a = await world.open('a');
    const lease = await a.grantLease(ttlOf(world));
    await a.txn([], [put('stays', '', lease.id), put('goes', '', lease.id)]);
    await a.txn([], [put('stays', 'x')]);
    await lease.revoke();
    assert.equal(keysOf((await a.list('')).entries), ['stays']);
  });

  promise('a lease that is kept alive outlives its time many times', async (world) => {
    const [a, b] = [await world.open('a'), await world.open('b')];
    const lease = await a.grantLease(ttlOf(world));
    await a.txn([], [put('k', '', lease.id)]);
    for (let i = 0; i < 12; i++) {
      await world.sleep(ttlOf(world) / 3);
      assert.ok(lease.validUntilMs() > world.nowMs());
    }
    assert.ok(await b.get('k'));
  });

  promise('the lease of a dead process ends and its keys are deleted', async (world) => {
    const [a, b] = [await world.open('a'), await world.open('b')];
    const lease = await a.grantLease(ttlOf(world));
    await a.txn([], [put('k', '', lease.id)]);
    const mirror = await openMirror(b, '');
    world.kill('a');
    const startMs = world.nowMs();
    b.suspect(lease.id);
    await until(world, () => mirror.keys.size === 0);
    assert.ok(world.nowMs() - startMs < 2 * ttlOf(world));
  });

  promise('a holder that was frozen finds its lease over before others act', async (world) => {
    if (!world.freeze) return;
    const [a, b] = [await world.open('a'), await world.open('b')];
    const lease = await a.grantLease(ttlOf(world));
    await a.txn([], [put('k', '', lease.id)]);
    const mirror = await openMirror(b, '');
    await world.sleep(ttlOf(world));
    let lost = false;
    void lease.lost.then(() => (lost = true));
    const validMs = lease.validUntilMs();
    world.freeze('a', true);
    await until(world, () => mirror.keys.size === 0);
    assert.ok(world.nowMs() > validMs, 'others waited until the validity was over');
    assert.ok(lease.validUntilMs() <= world.nowMs(), 'the frozen holder still counts by what it knew');
    assert.not(lost);
    world.freeze('a', false);
    await until(world, () => lost);
    await rejectsWith('cluster-error', a.txn([], [put('k', '', lease.id)]));
    await withFreshLease(world, a);
  });
}

function lifetimes(promise: AddPromise): void {
  promise('everything is there after all handles were closed and opened again', async (world) => {
    const a = await world.open('a');
    for (let i = 0; i < 30; i++) await a.txn([], [put(`k/${i}`, String(i))]);
    await a.txn([], [{ type: 'delete', key: 'k/7' }]);
    const before = await a.list('');
    await a.close();
    const again = await world.open('a');
    assert.equal(await again.list(''), before);
  });

  promise('a closed handle gives its leases back and refuses every call', async (world) => {
    const [a, b] = [await world.open('a'), await world.open('b')];
    const lease = await a.grantLease(60_000);
    await a.txn([], [put('k', '', lease.id)]);
    await a.close();
    await lease.lost;
    assert.is(await b.get('k'), undefined);
    await rejectsWith('shutdown', a.get('k'));
    await rejectsWith('shutdown', a.txn([], []));
    await rejectsWith('shutdown', a.grantLease(1000));
    await a.close();
  });
}

async function withFreshLease(world: CoordinatorWorld, handle: Coordinator): Promise<Lease> {
  const lease = await handle.grantLease(ttlOf(world));
  await handle.txn([], [put('fresh', '', lease.id)]);
  return lease;
}

function ttlOf(world: CoordinatorWorld): number {
  return world.ttlMs ?? SUITE_TTL_MS;
}

export function put(
  key: string,
  value: string,
  lease?: string,
): { type: 'put'; key: string; value: string; lease?: string } {
  return { type: 'put', key, value, ...(lease !== undefined && { lease }) };
}

/** Adds to a counter by compare and swap, again after each collision. */
export async function increment(handle: Coordinator, key: string, times: number): Promise<void> {
  for (let done = 0; done < times; ) {
    const found = await handle.get(key);
    const value = String(Number(found?.value ?? 0) + 1);
    const compare = { key, modRevision: found?.modRevision ?? 0 };
    if ((await handle.txn([compare], [put(key, value)])).ok) done++;
  }
}

/** Puts and deletes, some of them together, in a pattern of its own. */
async function churn(handle: Coordinator, seed: number): Promise<void> {
  for (let i = 0; i < 40; i++) {
    const key = `m/${(i * 7 + seed) % 11}`;
    await handle.txn(
      [],
      i % 3 === 0 ? [{ type: 'delete', key }] : [put(key, `${seed}-${i}`), put(`n/${i}`, '')],
    );
  }
}

async function openMirror(
  handle: Coordinator,
  prefix: string,
): Promise<{ keys: Map<string, KeyValue>; revisions: number[] }> {
  const { entries, revision } = await handle.list(prefix);
  const keys = new Map(entries.map((kv) => [kv.key, kv]));
  const revisions: number[] = [];
  handle.watch(prefix, revision, (events) => {
    revisions.push(events[0]!.revision);
    for (const event of events) {
      if (event.type === 'put') keys.set(event.kv.key, event.kv);
      else keys.delete(event.key);
    }
  });
  return { keys, revisions };
}

async function until(world: CoordinatorWorld, condition: () => boolean): Promise<void> {
  const endMs = world.nowMs() + 5000;
  while (!condition()) {
    if (world.nowMs() > endMs) throw new Error('waited 5 s in vain');
    await world.sleep(2);
  }
}

export async function rejectsWith(code: AppError['code'], promise: Promise<unknown>): Promise<void> {
  const outcome = await promise.then(
    () => 'resolved',
    (error: unknown) => (error instanceof AppError ? error.code : String(error)),
  );
  assert.is(outcome, code);
}

function keysOf(entries: readonly KeyValue[]): string[] {
  return entries.map((kv) => kv.key);
}

function byKey(a: KeyValue, b: KeyValue): number {
  return a.key < b.key ? -1 : 1;
}
