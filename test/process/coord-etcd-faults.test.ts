// run: quick
// deadline: 180 s
/** The etcd driver when members of etcd die, freeze and forget: nothing lost, doubled or missed. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { AppError } from '../../src/base/errors.js';
import type { Coordinator } from '../../src/coord/coordinator.js';
import { put } from '../helpers/coordinator-suite.js';
import { EtcdWorld } from '../helpers/coordinator-worlds.js';
import { EtcdCluster, type EtcdClusterOptions } from '../helpers/etcd-cluster.js';
import { within } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';

const withEtcd = requires(test, 'etcd', 'etcdctl');
const QUIET_MS = 10_000;

async function inWorld(
  options: EtcdClusterOptions,
  body: (etcd: EtcdCluster, world: EtcdWorld) => Promise<void>,
): Promise<void> {
  const etcd = await EtcdCluster.start(options);
  try {
    const world = new EtcdWorld(etcd);
    await world.run(() => body(etcd, world));
  } finally {
    await etcd.stop();
  }
}

interface Hammer {
  readonly acknowledged: string[];
  unknown: number;
  stop(): Promise<void>;
}

/** Counts in one shared counter, leaves one key for each count, and puts keys that nothing guards. */
function hammer(coordinator: Coordinator, name: string): Hammer {
  let stopped = false;
  const state = { acknowledged: [] as string[], unknown: 0 };
  const attempt = async (key: string, work: () => Promise<boolean>): Promise<void> => {
    try {
      if (await work()) state.acknowledged.push(key);
    } catch (error) {
      if (!AppError.isCode(error, 'network')) throw error;
      state.unknown++;
    }
  };
  const run = async (): Promise<void> => {
    for (let i = 0; !stopped; i++) {
      const [count, free] = [`count/${name}/${i}`, `free/${name}/${i}`];
      await attempt(count, async () => {
        const total = await coordinator.get('total');
        const value = String(Number(total?.value ?? 0) + 1);
        const same = { key: 'total', modRevision: total?.modRevision ?? 0 };
        return (await coordinator.txn([same], [put('total', value), put(count, value)])).ok;
      });
      await attempt(free, async () => (await coordinator.txn([], [put(free, '')])).ok);
    }
  };
  const running = run();
  running.catch(() => {});
  return Object.assign(state, {
    stop: () => {
      stopped = true;
      return running;
    },
  });
}

async function checkHistory(coordinator: Coordinator, hammers: readonly Hammer[]): Promise<void> {
  const { entries } = await coordinator.list('');
  const found = new Map(entries.map((kv) => [kv.key, kv]));
  for (const { acknowledged } of hammers) {
    for (const key of acknowledged) assert.ok(found.has(key), `${key} was acknowledged`);
  }
  for (const kv of entries) {
    if (kv.key !== 'total') assert.is(kv.createRevision, kv.modRevision, `${kv.key} was written once`);
  }
  const counts = entries.filter(({ key }) => key.startsWith('count/'));
  assert.is(Number(found.get('total')?.value), counts.length);
  assert.is(new Set(counts.map(({ value }) => value)).size, counts.length);
}

/** A mirror of everything, and whether what it was told adds up. */
async function mirror(
  coordinator: Coordinator,
): Promise<{ keys: Map<string, string>; inOrder: () => boolean }> {
  const { entries, revision } = await coordinator.list('');
  const keys = new Map(entries.map((kv) => [kv.key, kv.value]));
  let last = revision;
  let inOrder = true;
  coordinator.watch('', revision, (events) => {
    for (const event of events) {
      inOrder &&= event.revision >= last;
      last = event.revision;
      if (event.type === 'put') keys.set(event.kv.key, event.kv.value);
      else keys.delete(event.key);
    }
  });
  return { keys, inOrder: () => inOrder };
}

async function mustAgree(coordinator: Coordinator, keys: ReadonlyMap<string, string>): Promise<void> {
  await within(QUIET_MS, 'the mirror is what the store holds', async () => {
    const { entries } = await coordinator.list('');
    return entries.length === keys.size && entries.every((kv) => keys.get(kv.key) === kv.value);
  });
}

withEtcd('leaders are killed and frozen under load: nothing is lost, doubled or missed', () =>
  inWorld({ members: 3 }, async (etcd, world) => {
    const handles = await Promise.all(['a', 'b', 'c'].map((name) => world.open(name)));
    const watcher = await world.open('w');
    const seen = await mirror(watcher);
    const hammers = handles.map((handle, i) => hammer(handle, String(i)));
    const total = (): number => hammers.reduce((sum, one) => sum + one.acknowledged.length, 0);
    const goesOn = (): Promise<unknown> => {
      const before = total();
      return within(QUIET_MS, 'transactions go on', () => total() > before + 50);
    };
    await goesOn();
    const killed = await etcd.leader();
    await etcd.kill(killed);
    await goesOn();
    etcd.launch(killed);
    await etcd.untilHealthy();
    const frozen = await etcd.leader();
    etcd.signal(frozen, 'SIGSTOP');
    await goesOn();
    etcd.signal(frozen, 'SIGCONT');
    await goesOn();
    for (const one of hammers) await one.stop();
    await checkHistory(watcher, hammers);
    await mustAgree(watcher, seen.keys);
    assert.ok(seen.inOrder());
    const unknown = hammers.reduce((sum, one) => sum + one.unknown, 0);
    process.stdout.write(`  ${total()} transactions acknowledged, ${unknown} unknown\n`);
  }),
);

withEtcd('a watcher that was cut off while etcd compacted is told exactly the difference', () =>
  inWorld({ members: 3 }, async (etcd, world) => {
    const cut = ((await etcd.leader()) + 1) % 3;
    const others = [0, 1, 2].filter((i) => i !== cut);
    const writer = await world.open('w', { members: others });
    await writer.txn([], [put('stays', '1'), put('goes', '1'), put('changes', '1')]);
    // This one knows a single member.
    const lonely = await world.open('lonely', { members: [cut] });
    const seen = await mirror(lonely);
    const lease = await lonely.grantLease(1000);
    etcd.signal(cut, 'SIGSTOP');
    await writer.txn([], [{ type: 'delete', key: 'goes' }, put('changes', '2'), put('comes', '1')]);
    for (let i = 0; i < 20; i++) await writer.txn([], [put('often', String(i))]);
    // Long enough for the stream to be given up, and for the lease to end.
    await sleep(systemClock, 4000);
    await within(QUIET_MS, 'etcd compacts', () => etcd.compact(others[0]).then(() => true));
    assert.not(seen.keys.has('comes'));
    etcd.signal(cut, 'SIGCONT');
    await mustAgree(writer, seen.keys);
    assert.ok(seen.inOrder());
    assert.is(seen.keys.get('often'), '19');
    await lease.lost;
    await writer.txn([], [put('later', 'x')]);
    await within(QUIET_MS, 'what comes later is told too', () => seen.keys.get('later') === 'x');
  }),
);

withEtcd('etcd is away for longer than a lease: its holder stops, and goes on with the same lease', () =>
  inWorld({ members: 1 }, async (etcd, world) => {
    const holder = await world.open('h');
    const lease = await holder.grantLease(2000);
    await holder.txn([], [put('node', '', lease.id)]);
    let lost = false;
    void lease.lost.then(() => {
      lost = true;
    });
    await etcd.kill(0);
    const gone = holder.get('node').catch((error: unknown) => error);
    await sleep(systemClock, 4000);
    assert.ok(lease.validUntilMs() < systemClock.nowMs(), 'it must not act any more');
    etcd.launch(0);
    await within(QUIET_MS, 'the lease is valid again', () => lease.validUntilMs() > systemClock.nowMs());
    assert.not(lost);
    assert.ok(await holder.get('node'));
    const answer = await gone;
    assert.ok(!(answer instanceof Error) || AppError.isCode(answer, 'network'));
  }),
);

/** etcd before 3.4.31 and 3.5.13: the old leader, as it wakes, ends all leases of which it missed the renewals. */
withEtcd('a leader of etcd that wakes after a freeze ends no lease of ours', () =>
  inWorld({ members: 3 }, async (etcd, world) => {
    const holder = await world.open('h');
    const watcher = await world.open('w');
    const leases = await Promise.all(Array.from({ length: 10 }, () => holder.grantLease(4000)));
    for (const { id } of leases) await holder.txn([], [put(`node/${id}`, '', id)]);
    const { revision } = await watcher.list('');
    let gone = 0;
    watcher.watch('node/', revision, (events) => {
      gone += events.filter(({ type }) => type === 'delete').length;
    });
    for (let round = 0; round < 3; round++) {
      const frozen = await etcd.leader();
      etcd.signal(frozen, 'SIGSTOP');
      await sleep(systemClock, 4000);
      etcd.signal(frozen, 'SIGCONT');
      await sleep(systemClock, 1000);
      assert.ok(leases.every((lease) => lease.validUntilMs() > systemClock.nowMs()));
    }
    assert.is(gone, 0);
    assert.is((await watcher.list('node/')).entries.length, leases.length);
  }),
);

withEtcd('the lease of a holder that falls silent ends when it has stopped acting, and soon after', () =>
  inWorld({ members: 1 }, async (_etcd, world) => {
    const [holder, watcher] = [await world.open('h'), await world.open('w')];
    const lease = await holder.grantLease(2000);
    await holder.txn([], [put('node', '', lease.id)]);
    const seen = await mirror(watcher);
    await sleep(systemClock, 3000);
    assert.ok(seen.keys.has('node'));
    const validMs = lease.validUntilMs();
    holder.abandon();
    const silentMs = systemClock.nowMs();
    await within(QUIET_MS, 'its key is gone', () => !seen.keys.has('node'));
    assert.ok(systemClock.nowMs() > validMs);
    assert.ok(systemClock.nowMs() - silentMs < 5000, `after ${systemClock.nowMs() - silentMs} ms`);
  }),
);

test.run();
