/**
 * Whole clusters of production nodes on simulated time, whose members cannot all reach each other, while all of them
 * reach the coordinator. Nothing here heals by itself unless the test says so.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SimCluster } from '../../../helpers/sim-cluster.js';
import { sheepKind } from '../../../sim/sheep.js';

const KIB = 1024;
const DEADLINE_MS = 60_000;
/** Detection, its settling and the new epoch, with a lease of 2 s. */
const STALL_MS = 7000;

class World {
  readonly said: string[] = [];
  readonly cluster: SimCluster;

  constructor(nodes: number, seed = 5) {
    this.cluster = new SimCluster({ kind: sheepKind, seed, nodes, trace: (line) => this.note(line) });
  }

  async start(copies: number): Promise<void> {
    const { cluster } = this;
    for (const machine of cluster.machines) cluster.start(machine);
    await this.until('all run', () => cluster.living().length === cluster.machines.length);
    await this.run(500);
    await this.finish(this.control('cluster.format', { copies, blockSizeShift: 20 }));
    await this.until('healthy', () => cluster.healthy());
    await this.finish(this.control('vdi.create', { name: 'v', sizeBytes: 16 << 20, copies }));
  }

  control(method: string, params: unknown): Promise<unknown> {
    return this.cluster.machines[0]!.life!.node!.control.call(method, params, new Uint8Array(0), () => {});
  }

  /** Cuts one way. */
  cut(from: number, to: number, blocked = true): void {
    this.cluster.network.setBlocked(`n${from}`, `n${to}`, blocked);
  }

  cutBoth(from: number, to: number, blocked = true): void {
    this.cut(from, to, blocked);
    this.cut(to, from, blocked);
  }

  run(ms: number): Promise<void> {
    const { clock } = this.cluster;
    return clock.run({ untilMs: clock.nowMs() + ms, eventsMax: 3_000_000 });
  }

  /** Milliseconds it took. */
  async until(what: string, isSo: () => boolean, deadlineMs = DEADLINE_MS): Promise<number> {
    const { clock } = this.cluster;
    const startMs = clock.nowMs();
    await clock.run({ untilMs: startMs + deadlineMs, stop: isSo, eventsMax: 3_000_000 });
    assert.ok(
      isSo(),
      `not in time: ${what}; ${this.cluster.complaints().join('; ')}\n${this.said.join('\n')}`,
    );
    return clock.nowMs() - startMs;
  }

  async finish<T>(work: Promise<T>, deadlineMs = DEADLINE_MS): Promise<{ value: T; tookMs: number }> {
    let done = false;
    const end = () => {
      done = true;
    };
    work.then(end, end);
    const tookMs = await this.until('an answer', () => done, deadlineMs);
    return { value: await work, tookMs };
  }

  /** Writes and reads all over a volume through a node, and flushes. Returns how long it took. */
  async use(gateway: number, value: number, deadlineMs = DEADLINE_MS): Promise<number> {
    const node = this.cluster.machines[gateway]!.life!.node!;
    const { tookMs } = await this.finish(
      (async () => {
        const device = await node.openDevice('v');
        const data = Buffer.alloc(4 * KIB, value);
        for (let offset = 0; offset < 16 << 20; offset += 1 << 20) await device.write(offset, data);
        await device.flush();
        for (let offset = 0; offset < 16 << 20; offset += 1 << 20) {
          assert.ok(data.equals(await device.read(offset, 4 * KIB)), 'what was written is read');
        }
        await device.close();
      })(),
      deadlineMs,
    );
    return tookMs;
  }

  /** Who has stepped aside, in order, as they say. */
  get gone(): string[] {
    return this.who('steps aside');
  }

  get back(): string[] {
    return this.who('takes its place');
  }

  /** Members that are up, as a node sees it. */
  upAt(node: number): number {
    const names = this.cluster.machines.map((m) => m.name);
    const one = this.cluster.machines[node]!.life!.node!;
    return names.filter((name) => !one.excludes!(name, this.incarnationOf(name))).length;
  }

  private incarnationOf(name: string): string {
    return this.cluster.machines.find((m) => m.name === name)!.life!.node!.incarnation!();
  }

  private who(text: string): string[] {
    return this.said.filter((line) => line.includes(text)).map((line) => /\bn\d+/.exec(line)![0]);
  }

  /** What nodes log, but for details. */
  private note(line: string): void {
    if (/ (info|warn|error): /.test(line)) this.said.push(line);
  }
}

test('of a pair without connection one steps aside, the rest goes on, and it returns when healed', async () => {
  const world = new World(3);
  await world.start(3);
  world.cutBoth(0, 1);
  assert.ok((await world.use(2, 1)) < STALL_MS);
  assert.is(world.gone.length, 1);
  await world.run(20_000);
  assert.is(world.gone.length, 1, 'nothing goes back and forth');
  assert.ok((await world.use(2, 2)) < 500);
  world.cutBoth(0, 1, false);
  await world.until('healthy again', () => world.cluster.healthy(), 20_000);
  assert.equal(world.back, world.gone);
});

test('a cut in one direction counts as a cut', async () => {
  const world = new World(3);
  await world.start(3);
  world.cut(1, 0);
  assert.ok((await world.use(2, 1)) < STALL_MS);
  assert.is(world.gone.length, 1);
  world.cut(1, 0, false);
  await world.until('healthy again', () => world.cluster.healthy(), 20_000);
});

test('a client of the node that steps aside goes on through another one', async () => {
  const world = new World(3);
  await world.start(2);
  world.cutBoth(0, 2);
  await world.until('one has gone', () => world.gone.length === 1);
  const other = world.gone[0] === 'n0' ? 2 : 0;
  assert.ok((await world.use(other, 3)) < STALL_MS);
  assert.ok((await world.use(1, 4)) < 500);
});

test('without any traffic broken connections are found as well', async () => {
  const world = new World(4);
  await world.start(2);
  await world.run(20_000);
  world.cutBoth(1, 3);
  await world.until('one has gone', () => world.gone.length === 1, STALL_MS);
});

test('the node that nobody reaches goes, and only that one', async () => {
  for (const center of [0, 4]) {
    const world = new World(5, 5 + center);
    await world.start(3);
    for (let i = 0; i < 5; i++) if (i !== center) world.cut(i, center);
    assert.ok((await world.use(2, 1)) < STALL_MS + 1000);
    await world.run(30_000);
    assert.equal(world.gone, [`n${center}`]);
  }
});

test('of two halves that both reach the coordinator one goes on', async () => {
  const world = new World(4);
  await world.start(3);
  for (const [a, b] of [
    [0, 2],
    [0, 3],
    [1, 2],
    [1, 3],
  ] as const)
    world.cutBoth(a, b);
  await world.until('two have gone', () => world.gone.length === 2);
  await world.run(30_000);
  const gone = [...world.gone].sort().join();
  assert.ok(gone === 'n0,n1' || gone === 'n2,n3', gone);
  for (const [a, b] of [
    [0, 2],
    [0, 3],
    [1, 2],
    [1, 3],
  ] as const)
    world.cutBoth(a, b, false);
  await world.until('healthy again', () => world.cluster.healthy(), 30_000);
  await world.use(1, 4);
});

test('the node that alone has the newest content stays, and the one that was away comes back for it', async () => {
  const world = new World(2);
  await world.start(2);
  const [first, second] = world.cluster.machines as [never, never];
  world.cluster.kill(second);
  await world.run(3000);
  await world.use(0, 7);
  // n1 returns, behind, and cannot reach n0.
  world.cutBoth(0, 1);
  world.cluster.start(second);
  await world.until('n1 has stepped aside', () => world.gone.includes('n1'));
  assert.ok((await world.use(0, 8)) < STALL_MS);
  assert.equal(world.gone, ['n1']);
  // Now it is n0 that is away; without it nobody has what it has.
  world.cluster.kill(first);
  await world.until('n1 is a member again', () => world.back.includes('n1'));
  world.cutBoth(0, 1, false);
  world.cluster.start(first);
  await world.until('healthy again', () => world.cluster.healthy());
  await world.use(0, 9);
});

test('a node that is frozen for long complains about nobody when it goes on', async () => {
  const world = new World(3);
  await world.start(3);
  const machine = world.cluster.machines[1]!;
  world.cluster.freeze(machine);
  await world.run(1500);
  world.cluster.thaw(machine);
  await world.run(5000);
  world.cluster.freeze(machine);
  await world.run(10_000);
  world.cluster.thaw(machine);
  await world.until('healthy again', () => world.cluster.healthy());
  await world.run(10_000);
  assert.equal(world.gone, []);
});

test('connections that come and go make it wait longer each time', async () => {
  const world = new World(3);
  await world.start(3);
  const { clock } = world.cluster;
  const startMs = clock.nowMs();
  for (let round = 0; clock.nowMs() - startMs < 45_000; round++) {
    world.cutBoth(0, 1, round % 2 === 0);
    await world.run(round % 2 === 0 ? 6000 : 3000);
  }
  assert.ok(world.gone.length >= 2 && world.gone.length <= 4, `${world.gone.length} times`);
  world.cutBoth(0, 1, false);
  await world.until('healthy again', () => world.cluster.healthy(), 90_000);
});

test.run();
