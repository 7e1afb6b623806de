import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SimClock } from '../../helpers/sim-clock.js';

async function jobs(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await null;
}

function failureOf(run: Promise<void>): Promise<string> {
  return run.then(
    () => 'none',
    (error: Error) => error.message,
  );
}

test('events run in the order of their times, ties in the order they were asked for', async () => {
  const clock = new SimClock();
  const seen: string[] = [];
  for (const [at, name] of [
    [5, 'c'],
    [1, 'a'],
    [5, 'd'],
    [3, 'b'],
  ] as const) {
    clock.after(at, () => seen.push(`${name}${clock.nowMs()}`));
  }
  await clock.run({ untilMs: 100 });
  assert.equal(seen, ['a1', 'b3', 'c5', 'd5']);
  assert.is(clock.nowMs(), 100);
});

test('ten thousand random timers come out sorted', async () => {
  const clock = new SimClock();
  let last = -1;
  let count = 0;
  for (let i = 0; i < 10_000; i++) {
    const at = (i * 7919) % 10_007;
    clock.after(at, () => {
      assert.ok(at >= last);
      last = at;
      count++;
    });
  }
  await clock.run({ untilMs: 20_000 });
  assert.is(count, 10_000);
});

test('all promise jobs of an event end before the next event, however many', async () => {
  const clock = new SimClock();
  const seen: string[] = [];
  clock.after(1, async () => {
    await jobs(500);
    seen.push('jobs of the first');
  });
  clock.after(1, () => seen.push('second'));
  await clock.run({ untilMs: 10 });
  assert.equal(seen, ['jobs of the first', 'second']);
});

test('a cancelled timer never fires', async () => {
  const clock = new SimClock();
  let fired = false;
  const timer = clock.after(5, () => {
    fired = true;
  });
  clock.after(1, () => timer.cancel());
  await clock.run({ untilMs: 10 });
  assert.not.ok(fired);
});

test('the stop condition ends a run, and the next run goes on from there', async () => {
  const clock = new SimClock();
  let count = 0;
  const again = (): void => {
    count++;
    clock.after(1, again);
  };
  again();
  await clock.run({ untilMs: 1000, stop: () => count === 3 });
  assert.is(clock.nowMs(), 2);
  await clock.run({ untilMs: 5 });
  assert.is(count, 6);
});

test('an exception in an event ends the run with it, an endless loop with an error', async () => {
  const clock = new SimClock();
  clock.after(1, () => {
    throw new Error('broken belief');
  });
  assert.is(await failureOf(clock.run({ untilMs: 10 })), 'broken belief');
  const loop = (): void => clock.defer(loop);
  loop();
  assert.match(await failureOf(clock.run({ untilMs: 10, eventsMax: 1000 })), 'endless');
});

test('nothing of a killed node runs, and its listeners hear of it', async () => {
  const clock = new SimClock();
  const node = clock.forNode('n0');
  const seen: string[] = [];
  node.after(5, () => seen.push('dead node ran'));
  node.onDeath(() => seen.push('died'));
  clock.after(3, () => node.kill());
  clock.after(4, () => node.defer(() => seen.push('dead node ran')));
  await clock.run({ untilMs: 10 });
  assert.equal(seen, ['died']);
});

test('a frozen node runs what was due when it thaws, in order, while time went on', async () => {
  const clock = new SimClock();
  const node = clock.forNode('n0');
  const seen: string[] = [];
  node.after(1, () => seen.push(`a${node.nowMs()}`));
  node.after(2, () => seen.push(`b${node.nowMs()}`));
  node.after(60, () => seen.push(`c${node.nowMs()}`));
  node.freeze();
  clock.after(50, () => node.thaw());
  await clock.run({ untilMs: 100 });
  assert.equal(seen, ['a50', 'b50', 'c60']);
});

test('a fast clock fires early in the time of the world', async () => {
  const clock = new SimClock();
  const node = clock.forNode('n0', 2);
  let at = 0;
  node.after(10, () => {
    at = clock.nowMs();
    assert.is(node.nowMs(), 10);
  });
  await clock.run({ untilMs: 100 });
  assert.is(at, 5);
});

test.run();
