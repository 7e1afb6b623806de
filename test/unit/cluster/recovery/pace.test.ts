/** Whose turn it is, and when: with a clock that the test turns. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Clock } from '../../../../src/base/clock.js';
import { Foreground } from '../../../../src/cluster/objects/foreground.js';
import { EpochEnded } from '../../../../src/cluster/objects/object-node.js';
import { COMPARE_COST_BYTES, RecoveryPace } from '../../../../src/cluster/recovery/pace.js';
import { defaultPaceLimits } from '../../../../src/cluster/recovery/pace-controller.js';

const MIB = 1024 * 1024;

class TestClock implements Clock {
  private timeMs = 1_000_000;
  private timers: { atMs: number; run: () => void }[] = [];

  nowMs(): number {
    return this.timeMs;
  }

  wallMs(): number {
    return this.timeMs;
  }

  after(delayMs: number, run: () => void) {
    const timer = { atMs: this.timeMs + delayMs, run };
    this.timers.push(timer);
    return {
      cancel: () => {
        this.timers = this.timers.filter((t) => t !== timer);
      },
    };
  }

  defer(run: () => void): void {
    queueMicrotask(run);
  }

  get pending(): number {
    return this.timers.length;
  }

  async advance(ms: number): Promise<void> {
    const endMs = this.timeMs + ms;
    for (;;) {
      const next = this.timers.filter((t) => t.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.timers = this.timers.filter((t) => t !== next);
      this.timeMs = Math.max(this.timeMs, next.atMs);
      next.run();
      await settle();
    }
    this.timeMs = endMs;
    await settle();
  }
}

/** Lets everything happen that waits for nothing but its turn. */
async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

function setUp() {
  const clock = new TestClock();
  const foreground = new Foreground(clock);
  const state = { paused: false };
  const pace = new RecoveryPace({ clock, foreground, paused: () => state.paused });
  return { clock, foreground, state, pace };
}

/** Clients at work: so many operations in each 10 ms, until stopped. */
function clients(clock: TestClock, foreground: Foreground, tookMs: number) {
  const state = { tookMs, stopped: false };
  const tick = () => {
    if (state.stopped) return;
    const begin = foreground.begin();
    if (begin > 0) {
      for (let i = 0; i < 5; i++) foreground.end(begin - state.tookMs);
    }
    clock.after(10, tick);
  };
  tick();
  return state;
}

test('without clients as many objects run at once as there are places', async () => {
  const { clock, pace } = setUp();
  const ends: (() => void)[] = [];
  let begun = 0;
  const all = Array.from({ length: 20 }, () =>
    pace.run(() => {
      begun++;
      return new Promise<number>((resolve) => ends.push(() => resolve(4 * MIB)));
    }),
  );
  await clock.advance(500);
  assert.is(begun, 8);
  ends.shift()!();
  await settle();
  assert.is(begun, 9);
  while (begun < 20 || ends.length > 0) {
    for (const end of ends.splice(0)) end();
    await clock.advance(10);
  }
  assert.is((await Promise.all(all)).length, 20);
});

test('nothing is timed and no timer runs when there is nothing to recover', async () => {
  const { clock, foreground, pace } = setUp();
  assert.is(foreground.begin(), 0);
  await pace.run(async () => 0);
  assert.ok(foreground.begin() > 0);
  await clock.advance(1000);
  assert.is(clock.pending, 0);
  assert.is(foreground.begin(), 0);
});

/** Work of one kind without end, under clients that suffer from it at once; resolves with what is done in a second. */
async function perSecond(work: () => Promise<number>): Promise<{ bytes: number; pieces: number }> {
  const { clock, foreground, pace } = setUp();
  const load = clients(clock, foreground, 50);
  let pieces = 0;
  let bytes = 0;
  const one = async (): Promise<void> => {
    for (;;) {
      const moved = await pace.run(work);
      bytes += moved;
      pieces++;
    }
  };
  for (let i = 0; i < 16; i++) void one().catch(() => {});
  await clock.advance(800);
  // Measured by now.
  load.tookMs = 5000;
  await clock.advance(3000);
  const before = { bytes, pieces };
  await clock.advance(10_000);
  load.stopped = true;
  pace.stop();
  return { bytes: (bytes - before.bytes) / 10, pieces: (pieces - before.pieces) / 10 };
}

test('with suffering clients the floor is kept to, within a quarter', async () => {
  const { bytes } = await perSecond(async () => MIB);
  const floor = defaultPaceLimits.floorBytesPerS;
  assert.ok(bytes < 1.25 * floor && bytes > 0.75 * floor, `${bytes / MIB} MiB/s`);
});

test('inodes pass before all that wait', async () => {
  const { clock, pace } = setUp();
  const order: string[] = [];
  const ends: (() => void)[] = [];
  const work = (name: string) => () => {
    order.push(name);
    return new Promise<number>((resolve) => ends.push(() => resolve(0)));
  };
  for (let i = 0; i < 20; i++) void pace.run(work(`data ${i}`));
  await clock.advance(500);
  void pace.run(work('inode'), true);
  await settle();
  const before = order.length;
  ends.shift()!();
  await settle();
  assert.is(order[before], 'inode');
});

test('a pause stops new objects at once and a large one in its middle, within 100 ms; so does its end', async () => {
  const { clock, state, pace } = setUp();
  let steps = 0;
  let begun = 0;
  void pace.give(async (turn) => {
    for (; steps < 1000; steps++) {
      await turn.step(MIB);
      await new Promise<void>((resolve) => clock.after(10, resolve));
    }
    return 1000 * MIB;
  });
  await clock.advance(1000);
  assert.ok(steps > 50, `${steps}`);
  state.paused = true;
  await clock.advance(100);
  const at = steps;
  void pace.run(async () => ++begun);
  await clock.advance(60_000);
  assert.is(steps, at);
  assert.is(begun, 0);
  state.paused = false;
  await clock.advance(100);
  assert.ok(steps > at);
  assert.is(begun, 1);
  pace.stop();
});

test('who is paused at the beginning begins when the pause ends', async () => {
  const { clock, state, pace } = setUp();
  state.paused = true;
  let done = false;
  void pace
    .run(async () => 0)
    .then(() => {
      done = true;
    });
  await clock.advance(5000);
  assert.not.ok(done);
  state.paused = false;
  await clock.advance(100);
  assert.ok(done);
});

test('two nodes that give to each other do not wait for each other', async () => {
  const { clock, pace } = setUp();
  // All places for taking are in use by work that waits for a place for giving: of this same node, at the worst.
  const all = Array.from({ length: 40 }, () => pace.run(() => pace.give(async () => MIB)));
  await clock.advance(5000);
  assert.is((await Promise.all(all)).length, 40);
});

test('whoever waits in an epoch that has ended is told so, and the place is free for others', async () => {
  const { clock, state, pace } = setUp();
  state.paused = true;
  const errors: unknown[] = [];
  for (let i = 0; i < 5; i++) void pace.run(async () => 0).catch((error) => errors.push(error));
  await clock.advance(200);
  pace.endEpoch();
  await settle();
  assert.is(errors.length, 5);
  assert.ok(errors.every((error) => error instanceof EpochEnded));
  state.paused = false;
  assert.is(await Promise.race([pace.run(async () => 7), clock.advance(500).then(() => -1)]), 7);
});

test('work that fails gives its place back', async () => {
  const { clock, pace } = setUp();
  for (let i = 0; i < 20; i++) {
    const failed = pace
      .run(async () => {
        throw new Error('no');
      })
      .then(
        () => false,
        () => true,
      );
    await clock.advance(200);
    assert.ok(await failed);
  }
});

test('comparing alone is paid for too', async () => {
  const { pieces } = await perSecond(async () => 0);
  const floor = defaultPaceLimits.floorBytesPerS / COMPARE_COST_BYTES;
  assert.ok(pieces > 0.75 * floor && pieces < 1.25 * floor, `${pieces} a second`);
});

test('nine of ten operations are what is looked at', () => {
  let nowMs = 10;
  const foreground = new Foreground({ nowMs: () => nowMs });
  foreground.watch();
  for (let i = 0; i < 100; i++) {
    const begin = foreground.begin();
    nowMs += i < 85 ? 1 : 40;
    foreground.end(begin);
  }
  const { operations, latencyMs } = foreground.take();
  assert.is(operations, 100);
  assert.ok(latencyMs >= 40 && latencyMs < 50, `${latencyMs}`);
  assert.equal(foreground.take(), { operations: 0, latencyMs: 0 });
});

test.run();
