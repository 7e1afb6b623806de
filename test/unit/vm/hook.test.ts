import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import type { NbdPlace } from '../../../src/vm/domain-xml.js';
import { type Arrivals, type HookCluster, type HookOutcome, runHook } from '../../../src/vm/hook.js';

const own = { socket: '/run/own/nbd.sock' };
const other = { host: '10.0.0.2', port: 10809 };
const uuid = 'c120bcc8-f30c-4197-86c7-c42f39fa73bc';

class FakeCluster implements HookCluster {
  readonly ownPlace: NbdPlace = own;
  readonly asked: string[] = [];
  /** Of the volume at each claim; the last one stays. */
  users = [0];
  refusal: AppError | undefined;
  away = false;
  warnings: string[] = [];
  /** At each look; the last one stays. */
  blocking: string[][] = [[]];
  looks = 0;

  async places() {
    this.asked.push('places');
    if (this.away) throw new AppError('network', 'nobody answers');
    return [own, other];
  }

  async claim(ref: { name: string; tag?: string; snapId?: number }) {
    this.asked.push(`claim ${ref.name}${ref.tag === undefined ? '' : `@${ref.tag}`}${ref.snapId ?? ''}`);
    if (this.refusal !== undefined) throw this.refusal;
    const users = this.users.length > 1 ? this.users.shift()! : this.users[0]!;
    return { here: users === 0, users };
  }

  async release(name: string) {
    this.asked.push(`release ${name}`);
    if (this.away) throw new AppError('network', 'nobody answers');
  }

  async troubles() {
    this.looks++;
    const blocking = this.blocking.length > 1 ? this.blocking.shift()! : this.blocking[0]!;
    return { blocking, warnings: this.warnings };
  }
}

class MemoryArrivals implements Arrivals {
  readonly expected = new Set<string>();
  expect(id: string) {
    this.expected.add(id);
  }
  take(id: string) {
    return this.expected.delete(id);
  }
}

interface Disk {
  name?: string;
  place?: NbdPlace;
  more?: string;
  delay?: number;
}

function domain(...disks: Disk[]): string {
  const elements = disks.map(({ name = 'vol', place = own, more = '', delay }, index) => {
    const host =
      'socket' in place
        ? `<host transport='unix' socket='${place.socket}'/>`
        : `<host name='${place.host}' port='${place.port}'/>`;
    const reconnect = delay === undefined ? '' : `<reconnect delay='${delay}'/>`;
    const source = `<source protocol='nbd' name='${name}'>${host}${reconnect}</source>`;
    return `<disk type='network' device='disk'>${source}<target dev='vd${'abc'[index]}'/>${more}</disk>`;
  });
  return `<domain><name>web</name><uuid>${uuid}</uuid><devices>${elements.join('')}</devices></domain>`;
}

function run(
  operation: string,
  domainXml: string,
  cluster: HookCluster,
  arrivals: Arrivals = new MemoryArrivals(),
): Promise<HookOutcome> {
  return runHook({ operation, domainXml }, cluster, arrivals, { leavingMs: 400, wholeMs: 400 });
}

async function refusalOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof AppError) return error.message;
    throw error;
  }
  return 'not refused';
}

const foreign: NbdPlace = { host: '192.168.1.1', port: 10809 };

test('a domain with disks of others is left alone, also when the cluster is away', async () => {
  for (const away of [false, true]) {
    const cluster = new FakeCluster();
    cluster.away = away;
    for (const operation of ['prepare', 'started', 'release', 'migrate', 'restore']) {
      const outcome = await run(operation, domain({ place: foreign }), cluster);
      assert.equal(outcome, { warnings: [], impatient: [] });
    }
    assert.equal([...new Set(cluster.asked)], ['places']);
  }
});

test('at the start each volume is claimed, wherever in the cluster the disk points to', async () => {
  const cluster = new FakeCluster();
  cluster.warnings = ['one copy only'];
  const disks = domain({ name: 'a' }, { name: 'b@monday', place: other }, { name: 'c@3' });
  const { warnings } = await run('prepare', disks, cluster);
  assert.equal(cluster.asked.sort(), ['claim a', 'claim b@monday', 'claim c3', 'places']);
  assert.equal(warnings, ['one copy only']);
});

test('a mark in the alias makes a disk ours without asking anybody', async () => {
  const cluster = new FakeCluster();
  await run('prepare', domain({ place: foreign, more: "<alias name='ua-sheepfold-vda'/>" }), cluster);
  assert.equal(cluster.asked, ['claim vol']);
});

test('a volume that cannot be served keeps the domain from starting, and is named', async () => {
  const cluster = new FakeCluster();
  cluster.refusal = new AppError('no-vdi', 'no such volume');
  assert.is(await refusalOf(run('prepare', domain({}), cluster)), 'volume vol (vda): no such volume');
});

test('a cluster in which writes wait is waited for, and then keeps the domain from starting', async () => {
  const passing = new FakeCluster();
  passing.blocking = [['Writes wait.'], ['Writes wait.'], []];
  await run('prepare', domain({}), passing);
  assert.is(passing.looks, 3);
  const lasting = new FakeCluster();
  lasting.blocking = [['Writes wait.']];
  assert.is(
    await refusalOf(run('prepare', domain({}), lasting)),
    "Writes wait. 'dog doctor' says what to do",
  );
});

test('a client on its way out is waited for, one that stays is in the way', async () => {
  const leaving = new FakeCluster();
  leaving.users = [1, 1, 0];
  await run('prepare', domain({}), leaving);
  assert.is(leaving.asked.length, 3);
  const staying = new FakeCluster();
  staying.users = [1];
  assert.match(await refusalOf(run('prepare', domain({}), staying)), /^volume vol \(vda\) is in use/);
  for (const more of ['<shareable/>', '<readonly/>']) await run('prepare', domain({ more }), staying);
});

test('a domain that arrives shares its volume with where it comes from, once', async () => {
  const cluster = new FakeCluster();
  cluster.users = [1];
  const arrivals = new MemoryArrivals();
  await run('migrate', domain({}), cluster, arrivals);
  await run('prepare', domain({}), cluster, arrivals);
  assert.match(await refusalOf(run('prepare', domain({}), cluster, arrivals)), /is in use/);
});

test('who arrives or is restored uses the sheep of this host, and other disks stay', async () => {
  for (const operation of ['migrate', 'restore']) {
    const before = domain({ name: 'a', place: other }, { name: 'b', place: foreign }, { name: 'c' });
    const { domainXml } = await run(operation, before, new FakeCluster());
    assert.is(domainXml, domain({ name: 'a' }, { name: 'b', place: foreign }, { name: 'c' }));
    assert.is((await run(operation, domain({}), new FakeCluster())).domainXml, undefined);
  }
});

test('disks that do not wait for their sheep are told when the domain has started', async () => {
  const disks = domain({ delay: 60 }, {}, { place: foreign });
  assert.equal((await run('started', disks, new FakeCluster())).impatient, ['vdb']);
});

test('at the end volumes are given back, and nothing that goes wrong is in the way', async () => {
  for (const away of [false, true]) {
    const cluster = new FakeCluster();
    cluster.away = away;
    await run('release', domain({ name: 'a' }, { name: 'b', more: '<readonly/>' }), cluster);
    assert.equal(cluster.asked, ['release a']);
  }
});

test('a definition that cannot be read is refused', async () => {
  assert.match(await refusalOf(run('prepare', '<domain>', new FakeCluster())), /cannot be read/);
});

test.run();
