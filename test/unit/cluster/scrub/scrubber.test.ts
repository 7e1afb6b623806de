import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../../src/base/errors.js';
import { silentLogger } from '../../../../src/base/log.js';
import type { ObjectCheck } from '../../../../src/cluster/objects/checker.js';
import { defaultScrubLimits } from '../../../../src/cluster/scrub/scrub-pace.js';
import type { ScrubRecord, ScrubSetting } from '../../../../src/cluster/scrub/scrub-record.js';
import { Scrubber, type ScrubRole, type ScrubTarget } from '../../../../src/cluster/scrub/scrubber.js';
import { formatOid } from '../../../../src/wire/oid.js';
import { SimClock } from '../../../helpers/sim-clock.js';

const PERIOD_MS = 10_000;
const MIB = 1024 * 1024;

function outcomeOf(outcome: ObjectCheck['outcome'], unclearBlocks: number[] = []): ObjectCheck {
  return { outcome, replicas: [], unclearBlocks, checkedBytes: MIB };
}

/** Objects 1 to 20 that this node is the primary of; tests change what they like. */
class FakeTarget implements ScrubTarget {
  objects = Array.from({ length: 20 }, (_, i) => BigInt(i + 1));
  readonly outcomes = new Map<bigint, ObjectCheck | Error>();
  readonly roles = new Map<bigint, ScrubRole>();
  readonly restored = new Map<bigint, ObjectCheck>();
  readonly checked: bigint[] = [];
  whole = true;
  clients = false;

  constructor(private readonly clock: SimClock) {}

  async *stored() {
    yield* this.objects;
  }
  storedBytes() {
    return this.objects.length * MIB;
  }
  async roleOf(oid: bigint) {
    const role = this.roles.get(oid) ?? 'primary';
    const address = { oid, root: 1, copies: 3, objectShift: 22 };
    return { role, address: role === 'stray' ? undefined : address };
  }
  async check({ oid }: { oid: bigint }) {
    this.checked.push(oid);
    await new Promise<void>((resolve) => this.clock.after(10, resolve));
    const outcome = this.outcomes.get(oid) ?? outcomeOf('same');
    if (outcome instanceof Error) throw outcome;
    return outcome;
  }
  async restoreAtPrimary({ oid }: { oid: bigint }) {
    return this.restored.get(oid);
  }
  mayScrub() {
    return this.whole;
  }
  busy() {
    return this.clients;
  }
}

class World {
  readonly clock = new SimClock();
  readonly target = new FakeTarget(this.clock);
  setting: ScrubSetting = { stopped: false, round: 0 };
  kept: ScrubRecord | undefined;
  saves = 0;
  scrubber = this.start(0);

  start(firstElapsedMs: number): Scrubber {
    const scrubber = new Scrubber({
      target: this.target,
      clock: this.clock,
      log: silentLogger,
      formatId: 'f',
      limits: { ...defaultScrubLimits, periodMs: PERIOD_MS, saveMs: 500, pollMs: 100 },
      firstElapsedMs,
      setting: () => this.setting,
      load: async () => this.kept,
      save: async (record) => {
        this.saves++;
        this.kept = record;
      },
      describe: () => '',
    });
    scrubber.start();
    return scrubber;
  }

  async runTo(untilMs: number): Promise<void> {
    await this.clock.run({ untilMs, eventsMax: 100_000 });
  }

  ask(): void {
    this.setting = { stopped: false, round: this.setting.round + 1 };
    this.scrubber.nudge();
  }
}

const test = suite<{ world: World }>('scrubber');
test.before.each((context) => {
  context.world = new World();
});
test.after.each(({ world }) => world.scrubber.stop());

test('a pass begins when the period is over, and is spread over the next one', async ({ world }) => {
  await world.runTo(PERIOD_MS - 200);
  assert.is(world.target.checked.length, 0);
  await world.runTo(PERIOD_MS * 1.5);
  assert.ok(Math.abs(world.target.checked.length - 10) <= 1);
  await world.runTo(PERIOD_MS * 2.1);
  assert.equal(world.target.checked.slice(0, 20), world.target.objects);
  assert.is(world.scrubber.state.passes, 1);
  assert.is(world.scrubber.state.last!.bytes, 20 * MIB);
});

test('one that somebody asks for begins at once and goes at the ceiling', async ({ world }) => {
  await world.runTo(100);
  world.ask();
  await world.runTo(2000);
  assert.is(world.scrubber.state.passes, 1);
  assert.is(world.scrubber.totals.objects, 20);
  await world.runTo(PERIOD_MS);
  assert.is(world.scrubber.state.passes, 1, 'and is the pass of this period');
});

test('clients are given way to: most of the time is theirs', async ({ world }) => {
  world.target.clients = true;
  world.ask();
  await world.runTo(3000);
  assert.ok(world.target.checked.length >= 4, 'it goes on all the same');
  assert.ok(world.target.checked.length <= 7, 'with half a second of patience for each object');
});

test('a restart goes on where the last one stopped', async ({ world }) => {
  world.ask();
  await world.runTo(700);
  world.scrubber.stop();
  await world.runTo(1000);
  const before = world.target.checked.length;
  assert.ok(before > 3 && before < 18);
  world.target.checked.length = 0;
  world.scrubber = world.start(0);
  await world.runTo(4000);
  assert.is(world.scrubber.state.passes, 1);
  assert.is(world.target.checked.at(-1), 20n);
  assert.ok(world.target.checked[0]! > 1n, 'what was done and kept is not done again');
  assert.ok(world.target.checked[0]! <= BigInt(before + 1), 'nothing is left out');
});

test('a place that was removed meanwhile is made up for by one before it', async ({ world }) => {
  world.ask();
  await world.runTo(700);
  world.scrubber.stop();
  await world.runTo(1000);
  const { trail } = world.kept!;
  world.target.objects = world.target.objects.filter((oid) => formatOid(oid) !== trail.at(-1));
  world.target.checked.length = 0;
  world.scrubber = world.start(0);
  await world.runTo(4000);
  assert.is(world.scrubber.state.passes, 1);
  assert.is(world.target.checked.at(-1), 20n);
});

test('a store that lists nothing of the trail any more is scrubbed from the beginning', async ({ world }) => {
  world.ask();
  await world.runTo(500);
  world.scrubber.stop();
  await world.runTo(1000);
  world.target.objects = [101n, 102n];
  world.target.checked.length = 0;
  world.scrubber = world.start(0);
  await world.runTo(3000);
  assert.equal(world.target.checked, [101n, 102n]);
  assert.is(world.scrubber.state.passes, 1);
});

test('nothing is scrubbed while the cluster recovers, and it goes on afterwards', async ({ world }) => {
  world.ask();
  await world.runTo(500);
  world.target.whole = false;
  await world.runTo(600);
  const before = world.target.checked.length;
  await world.runTo(3000);
  assert.is(world.target.checked.length, before);
  world.target.whole = true;
  await world.runTo(6000);
  assert.is(world.scrubber.state.passes, 1);
});

test('stop holds it, start goes on with a pass of its own', async ({ world }) => {
  world.ask();
  await world.runTo(500);
  world.setting = { ...world.setting, stopped: true };
  await world.runTo(700);
  const before = world.target.checked.length;
  await world.runTo(3000);
  assert.is(world.target.checked.length, before);
  world.ask();
  await world.runTo(6000);
  assert.is(world.scrubber.state.passes, 1);
  assert.is(world.target.checked.length, before + 20);
});

test('what is found, repaired, lost and failed is counted, and what is lost is kept', async ({ world }) => {
  const { outcomes } = world.target;
  outcomes.set(3n, outcomeOf('repaired'));
  outcomes.set(5n, outcomeOf('unclear', [7]));
  outcomes.set(6n, new AppError('io', 'no'));
  outcomes.set(7n, new AppError('again', 'another node is the primary'));
  outcomes.set(8n, outcomeOf('waiting'));
  world.target.roles.set(9n, 'stray').set(10n, 'none');
  world.ask();
  await world.runTo(3000);
  const { objects, found, repaired, failed, strays } = world.scrubber.state.last!;
  assert.equal([objects, found, repaired, failed, strays], [16, 3, 1, 2, 1]);
  assert.equal(world.scrubber.state.unrepairable, [{ oid: formatOid(5n), blocks: [7], pass: 0 }]);
  outcomes.delete(5n);
  world.ask();
  await world.runTo(6000);
  assert.is(world.kept!.unrepairableCount, 0);
});

test('an object that its primary has lost is given back by another replica', async ({ world }) => {
  for (const oid of world.target.objects) world.target.roles.set(oid, 'replica');
  world.target.restored.set(4n, outcomeOf('repaired'));
  world.ask();
  await world.runTo(3000);
  assert.is(world.target.checked.length, 0);
  assert.is(world.scrubber.state.last!.repaired, 1);
});

test('the record is not written for every object', async ({ world }) => {
  world.ask();
  await world.runTo(3000);
  assert.ok(world.saves < 10, String(world.saves));
});

test.run();
