import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../src/base/random.js';
import { put, rejectsWith } from '../../helpers/coordinator-suite.js';
import { inSimulatedTime, MemoryWorld } from '../../helpers/coordinator-worlds.js';
import { MemoryCoordinatorCluster } from '../../helpers/memory-coordinator.js';
import { SimClock } from '../../helpers/sim-clock.js';

test('a cut client gets no answers, no events and no renewals; healed, it misses nothing', async () => {
  const world = new MemoryWorld();
  await world.run(async () => {
    const [a, b] = [await world.open('a'), await world.open('b')];
    const seen: number[] = [];
    b.watch('', 0, (events) => void seen.push(events[0]!.revision));
    const lease = await b.grantLease(400);
    await a.txn([], [put('k', '', lease.id)]);
    world.cluster.partition('b', true);
    await rejectsWith('network', b.get('k'));
    assert.ok(lease.validUntilMs() <= world.nowMs());
    await lease.lost;
    await a.txn([], [put('other', '')]);
    assert.equal(seen, []);
    world.cluster.partition('b', false);
    await world.sleep(50);
    assert.equal(seen, [1, 2, 3]);
    assert.is(await b.get('k'), undefined);
  });
});

test('a cut in the middle of a call leaves its outcome unknown', async () => {
  const outcomes = new Set<string>();
  for (let run = 0; run < 36; run++) {
    const world = new MemoryWorld('detected', run);
    await world.run(async () => {
      const [a, b] = [await world.open('a'), await world.open('b')];
      const call = a.txn([], [put('k', '')]).then(
        () => 'answered',
        () => 'unanswered',
      );
      await world.sleep(run % 12);
      world.cluster.partition('a', true);
      outcomes.add(`${await call}, ${(await b.get('k')) ? 'happened' : 'did not happen'}`);
    });
  }
  assert.equal([...outcomes].sort(), [
    'answered, happened',
    'unanswered, did not happen',
    'unanswered, happened',
  ]);
});

test('a power cut ends every lease and keeps the keys', async () => {
  const world = new MemoryWorld();
  await world.run(async () => {
    const a = await world.open('a');
    const lease = await a.grantLease(10_000);
    await a.txn([], [put('leased', '', lease.id), put('kept', '')]);
    world.cluster.powerCut();
    assert.equal(
      world.cluster.peek().map(({ key }) => key),
      ['kept'],
    );
  });
});

test('a clock that runs slow makes its holder believe longer, and the others see it end by theirs', async () => {
  const clock = new SimClock();
  const cluster = new MemoryCoordinatorCluster({ clock, random: new SeededRandom(1) });
  await inSimulatedTime(clock, async () => {
    const slow = clock.forNode('slow', 0.5);
    const lease = await cluster.clientFor('slow', slow).grantLease(1000);
    cluster.partition('slow', true);
    await new Promise<void>((resolve) => void clock.after(1100, resolve));
    assert.ok(lease.validUntilMs() > slow.nowMs());
    assert.equal(cluster.state.allLeases(), []);
  });
});

test('equal seeds make equal runs', async () => {
  const traces = [0, 1].map(async () => {
    const world = new MemoryWorld();
    await world.run(async () => {
      const handles = await Promise.all(['a', 'b', 'c'].map((name) => world.open(name)));
      await Promise.all(handles.map((handle, i) => handle.txn([], [put(`k${i}`, '')])));
      await handles[0]!.grantLease(100);
      await world.sleep(500);
    });
    return [world.clock.traceHash, JSON.stringify(world.cluster.state.image())];
  });
  const [one, two] = await Promise.all(traces);
  assert.equal(one, two);
});

test.run();
