import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep } from '../../../src/base/clock.js';
import { SeededRandom } from '../../../src/base/random.js';
import type { Coordinator, KeyValue, Lease } from '../../../src/coord/coordinator.js';
import { put } from '../../helpers/coordinator-suite.js';
import { FakeLocalWorld } from '../../helpers/coordinator-worlds.js';

/**
 * Processes that work, freeze at random moments for random times (through many rotations), die, are replaced, and the
 * power fails. A seed that fails is rerun by narrowing SEEDS.
 */
const SEEDS = Array.from({ length: 6 }, (_, index) => index + 1);
const NAMES = ['a', 'b', 'c', 'd'];
const TTL_MS = 400;
const LIFE_MS = 3000;

interface Member {
  readonly name: string;
  readonly handle: Coordinator;
  readonly lease: Lease;
  readonly mirror: Map<string, KeyValue>;
}

class Chaos {
  readonly world: FakeLocalWorld;
  readonly random: SeededRandom;
  readonly acknowledged = new Set<string>();
  readonly members = new Map<string, Member>();
  private lives = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    this.world = new FakeLocalWorld(seed, { rotateRecords: 8 });
  }

  async join(name: string): Promise<void> {
    const handle = await this.world.open(name);
    const lease = await handle.grantLease(TTL_MS);
    const { entries, revision } = await handle.list('');
    const mirror = new Map(entries.map((kv) => [kv.key, kv]));
    let seenRevision = revision;
    handle.watch('', revision, (events) => {
      assert.ok(events[0]!.revision > seenRevision, 'events come in order, once');
      seenRevision = events[0]!.revision;
      for (const event of events) {
        if (event.type === 'put') mirror.set(event.kv.key, event.kv);
        else mirror.delete(event.key);
      }
    });
    const member = { name, handle, lease, mirror };
    this.members.set(name, member);
    void this.work(member, ++this.lives);
  }

  /** Ends with the process, by its promises that never settle, or when its lease is lost. */
  private async work({ name, handle, lease }: Member, life: number): Promise<void> {
    const clock = this.world.clockOf(name);
    for (let i = 0; lease.validUntilMs() > clock.nowMs(); i++) {
      const key = `w/${name}${life}/${i}`;
      try {
        const ops = [put(key, ''), put(`member/${name}`, String(i), lease.id)];
        const { revision } = await handle.txn([], ops);
        this.acknowledged.add(key);
        if (i % 5 === 0) assert.ok((await handle.list('w/')).revision >= revision);
      } catch (error) {
        assert.match(String(error), /lease|closed/);
        return;
      }
      await sleep(clock, this.random.below(30));
    }
  }

  async strike(): Promise<void> {
    const name = this.random.pick(NAMES);
    const fate = this.random.below(20);
    if (fate === 0) return this.restart();
    if (fate < 5) {
      this.world.kill(name);
      await this.world.sleep(this.random.below(300));
      return this.join(name);
    }
    this.world.freeze(name, true);
    const frozenMs = this.random.below(fate < 9 ? 4 * TTL_MS : 60);
    await this.world.sleep(frozenMs);
    const { lease } = this.members.get(name)!;
    this.world.freeze(name, false);
    if (frozenMs > TTL_MS) {
      assert.ok(lease.validUntilMs() <= this.world.nowMs(), 'it knows as soon as it runs again');
      await this.members.get(name)!.handle.close();
      return this.join(name);
    }
  }

  private async restart(): Promise<void> {
    this.world.crash({ powerCut: this.random.chance(0.7) });
    for (const name of NAMES) await this.join(name);
  }

  async check(): Promise<void> {
    const lists = await Promise.all([...this.members.values()].map(({ handle }) => handle.list('w/')));
    await this.world.sleep(200);
    const found = new Map(lists[0]!.entries.map((kv) => [kv.key, kv]));
    for (const key of this.acknowledged) assert.ok(found.has(key), `${key} was acknowledged`);
    for (const kv of found.values()) assert.is(kv.createRevision, kv.modRevision, `${kv.key} once`);
    const last = await this.members.get('a')!.handle.list('');
    for (const { name, mirror } of this.members.values()) {
      const mirrored = [...mirror.values()].sort((x, y) => (x.key < y.key ? -1 : 1));
      assert.equal(mirrored, last.entries, `the mirror of ${name}`);
    }
  }
}

async function run(seed: number): Promise<number> {
  const chaos = new Chaos(seed);
  await chaos.world.run(async () => {
    for (const name of NAMES) await chaos.join(name);
    while (chaos.world.nowMs() < LIFE_MS) {
      await chaos.world.sleep(chaos.random.below(100));
      await chaos.strike();
    }
    for (const { handle, lease } of chaos.members.values()) {
      if (lease.validUntilMs() > 0) await handle.txn([], [put('end', '')]);
      await lease.revoke().catch(() => {});
    }
    await chaos.world.sleep(100);
    await chaos.check();
  });
  return chaos.acknowledged.size;
}

test('processes that freeze, die and lose power at random keep one exact history', async () => {
  let total = 0;
  for (const seed of SEEDS) {
    try {
      total += await run(seed);
    } catch (error) {
      (error as Error).message = `seed ${seed}: ${(error as Error).message}`;
      throw error;
    }
  }
  assert.ok(total > 300);
});

test.run();
