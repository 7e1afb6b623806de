import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../../src/base/errors.js';
import { silentLogger } from '../../../../src/base/log.js';
import { SeededRandom } from '../../../../src/base/random.js';
import { type EpochRecord, parseEpoch } from '../../../../src/cluster/epochs/epoch.js';
import { Membership } from '../../../../src/cluster/epochs/membership.js';
import { EPOCH_PREFIX, NODE_PREFIX } from '../../../../src/cluster/epochs/proposal.js';
import type { Coordinator } from '../../../../src/coord/coordinator.js';
import { MemoryCoordinatorCluster } from '../../../helpers/memory-coordinator.js';
import { SimClock } from '../../../helpers/sim-clock.js';

const LEASE_TTL_MS = 1000;

interface Node {
  readonly membership: Membership;
  readonly epochs: number[];
}

class World {
  readonly clock = new SimClock();
  readonly coordinators: MemoryCoordinatorCluster;
  readonly nodes = new Map<string, Node>();
  private incarnations = 0;

  constructor(seed = 1) {
    const random = new SeededRandom(seed);
    this.coordinators = new MemoryCoordinatorCluster({ clock: this.clock, random, callTimeoutMs: 400 });
  }

  /** Starts a node; `wrap` puts a fault into its coordinator. */
  start(id: string, options: { lossy?: boolean; wrap?: (c: Coordinator) => Coordinator } = {}): Node {
    const client = this.coordinators.clientFor(id);
    const membership = new Membership({
      coordinator: options.wrap?.(client) ?? client,
      clock: this.clock,
      log: silentLogger,
      self: {
        id,
        host: id,
        port: 1,
        nbdPort: 0,
        httpPort: 0,
        zone: 0,
        vnodes: 8,
        hostId: id,
        bootId: 'boot',
        pid: 1,
        lossy: options.lossy ?? false,
      },
      leaseTtlMs: LEASE_TTL_MS,
      newIncarnation: () => `${id}-${++this.incarnations}`,
    });
    const node: Node = { membership, epochs: [] };
    membership.onView((view) => node.epochs.push(view.epoch));
    this.nodes.set(id, node);
    void membership.start();
    return node;
  }

  async formatted(...ids: string[]): Promise<Node[]> {
    const nodes = ids.map((id) => this.start(id));
    await this.run(200);
    const format = nodes[0]!.membership.format({ compares: [], ops: [] });
    await this.run(200);
    assert.is(await format, true);
    return nodes;
  }

  run(ms: number): Promise<void> {
    return this.clock.run({ untilMs: this.clock.nowMs() + ms, eventsMax: 1_000_000 });
  }

  /** The epochs in the coordinator, oldest first. */
  records(): EpochRecord[] {
    return this.coordinators.peek(EPOCH_PREFIX).map((kv) => parseEpoch(kv.value));
  }

  get last(): EpochRecord {
    return this.records().at(-1)!;
  }

  isUp(id: string): boolean {
    return this.last.nodes.find((n) => n.id === id)!.up;
  }
}

/** Loses the answer of (or, with `before`, the request for) the first transaction that `matches`. */
function losing(matches: (text: string) => boolean, before = false): (c: Coordinator) => Coordinator {
  let armed = true;
  return (inner) => ({
    get: (key) => inner.get(key),
    list: (prefix) => inner.list(prefix),
    async txn(compares, ops) {
      const hit = armed && matches(JSON.stringify(ops));
      if (hit) armed = false;
      if (hit && before) throw new AppError('network', 'the request was lost');
      const result = await inner.txn(compares, ops);
      if (hit) throw new AppError('network', 'the answer was lost');
      return result;
    },
    watch: (prefix, after, onEvents) => inner.watch(prefix, after, onEvents),
    grantLease: (ttlMs) => inner.grantLease(ttlMs),
    suspect: (id) => inner.suspect(id),
    close: () => inner.close(),
  });
}

test('nodes register, a format makes the first epoch, and all see it', async () => {
  const world = new World();
  const nodes = await world.formatted('a', 'b', 'c');
  assert.equal(
    nodes.map((n) => n.epochs),
    [[1], [1], [1]],
  );
  assert.ok(nodes.every((n) => n.membership.leaseValid()));
});

test('a format before this node has registered is refused', async () => {
  const world = new World();
  const node = world.start('a');
  const error = await node.membership.format({ compares: [], ops: [] }).catch((e) => e);
  assert.ok(AppError.isCode(error, 'again'));
  await world.run(100);
});

test('a node whose lease ends is excluded, once, however many propose it', async () => {
  const world = new World();
  const [a, b] = await world.formatted('a', 'b', 'c');
  world.coordinators.kill('c');
  await world.run(1000);
  assert.equal([world.last.epoch, world.isUp('c'), world.last.base], [2, false, 1]);
  assert.equal(
    [a!.epochs, b!.epochs],
    [
      [1, 2],
      [1, 2],
    ],
  );
});

test('a node cut off stops believing in its lease before the others exclude it (I-3)', async () => {
  const world = new World();
  const [a] = await world.formatted('a', 'b', 'c');
  world.coordinators.partition('a', true);
  let validWhileExcluded = 0;
  for (let i = 0; i < 200; i++) {
    await world.run(10);
    if (!world.isUp('a') && a!.membership.leaseValid()) validWhileExcluded++;
  }
  assert.is(world.isUp('a'), false);
  assert.is(validWhileExcluded, 0);
});

test('a healed node registers anew and is up again, behind', async () => {
  const world = new World();
  const [a] = await world.formatted('a', 'b', 'c');
  const before = a!.membership.incarnation;
  world.coordinators.partition('a', true);
  await world.run(3000);
  world.coordinators.partition('a', false);
  await world.run(3000);
  const self = world.last.nodes.find((n) => n.id === 'a')!;
  assert.is.not(a!.membership.incarnation, before);
  assert.equal([self.up, self.incarnation, self.behindSince], [true, a!.membership.incarnation, 1]);
  assert.ok(a!.membership.leaseValid());
});

test('a new lease is worth nothing in an epoch that knows the node by its former one', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const world = new World(seed);
    const [a] = await world.formatted('a', 'b', 'c');
    world.coordinators.partition('a', true);
    await world.run(2500);
    world.coordinators.partition('a', false);
    for (let i = 0; i < 3000; i++) {
      await world.run(1);
      const { membership } = a!;
      if (!membership.leaseValid()) continue;
      assert.is(membership.view!.self!.incarnation, membership.incarnation, `seed ${seed}`);
      assert.ok(membership.view!.self!.up);
      break;
    }
    assert.ok(a!.membership.leaseValid(), `seed ${seed}: it is a member again`);
  }
});

for (const before of [false, true]) {
  test(`a registration whose ${before ? 'request' : 'answer'} is lost is tried again until it stands`, async () => {
    const world = new World();
    await world.formatted('b', 'c');
    world.coordinators.kill('c');
    await world.run(500);
    let registrations = 0;
    const second = (text: string) =>
      text.includes(NODE_PREFIX) && text.includes('"lease"') && ++registrations === 2;
    const node = world.start('c', { wrap: losing(second, before) });
    await world.run(500);
    assert.ok(world.isUp('c'));
    // Its lease is lost: the registration that follows meets the fault.
    const lease = world.coordinators.peek(`${NODE_PREFIX}c`)[0]!.lease!;
    world.coordinators.expire(lease);
    await world.run(6000);
    assert.ok(world.isUp('c'), 'registered again');
    assert.ok(node.membership.leaseValid());
    assert.is(registrations, 2, 'the fault was met');
  });
}

test('having caught up is declared again when the first declaration was lost', async () => {
  const world = new World();
  await world.formatted('a', 'b');
  world.coordinators.kill('b');
  await world.run(500);
  const b = world.start('b', { wrap: losing((text) => text.includes('caughtUp'), true) });
  await world.run(500);
  const { upSince } = b.membership.view!.self!;
  const lost = b.membership.declareCaughtUp(upSince).then(
    () => undefined,
    (e) => e,
  );
  await world.run(100);
  assert.ok(AppError.isCode(await lost, 'network'));
  assert.is(world.last.nodes[1]!.behindSince, 1);
  const again = b.membership.declareCaughtUp(upSince);
  await world.run(500);
  await again;
  assert.is(world.last.nodes[1]!.behindSince, undefined);
  assert.is(world.last.base, world.last.epoch);
});

test('what was said but answered to nobody does not keep anything else from being said', async () => {
  const world = new World();
  await world.formatted('a', 'b');
  world.coordinators.kill('b');
  await world.run(500);
  const b = world.start('b', { wrap: losing((text) => text.includes('caughtUp')) });
  await world.run(500);
  const { upSince } = b.membership.view!.self!;
  const outcome = async (work: Promise<void>) => {
    const code = work.then(
      () => 'said',
      (e) => AppError.from(e).code,
    );
    await world.run(500);
    return code;
  };
  assert.is(await outcome(b.membership.declareCaughtUp(upSince)), 'network');
  assert.is(world.last.nodes[1]!.behindSince, undefined, 'it was said');
  assert.is(await outcome(b.membership.declareMoved(7)), 'again', 'and is found to have been said');
  assert.is(await outcome(b.membership.declareMoved(7)), 'said');
});

test('a loss is told by the first registration that counts, and not again when a lease is lost later', async () => {
  const world = new World();
  await world.formatted('a', 'b');
  world.coordinators.kill('b');
  await world.run(500);
  const b = world.start('b', { lossy: true });
  await world.run(500);
  assert.ok(world.last.nodes[1]!.lossy);
  world.coordinators.expire(world.coordinators.peek(`${NODE_PREFIX}b`)[0]!.lease!);
  await world.run(3000);
  assert.ok(b.membership.leaseValid());
  assert.is(b.membership.registrations.get('b')!.lossy, false);
});

test('a frozen membership declares nobody down', async () => {
  const world = new World();
  const nodes = await world.formatted('a', 'b');
  for (const node of nodes) node.membership.freeze();
  world.coordinators.kill('b');
  await world.run(3000);
  assert.is(world.last.epoch, 1);
});

test('a node that stops gives its lease back at once', async () => {
  const world = new World();
  const [, b] = await world.formatted('a', 'b');
  const stopped = b!.membership.stop();
  await world.run(100);
  await stopped;
  assert.is(world.isUp('b'), false);
});

test('races of proposals, lagging watches: epochs have no gaps, and no former start comes up again', async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const world = new World(seed);
    const random = new SeededRandom(seed);
    const ids = ['a', 'b', 'c', 'd'];
    await world.formatted(...ids);
    for (let i = 0; i < 12; i++) {
      const id = random.pick(ids);
      if (random.chance(0.5)) {
        world.coordinators.kill(id);
        // A dead process's calls never settle.
        void world.nodes.get(id)!.membership.stop();
        await world.run(random.below(150));
        world.start(id);
      } else {
        const lease = world.coordinators.peek(`${NODE_PREFIX}${id}`)[0]?.lease;
        if (lease !== undefined) world.coordinators.expire(lease);
      }
      await world.run(random.below(200));
    }
    await world.run(3000);
    const records = world.records();
    assert.equal(
      records.map((r) => r.epoch),
      records.map((_, i) => i + 1),
    );
    assert.ok(
      world.last.nodes.every((n) => n.up),
      `seed ${seed}: all are up in the end`,
    );
    // Each incarnation comes up at most once: a stale registration never brings back a former start.
    for (const id of ids) {
      const starts = records
        .map((r) => r.nodes.find((n) => n.id === id)!)
        .map((n) => (n.up ? n.incarnation : ''));
      const runs = starts.filter((s, i) => s !== '' && s !== starts[i - 1]);
      assert.is(new Set(runs).size, runs.length, `seed ${seed}, ${id}: ${runs}`);
    }
  }
});

test.run();
