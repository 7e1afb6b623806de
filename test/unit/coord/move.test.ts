import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Clock, sleep } from '../../../src/base/clock.js';
import { AppError } from '../../../src/base/errors.js';
import { silentLogger } from '../../../src/base/log.js';
import { SeededRandom } from '../../../src/base/random.js';
import type { Coordinator } from '../../../src/coord/coordinator.js';
import { follow } from '../../../src/coord/follow-moves.js';
import type { GuardedCoordinator } from '../../../src/coord/guarded-coordinator.js';
import { CoordinatorMove } from '../../../src/coord/move-coordinator.js';
import { readStanding } from '../../../src/coord/standing.js';
import { put, rejectsWith } from '../../helpers/coordinator-suite.js';
import { inSimulatedTime } from '../../helpers/coordinator-worlds.js';
import { MemoryCoordinatorCluster } from '../../helpers/memory-coordinator.js';
import { SimClock } from '../../helpers/sim-clock.js';

const HERE = '/here';
const THERE = 'etcd://there/x';

/** Two coordinators, each a store of its own. */
class Scene {
  readonly clock = new SimClock();
  private readonly stores = new Map<string, MemoryCoordinatorCluster>();
  private count = 0;

  store(address: string): MemoryCoordinatorCluster {
    const found = this.stores.get(address);
    if (found) return found;
    const store = new MemoryCoordinatorCluster({ clock: this.clock, random: new SeededRandom(5) });
    this.stores.set(address, store);
    return store;
  }

  raw(address: string): Coordinator {
    return this.store(address).clientFor(`client-${++this.count}`);
  }

  open(address: string, onLeaving?: () => void, limitMs = 20_000): Promise<GuardedCoordinator> {
    const { clock } = this;
    const open = async (at: string): Promise<Coordinator> => this.raw(at);
    return follow({
      ...{ address, open, clock, limitMs, log: silentLogger },
      ...(onLeaving && { onLeaving }),
    });
  }

  move(options: { source: Coordinator; target: Coordinator; clock?: Clock; id?: string }): CoordinatorMove {
    return new CoordinatorMove({
      ...{ sourceAddress: HERE, targetAddress: THERE, id: 'm1', cluster: 'c', clock: this.clock },
      ...options,
      log: silentLogger,
    });
  }
}

/** What a sheep does: a key on a lease, and everything anew when the cluster moves. */
async function startSheep(scene: Scene, name: string, address: string): Promise<{ at: () => string }> {
  let place = '';
  const start = async (): Promise<void> => {
    const coordinator = await scene.open(address, () => void leave());
    const lease = await coordinator.grantLease(3000);
    try {
      await coordinator.txn([], [put(`node/${name}`, '', lease.id)]);
    } catch (error) {
      if (!AppError.isCode(error, 'again')) throw error;
    }
    place = coordinator.address;
    const leave = async (): Promise<void> => {
      place = '';
      await coordinator.close();
      await start();
    };
  };
  await start();
  return { at: () => place };
}

async function fill(scene: Scene, keys: number): Promise<void> {
  const coordinator = scene.raw(HERE);
  for (let i = 0; i < keys; i++) await coordinator.txn([], [put(`vdi/${i}`, `value ${i}`)]);
}

function userKeys(scene: Scene, address: string): string[] {
  return scene
    .store(address)
    .peek('vdi/')
    .map(({ key, value }) => `${key}=${value}`);
}

test('a cluster moves with all its keys, and its sheep go along', async () => {
  const scene = new Scene();
  await inSimulatedTime(scene.clock, async () => {
    await fill(scene, 250);
    const before = userKeys(scene, HERE);
    const sheep = await Promise.all(['a', 'b', 'c'].map((name) => startSheep(scene, name, HERE)));
    const move = scene.move({ source: scene.raw(HERE), target: scene.raw(THERE) });
    await move.begin();
    await move.finish();
    await sleep(scene.clock, 1000);
    assert.equal(
      sheep.map((one) => one.at()),
      [THERE, THERE, THERE],
    );
    assert.equal(userKeys(scene, THERE), before);
    assert.is(scene.store(THERE).peek('node/').length, 3);
    assert.is(scene.store(HERE).peek('node/').length, 0);
    const late = await scene.open(HERE);
    assert.is(late.address, THERE);
  });
});

test('a handle that slept while the cluster moved can write nothing where it was', async () => {
  const scene = new Scene();
  await inSimulatedTime(scene.clock, async () => {
    await fill(scene, 3);
    const slept = await scene.open(HERE);
    await slept.txn([], [put('k', '1')]);
    const move = scene.move({ source: scene.raw(HERE), target: scene.raw(THERE) });
    await move.begin();
    await rejectsWith('again', slept.txn([], [put('k', '2')]));
    await move.finish();
    await rejectsWith('again', slept.txn([{ key: 'k', value: '1' }], [put('k', '3')]));
    assert.is((await slept.get('k'))?.value, '1');
  });
});

test('a move that sheep do not make way for is taken back', async () => {
  const scene = new Scene();
  await inSimulatedTime(scene.clock, async () => {
    await fill(scene, 3);
    const stubborn = await scene.open(HERE);
    const lease = await stubborn.grantLease(3000);
    await stubborn.txn([], [put('node/s', '', lease.id)]);
    const move = scene.move({ source: scene.raw(HERE), target: scene.raw(THERE) });
    await move.begin();
    const waiter = scene.open(HERE, undefined, 1_000_000);
    await rejectsWith('again', move.finish());
    assert.is((await waiter).address, HERE);
    assert.ok((await stubborn.txn([], [put('k', '1')])).ok, 'and the sheep goes on');
    const other = await scene.open(HERE);
    assert.is(other.address, HERE);
  });
});

test('a place that holds another cluster is refused, and an earlier try of this one is not', async () => {
  const scene = new Scene();
  await inSimulatedTime(scene.clock, async () => {
    await fill(scene, 3);
    const there = scene.raw(THERE);
    await there.txn([], [put('cluster/config', 'another')]);
    const options = { source: scene.raw(HERE), target: there };
    await rejectsWith('exists', scene.move(options).begin());
    assert.is((await readStanding(options.source)).standing.state, 'here');
    await there.txn([], [{ type: 'delete', key: 'cluster/config' }]);
    await scene.move({ ...options, id: 'first' }).begin();
    await rejectsWith('again', scene.move({ ...options, id: 'second' }).begin());
  });
});

test('there and back again', async () => {
  const scene = new Scene();
  await inSimulatedTime(scene.clock, async () => {
    await fill(scene, 5);
    const sheep = await startSheep(scene, 'a', HERE);
    const there = scene.move({ source: scene.raw(HERE), target: scene.raw(THERE) });
    await there.begin();
    await there.finish();
    await sleep(scene.clock, 500);
    assert.is(sheep.at(), THERE);
    await (await scene.open(THERE)).txn([], [put('vdi/new', 'x'), { type: 'delete', key: 'vdi/0' }]);
    const before = userKeys(scene, THERE);
    const back = new CoordinatorMove({
      ...{ source: scene.raw(THERE), target: scene.raw(HERE), sourceAddress: THERE, targetAddress: HERE },
      ...{ id: 'm2', cluster: 'c', clock: scene.clock, log: silentLogger },
    });
    await back.begin();
    await back.finish();
    await sleep(scene.clock, 500);
    assert.is(sheep.at(), HERE);
    assert.equal(userKeys(scene, HERE), before);
    assert.is((await scene.open(THERE)).address, HERE);
  });
});

/** A coordinator whose user dies at its nth call to any of those with the same counter: before it, or after it. */
function mortal(inner: Coordinator, life: { left: number; after: boolean; die: () => void }): Coordinator {
  const never = new Promise<never>(() => {});
  const call = async <T>(run: () => Promise<T>): Promise<T> => {
    if (life.left < 0) return never;
    if (life.left-- > 0) return run();
    if (life.after) await run().catch(() => {});
    life.die();
    return never;
  };
  return {
    get: (key) => call(() => inner.get(key)),
    list: (prefix) => call(() => inner.list(prefix)),
    txn: (compares, ops) => call(() => inner.txn(compares, ops)),
    grantLease: (ttlMs) => call(() => inner.grantLease(ttlMs)),
    watch: (prefix, revision, onEvents) => inner.watch(prefix, revision, onEvents),
    suspect: (id) => inner.suspect(id),
    close: () => inner.close(),
  };
}

test('a mover that dies at any step leaves one coordinator in force, and nothing is lost', async () => {
  let decided = 0;
  let undone = 0;
  for (const after of [false, true]) {
    for (let steps = 0; ; steps++) {
      const scene = new Scene();
      let finished = false;
      await inSimulatedTime(scene.clock, async () => {
        await fill(scene, 3);
        const before = userKeys(scene, HERE);
        const sheep = await startSheep(scene, 'a', HERE);
        const source = scene.store(HERE).clientFor('mover');
        const target = scene.store(THERE).clientFor('mover');
        const die = (): void => {
          scene.store(HERE).kill('mover');
          scene.store(THERE).kill('mover');
        };
        const life = { left: steps, after, die };
        const move = scene.move({ source: mortal(source, life), target: mortal(target, life) });
        const done = move.begin().then(() => move.finish());
        done.catch(() => {});
        finished = (await Promise.race([done.then(() => true), sleep(scene.clock, 15_000)])) === true;
        const inForce = (await scene.open(HERE)).address;
        await sleep(scene.clock, 1000);
        assert.is(sheep.at(), inForce, `${steps} steps`);
        assert.equal(userKeys(scene, inForce), before);
        const states = await Promise.all([HERE, THERE].map((at) => readStanding(scene.raw(at))));
        const here = states.map(({ standing, text }) => text !== undefined && standing.state === 'here');
        if (inForce === THERE) assert.equal(here, [false, true]);
        else assert.ok(states[0]!.standing.state === 'here' && !here[1]);
        if (inForce === THERE) decided++;
        else undone++;
      });
      if (finished) break;
    }
  }
  assert.ok(decided > 3 && undone > 10, `${decided} decided, ${undone} undone`);
});

test.run();
