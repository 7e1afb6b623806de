/** Taking objects over: what is asked for, in which order, what holds it up, and when it may be said to be done. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../../src/base/errors.js';
import { silentLogger } from '../../../../src/base/log.js';
import {
  compareOids,
  LISTED_PAGE_ENTRIES,
  ObjectLists,
} from '../../../../src/cluster/objects/object-lists.js';
import {
  type EpochContext,
  EpochEnded,
  type ObjectNode,
} from '../../../../src/cluster/objects/object-node.js';
import { encodeOids } from '../../../../src/cluster/objects/oid-list.js';
import type { Comparison } from '../../../../src/cluster/recovery/comparison.js';
import { Mover } from '../../../../src/cluster/recovery/mover.js';
import { MoveList } from '../../../../src/cluster/recovery/mover-list.js';
import type { RecoveryPace } from '../../../../src/cluster/recovery/pace.js';
import { recoveryReserveBytes } from '../../../../src/cluster/recovery/recovery-space.js';
import { dataOid, inodeOid } from '../../../../src/wire/oid.js';
import { emptyMessage, type PeerMessage, PeerType } from '../../../../src/wire/peer-message.js';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** A cluster as the mover of one node sees it. */
class World {
  /** What each node lists for this one. */
  lists: Record<string, bigint[]> = {};
  bytesPerObject = MIB;
  freeBytes = 100 * GIB;
  totalBytes = 100 * GIB;
  served = true;
  here = new Set<bigint>();
  compared: bigint[] = [];
  moved: number[] = [];
  asked = 0;
  fail: (oid: bigint) => Error | undefined = () => undefined;
  onCompare: (oid: bigint) => Promise<void> | void = () => {};
  waits = 0;
  readonly mover: Mover;
  context: EpochContext;
  private wake: (() => void) | undefined;
  readonly node: ObjectNode;

  constructor() {
    const world = this;
    this.context = this.makeContext(7);
    this.node = {
      selfId: 'self',
      stopped: false,
      strict: false,
      get context() {
        return world.context;
      },
      store: {
        has: (oid: bigint) => this.here.has(oid),
        stats: () => ({ freeBytes: this.freeBytes, totalBytes: this.totalBytes, usedBytes: 0 }),
        flush: async () => {},
      },
      options: {
        log: silentLogger,
        copiesInUse: () => [3],
        membership: { declareMoved: async (move: number) => void this.moved.push(move) },
      },
      ask: async (_context: EpochContext, id: string, message: PeerMessage) => this.answer(id, message),
      pauseInEpoch: () => this.pause(),
    } as unknown as ObjectNode;
    const comparison = {
      complete: async () => {},
      run: async (context: EpochContext, oid: bigint) => {
        await this.onCompare(oid);
        if (context !== this.context) throw new EpochEnded();
        const error = this.fail(oid);
        if (error !== undefined) throw error;
        this.compared.push(oid);
        const isNew = !this.here.has(oid);
        this.here.add(oid);
        return isNew ? this.bytesPerObject : 0;
      },
    } as unknown as Comparison;
    const pace = { paused: false, run: (work: () => Promise<number>) => work() } as unknown as RecoveryPace;
    const lists = { of: async () => [] } as unknown as ObjectLists;
    this.mover = new Mover(this.node, comparison, lists, pace);
  }

  /** A new epoch, with another target when `move` differs. */
  makeContext(move: number): EpochContext {
    const world = this;
    return {
      peered: { promise: Promise.resolve() },
      view: {
        self: { moved: undefined },
        record: { move, nodes: [] },
        ended: { promise: new Promise(() => {}) },
        get peers() {
          return Object.keys(world.lists);
        },
        everySetServed: () => this.served,
      },
    } as unknown as EpochContext;
  }

  /** Lets a mover that waits look again. */
  look(): void {
    this.wake?.();
  }

  /** Runs until it waits or is done. */
  async enter(): Promise<void> {
    const before = this.waits;
    let done = false;
    void this.mover.enter(this.context).then(() => {
      done = true;
    });
    while (!done && this.waits === before) await new Promise((resolve) => setImmediate(resolve));
  }

  private pause(): Promise<void> {
    this.waits++;
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  private counts(): Map<bigint, number> {
    const counts = new Map<bigint, number>();
    for (const oid of Object.values(this.lists).flat()) counts.set(oid, (counts.get(oid) ?? 0) + 1);
    return counts;
  }

  private answer(id: string, message: PeerMessage): PeerMessage {
    assert.is(message.type, PeerType.listed);
    this.asked++;
    const list = [...this.lists[id]!].sort(compareOids);
    const rest = message.oid === 0n ? list : list.filter((oid) => compareOids(oid, message.oid) > 0);
    const answer = emptyMessage(PeerType.listed + 1);
    answer.length = rest.length;
    const counts = this.counts();
    const share = rest.reduce((sum, oid) => sum + 1 / counts.get(oid)!, 0);
    answer.sequence = Math.ceil(share);
    answer.offset = Math.round(share * this.bytesPerObject);
    answer.payload = encodeOids(rest.slice(0, LISTED_PAGE_ENTRIES));
    return answer;
  }
}

const objects = (count: number, first = 0) => Array.from({ length: count }, (_, i) => dataOid(9, first + i));

test('all lists are merged, inodes first, each object once', async () => {
  const world = new World();
  const all = objects(5000);
  world.lists = {
    a: [...all.filter((_, i) => i % 3 !== 0), inodeOid(9)],
    b: all.filter((_, i) => i % 3 !== 1),
    c: all.filter((_, i) => i % 3 !== 2),
    gateway: [],
  };
  await world.enter();
  assert.equal(world.moved, [7]);
  assert.is(world.compared.length, 5001);
  assert.is(new Set(world.compared).size, 5001);
  assert.is(world.compared[0], inodeOid(9));
  // Each page of each list is fetched once: four for each of the three, one for the gateway.
  assert.ok(world.asked <= 13, `${world.asked} questions`);
});

test('lists of very different length lose nothing', async () => {
  const world = new World();
  world.lists = { a: objects(3000), b: objects(10, 2500), c: objects(1200, 5000), d: objects(1, 99_999) };
  await world.enter();
  assert.is(new Set(world.compared).size, 4201);
});

test('the estimate of what is left counts objects that several list once', async () => {
  const world = new World();
  world.lists = { a: objects(900), b: objects(900), c: objects(900) };
  const lists = { of: async () => [] } as unknown as ObjectLists;
  const list = await MoveList.open(world.node, lists, world.context, 0n);
  const page = await list.next();
  assert.is(page.length, 900);
  world.lists = { a: objects(300), b: objects(300, 300), c: objects(300, 600) };
  const disjoint = await MoveList.open(world.node, lists, world.context, 0n);
  const first = await disjoint.next();
  assert.is(first.length + disjoint.remaining, 900);
});

test('a walk goes on where it was when an epoch ends without another target', async () => {
  const world = new World();
  world.lists = { a: objects(4000) };
  let count = 0;
  world.onCompare = () => {
    if (++count === 3000) world.context = world.makeContext(7);
  };
  await world.enter();
  assert.equal(world.moved, []);
  await world.enter();
  assert.equal(world.moved, [7]);
  assert.is(new Set(world.compared).size, 4000);
  assert.ok(world.compared.length < 6000, `${world.compared.length} comparisons`);
});

test('a page that ends after its epoch moves no cursor: another target is walked from the beginning', async () => {
  const world = new World();
  world.lists = { a: objects(500) };
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  // The last object of the page is compared by this node itself, which does not ask whether the epoch is over.
  const former = world.context;
  let late = true;
  world.onCompare = async (oid) => {
    if (!late || oid !== dataOid(9, 499)) return;
    late = false;
    await held;
    world.context = former;
    queueMicrotask(() => {
      world.context = next;
    });
  };
  const next = world.makeContext(8);
  const first = world.mover.enter(former);
  await new Promise((resolve) => setImmediate(resolve));
  world.context = next;
  world.compared = [];
  const second = world.mover.enter(next);
  release();
  await Promise.all([first, second]);
  assert.equal(world.moved, [8]);
  assert.is(new Set(world.compared).size, 500);
});

test('what only somebody who was away can list is not passed by', async () => {
  const world = new World();
  world.lists = { a: objects(100, 50) };
  world.served = false;
  await world.enter();
  assert.is(world.mover.progress.waiting, 'holders');
  assert.equal(world.moved, []);
  // It comes back, in a new epoch, and knows of objects before all that were compared.
  world.lists = { a: objects(100, 50), b: objects(50) };
  world.served = true;
  world.context = world.makeContext(7);
  world.look();
  await world.enter();
  assert.equal(world.moved, [7]);
  assert.is(new Set(world.compared).size, 150);
});

test('one object that cannot be compared holds up the end and nothing else', async () => {
  const world = new World();
  world.lists = { a: objects(3000) };
  const bad = dataOid(9, 1);
  world.fail = (oid) => (oid === bad ? new AppError('io', 'block 3 is bad on every replica') : undefined);
  await world.enter();
  assert.is(world.compared.length, 2999);
  assert.equal(world.moved, []);
  assert.is(world.mover.progress.waiting, 'unreadable');
  assert.match(world.mover.progress.reason!, /1 objects have to wait: block 3/);
  world.fail = () => undefined;
  world.look();
  while (world.moved.length === 0) await new Promise((resolve) => setImmediate(resolve));
  assert.is(world.compared.length, 3000);
  assert.is(world.mover.progress.waiting, undefined);
});

test('nothing is copied when it does not fit, and it begins by itself when there is room', async () => {
  const world = new World();
  world.lists = { a: objects(2000), b: objects(2000) };
  world.freeBytes = recoveryReserveBytes(world.totalBytes) + 1900 * MIB;
  await world.enter();
  assert.equal(world.compared, []);
  assert.is(world.mover.progress.waiting, 'no-space');
  assert.match(
    world.mover.progress.reason!,
    /about 2000 MiB are to be taken over and there is room for 1900/,
  );
  world.freeBytes += 101 * MIB;
  world.look();
  while (world.moved.length === 0) await new Promise((resolve) => setImmediate(resolve));
  assert.is(world.compared.length, 2000);
});

test('it stops when others fill the disk meanwhile', async () => {
  const world = new World();
  world.lists = { a: objects(9000) };
  let count = 0;
  world.onCompare = () => {
    if (++count === 2000) world.freeBytes = recoveryReserveBytes(world.totalBytes) + 100 * MIB;
  };
  await world.enter();
  assert.is(world.mover.progress.waiting, 'no-space');
  assert.ok(world.compared.length < 9000);
});

test('what is here already from an earlier try needs no room', async () => {
  const world = new World();
  world.lists = { a: objects(2000) };
  world.here = new Set(objects(2000));
  world.freeBytes = recoveryReserveBytes(world.totalBytes) + MIB;
  await world.enter();
  assert.equal(world.moved, [7]);
});

test('the reserve of recovery is more than the store keeps for itself, and a small part of the disk', () => {
  for (const total of [GIB / 4, GIB, 10 * GIB, 100 * GIB, 2000 * GIB]) {
    const reserve = recoveryReserveBytes(total);
    const own = Math.max(64 * MIB, Math.floor(total / 100));
    assert.ok(reserve > own && reserve <= own + GIB, `${reserve} of ${total}`);
  }
});

test('lists say how long they are, and what part of the objects and bytes is theirs', async () => {
  const placement = { holders: ['self', 'b', 'new'], placed: ['self', 'b'], serving: ['self', 'b'] };
  const context = {
    drained: { promise: Promise.resolve() },
    view: { record: { base: 1, move: 2, nodes: [] }, nodes: new Map(), locate: () => placement },
  } as unknown as EpochContext;
  const node = {
    selfId: 'self',
    context,
    pause: async () => {},
    store: {
      objects: async function* () {
        yield* objects(3000);
      },
      stats: () => ({ usedBytes: 3000 * 4 * MIB }),
    },
    options: { log: silentLogger, resolve: async (oid: bigint) => ({ oid }) },
  } as unknown as ObjectNode;
  const lists = new ObjectLists(node);
  const message = emptyMessage(PeerType.listed);
  const first = await lists.answer(message, 'new');
  assert.is(first.length, 3000);
  assert.is(first.sequence, 1500);
  assert.is(first.offset, 1500 * 4 * MIB);
  assert.is(first.payload.length, LISTED_PAGE_ENTRIES * 8);
  message.oid = dataOid(9, 2999);
  const end = await lists.answer(message, 'new');
  assert.is(end.length, 0);
  assert.is((await lists.answer(message, 'b')).length, 0);
});

test.run();
