/** The controller of recovery against simulated clusters: what clients suffer follows from the rate it chooses. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../../src/base/random.js';
import {
  defaultPaceLimits,
  PaceController,
  type PaceLimits,
} from '../../../../src/cluster/recovery/pace-controller.js';

const MIB = 1024 * 1024;
const TICK_MS = 100;

interface Plant {
  /** Bytes a second that the disks and processors of the node can do for recovery, when nobody else is there. */
  capacity: number;
  /** Share of it that clients use. */
  load: number;
  /** Latency of their operations when they are alone. */
  baseMs: number;
  operationsPerS: number;
}

/** One server with a queue (M/M/1): latency is the service time over what is left idle. */
function latencyOf({ capacity, load, baseMs }: Plant, rate: number): number {
  const busy = Math.min(0.995, load + rate / capacity);
  return (baseMs * (1 - load)) / (1 - busy);
}

interface Trace {
  rate: number;
  latencyMs: number;
}

/** Steps of 100 ms; what the controller decides shows its effect `delay` steps later. */
function run(
  controller: PaceController,
  plantAt: (step: number) => Plant,
  steps: number,
  options: { delay?: number; noise?: number } = {},
): Trace[] {
  const random = new SeededRandom(5);
  const rates: number[] = [];
  const trace: Trace[] = [];
  for (let step = 0; step < steps; step++) {
    const plant = plantAt(step);
    rates.push(controller.rateBytesPerS);
    const asked = rates[Math.max(0, rates.length - 1 - (options.delay ?? 1))]!;
    const rate = Math.min(asked, plant.capacity * (1 - plant.load));
    const noise = 1 + (options.noise ?? 0) * (random.below(2001) / 1000 - 1);
    const operations = Math.round((plant.operationsPerS * TICK_MS) / 1000);
    const latencyMs = operations === 0 ? 0 : latencyOf(plant, rate) * noise;
    controller.step({ elapsedMs: TICK_MS, operations, latencyMs, bytes: (rate * TICK_MS) / 1000 });
    trace.push({ rate: controller.rateBytesPerS, latencyMs });
  }
  return trace;
}

const disk: Plant = { capacity: 200 * MIB, load: 0.3, baseMs: 8, operationsPerS: 300 };
const limits: PaceLimits = { ...defaultPaceLimits, measureEveryMs: 10_000 };
const last = (trace: Trace[], part = 0.5) => trace.slice(Math.floor(trace.length * (1 - part)));
const mean = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0) / numbers.length;

test('without clients there is no limit after the first look', () => {
  const controller = new PaceController(limits);
  assert.is(controller.rateBytesPerS, limits.floorBytesPerS);
  run(controller, () => ({ ...disk, operationsPerS: 0 }), 1);
  assert.is(controller.rateBytesPerS, Number.POSITIVE_INFINITY);
});

test('it finds the rate at which operations take twice as long as undisturbed', () => {
  const controller = new PaceController(limits);
  const trace = last(run(controller, () => disk, 1200));
  // Half of what the clients leave idle: (1 - 0.3) / 2 of the capacity.
  const right = 0.35 * disk.capacity;
  const rate = mean(trace.map((t) => t.rate));
  assert.ok(rate > 0.6 * right && rate < 1.1 * right, `${rate / MIB} MiB/s, right were ${right / MIB}`);
  const latencyMs = mean(trace.map((t) => t.latencyMs));
  assert.ok(latencyMs < 2.1 * disk.baseMs, `${latencyMs} ms`);
});

test('it does not swing: between two measurements the rate stays within a factor of two of its mean', () => {
  for (const options of [{}, { delay: 3 }, { noise: 0.15 }]) {
    const controller = new PaceController(limits);
    const trace = last(run(controller, () => disk, 1200, options));
    const running = trace.filter((t) => t.rate > limits.floorBytesPerS).map((t) => t.rate);
    const middle = mean(running);
    assert.ok(
      Math.max(...running) < 2 * middle,
      `${JSON.stringify(options)} at most ${Math.max(...running) / middle}`,
    );
    assert.ok(
      Math.min(...running) > middle / 2,
      `${JSON.stringify(options)} at least ${Math.min(...running) / middle}`,
    );
    const worstMs = Math.max(...trace.map((t) => t.latencyMs));
    assert.ok(worstMs < 5 * disk.baseMs, `${JSON.stringify(options)}: ${worstMs} ms`);
  }
});

test('measuring costs little: less than a tenth of the steps stand back', () => {
  const controller = new PaceController(limits);
  const trace = last(run(controller, () => disk, 1200));
  const back = trace.filter((t) => t.rate === limits.floorBytesPerS).length;
  assert.ok(back > 0 && back < trace.length / 10, `${back} of ${trace.length}`);
});

test('when the load goes it is at full speed a second later, and stands back when clients return', () => {
  const controller = new PaceController(limits);
  run(controller, () => disk, 300);
  run(controller, () => ({ ...disk, operationsPerS: 0 }), 9);
  assert.ok(Number.isFinite(controller.rateBytesPerS));
  run(controller, () => ({ ...disk, operationsPerS: 0 }), 1);
  assert.is(controller.rateBytesPerS, Number.POSITIVE_INFINITY);
  run(controller, () => disk, 1);
  assert.is(controller.rateBytesPerS, limits.floorBytesPerS);
  const trace = last(
    run(controller, () => disk, 600),
    0.3,
  );
  assert.ok(mean(trace.map((t) => t.latencyMs)) < 2.1 * disk.baseMs);
});

test('a load that grows is given way to, and the rate comes back when it shrinks', () => {
  const controller = new PaceController(limits);
  const rateAt = (load: number) => {
    const trace = last(
      run(controller, () => ({ ...disk, load }), 600),
      0.3,
    );
    return mean(trace.map((t) => t.rate)) / disk.capacity;
  };
  const light = rateAt(0.2);
  const heavy = rateAt(0.7);
  const again = rateAt(0.2);
  assert.ok(heavy < 0.2, `${heavy} of the capacity under heavy load`);
  assert.ok(light > 2 * heavy && again > 0.7 * light, `${light}, ${heavy}, ${again}`);
});

test('it never goes below the floor, whatever clients suffer', () => {
  const controller = new PaceController(limits);
  const trace = run(controller, () => ({ ...disk, load: 0.99, baseMs: 900, operationsPerS: 20 }), 600);
  assert.ok(Math.min(...trace.map((t) => t.rate)) >= limits.floorBytesPerS);
});

test('what is fast enough for anybody is not held back for the sake of a ratio', () => {
  const flash: Plant = { capacity: 1000 * MIB, load: 0.1, baseMs: 0.2, operationsPerS: 5000 };
  const controller = new PaceController(limits);
  const trace = last(
    run(controller, () => flash, 1200),
    0.2,
  );
  assert.ok(mean(trace.map((t) => t.rate)) > 0.6 * flash.capacity);
});

test('a guest that does next to nothing is no load, unless it suffers', () => {
  const controller = new PaceController(limits);
  const sample = { elapsedMs: 500, bytes: 50 * MIB };
  for (let i = 0; i < 20; i++) controller.step({ ...sample, operations: i % 2, latencyMs: (i % 2) * 8 });
  assert.is(controller.rateBytesPerS, Number.POSITIVE_INFINITY);
  controller.step({ ...sample, operations: 1, latencyMs: 150 });
  assert.is(controller.rateBytesPerS, limits.floorBytesPerS);
});

test('a rate that is not used does not grow', () => {
  const controller = new PaceController(limits);
  for (let i = 0; i < 500; i++) {
    controller.step({ elapsedMs: TICK_MS, operations: 50, latencyMs: 1, bytes: 0.1 * MIB });
  }
  assert.ok(controller.rateBytesPerS <= limits.startBytesPerS);
});

test.run();
