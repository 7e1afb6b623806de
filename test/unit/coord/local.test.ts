import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { crc32 } from '../../../src/base/bytes.js';
import { silentLogger } from '../../../src/base/log.js';
import { POLL_MS, TRUSTING_POLL_MS } from '../../../src/coord/local/local-coordinator.js';
import { openHostCoordinator } from '../../../src/coord/local/local-defaults.js';
import { LinuxProcesses } from '../../../src/coord/local/processes.js';
import { increment, put, rejectsWith } from '../../helpers/coordinator-suite.js';
import { FakeLocalWorld, realLocalWorld, within } from '../../helpers/coordinator-worlds.js';

function inWorld(world: FakeLocalWorld, body: (world: FakeLocalWorld) => Promise<void>): Promise<void> {
  return world.run(() => body(world));
}

test('a missing folder is refused unless it is to be created', async () => {
  await inWorld(new FakeLocalWorld(1, { create: false }), async (world) => {
    await rejectsWith('missing', world.open('a'));
    assert.not(world.disk.exists('coord'));
  });
});

test('a log of a later version is refused', async () => {
  await inWorld(new FakeLocalWorld(), async (world) => {
    await (await world.open('a')).close();
    const path = 'coord/log.00000001';
    const bytes = Buffer.from(world.disk.peek(path, 0, 32));
    bytes.writeUInt32LE(2, 8);
    bytes.writeUInt32LE(crc32(bytes.subarray(0, 28)), 28);
    world.disk.poke(path, 0, bytes);
    await rejectsWith('version', world.open('b'));
  });
});

test('a damaged head of the log is refused and not taken for an empty one', async () => {
  await inWorld(new FakeLocalWorld(), async (world) => {
    await (await world.open('a')).close();
    world.disk.flipBit('coord/log.00000001', 40);
    await rejectsWith('checksum', world.open('b'));
  });
});

test('a damaged record that others had applied is noticed, and the next log is whole again', async () => {
  await inWorld(new FakeLocalWorld(1, { rotateRecords: 20 }), async (world) => {
    const a = await world.open('a');
    for (let i = 0; i < 5; i++) await a.txn([], [put(`k/${i}`, '')]);
    const text = Buffer.from(world.disk.peek('coord/log.00000001', 0, 2000)).indexOf('k/2');
    world.disk.flipBit('coord/log.00000001', text);
    await rejectsWith('checksum', world.open('b'));
    for (let i = 5; i < 30; i++) await a.txn([], [put(`k/${i}`, '')]);
    const c = await world.open('c');
    assert.is((await c.list('k/')).entries.length, 30);
  });
});

test('a folder that may only be read is refused', async () => {
  const world = new FakeLocalWorld();
  await inWorld(world, async () => {
    await (await world.open('a')).close();
    world.disk.onOp = (op) => (op.kind === 'open' ? { type: 'error', code: 'read-only' } : undefined);
    await rejectsWith('read-only', world.open('b'));
  });
});

test('on a full disk transactions are refused, reads go on, and room brings everything back', async () => {
  await inWorld(new FakeLocalWorld(1, { rotateRecords: 5 }), async (world) => {
    const [a, b] = [await world.open('a'), await world.open('b')];
    const lease = await a.grantLease(500);
    await a.txn([], [put('k', '1', lease.id)]);
    const { capacityBytes } = world.disk;
    world.disk.capacityBytes = world.disk.usedBytes;
    await rejectsWith('no-space', fill(a));
    await rejectsWith('no-space', fill(b));
    await world.sleep(2000);
    assert.is((await b.get('k'))?.value, '1', 'its lease is renewed in place');
    const c = await world.open('c');
    assert.equal((await c.list('')).entries, (await a.list('')).entries);
    world.disk.capacityBytes = capacityBytes;
    await increment(c, 'count', 20);
    assert.is((await a.get('count'))?.value, '20');
    assert.ok(await b.get('k'));
  });
});

/** Small records at first find room in the last page. */
async function fill(handle: Awaited<ReturnType<FakeLocalWorld['open']>>): Promise<void> {
  for (let i = 0; i < 100; i++) await handle.txn([], [put('filler', 'x'.repeat(5000))]);
}

test('a rotation that finds no room for the next file refuses, then goes on', async () => {
  await inWorld(new FakeLocalWorld(1, { rotateRecords: 5 }), async (world) => {
    const a = await world.open('a');
    world.disk.onOp = (op) => {
      return op.path.includes('tmp.') && op.kind === 'write'
        ? { type: 'error', code: 'no-space' }
        : undefined;
    };
    let refused = 0;
    for (let i = 0; i < 12; i++) await a.txn([], [put(`k/${i}`, '')]).catch(() => refused++);
    assert.ok(refused > 0 && refused < 12);
    assert.is((await a.list('')).entries.length, 12 - refused);
    world.disk.onOp = undefined;
    for (let i = 0; i < 12; i++) await a.txn([], [put(`l/${i}`, '')]);
    assert.is((await a.list('l/')).entries.length, 12);
  });
});

test('a failed sync ends the handle, its leases with it, and acknowledges nothing', async () => {
  await inWorld(new FakeLocalWorld(), async (world) => {
    const a = await world.open('a');
    const lease = await a.grantLease(1000);
    world.disk.onOp = (op) => (op.kind === 'sync' ? { type: 'error', code: 'io' } : undefined);
    await rejectsWith('io', a.txn([], [put('k', '')]));
    await lease.lost;
    await rejectsWith('io', a.get('k'));
    assert.match(a.describe(), /failed/);
    await a.close();
  });
});

test('logs are rotated under load, old ones are removed, and a late reader sees the same', async () => {
  await inWorld(new FakeLocalWorld(4, { rotateRecords: 20 }), async (world) => {
    const handles = await Promise.all(['a', 'b', 'c', 'd'].map((name) => world.open(name)));
    const lease = await handles[0]!.grantLease(1000);
    await handles[0]!.txn([], [put('leased', '', lease.id)]);
    await Promise.all(handles.map((handle) => increment(handle, 'count', 50)));
    assert.is((await handles[0]!.get('count'))?.value, '200');
    const logs = world.disk.list('coord').filter((name) => name.startsWith('log.'));
    assert.ok(Number.parseInt(logs.at(-1)!.slice(4), 16) > 8);
    assert.ok(logs.length <= 5, logs.join());
    assert.equal(
      world.disk.list('coord').filter((name) => name.startsWith('tmp.')),
      [],
    );
    const late = await world.open('late');
    assert.equal(await late.list(''), await handles[1]!.list(''));
    await lease.revoke();
    assert.is(await late.get('leased'), undefined);
  });
});

test('a process that slept through more logs than are kept catches up exactly', async () => {
  await inWorld(new FakeLocalWorld(6, { rotateRecords: 5 }), async (world) => {
    const [a, b] = [await world.open('a'), await world.open('b')];
    await a.txn([], [put('goes', ''), put('stays', '')]);
    const { entries, revision } = await b.list('');
    const mirror = new Map(entries.map((kv) => [kv.key, kv.value]));
    b.watch('', revision, (events) => {
      for (const event of events) {
        if (event.type === 'put') mirror.set(event.kv.key, event.kv.value);
        else mirror.delete(event.key);
      }
    });
    world.freeze('b', true);
    const late = b.txn([], [put('late', 'b')]);
    await a.txn([], [{ type: 'delete', key: 'goes' }]);
    for (let i = 0; i < 100; i++) await a.txn([], [put('k', String(i))]);
    world.freeze('b', false);
    await late;
    const found = await a.list('');
    assert.equal(
      found.entries.map(({ key, value }) => [key, value]),
      [
        ['k', '99'],
        ['late', 'b'],
        ['stays', ''],
      ],
    );
    assert.equal(await b.list(''), found);
    assert.equal([...mirror].sort(), [
      ['k', '99'],
      ['late', 'b'],
      ['stays', ''],
    ]);
  });
});

test('a folder that was removed ends the handles that still use it', async () => {
  await inWorld(new FakeLocalWorld(), async (world) => {
    const a = await world.open('a');
    world.disk.unlink('coord/log.00000001');
    await world.sleep(1500);
    await rejectsWith('io', a.get('k'));
  });
});

test('a holder whose liveness cannot be told keeps its lease until its time is over', async () => {
  await inWorld(new FakeLocalWorld(), async (world) => {
    const [a, b] = [await world.open('a'), await world.open('b')];
    world.processes.unknown.add('a-1');
    const lease = await a.grantLease(400);
    await a.txn([], [put('k', '', lease.id)]);
    await world.sleep(2000);
    assert.ok(await b.get('k'));
    world.freeze('a', true);
    b.suspect(lease.id);
    await world.sleep(200);
    assert.ok(await b.get('k'), 'a hint is no proof');
    await world.sleep(400);
    assert.is(await b.get('k'), undefined);
  });
});

test('a lease whose file was removed is given up by its holder', async () => {
  await inWorld(new FakeLocalWorld(), async (world) => {
    const a = await world.open('a');
    const lease = await a.grantLease(400);
    world.disk.unlink(`coord/leases/${lease.id}`);
    const startMs = world.nowMs();
    await lease.lost;
    assert.ok(world.nowMs() - startMs <= 110);
  });
});

test('renewals that cannot be written end the lease in time, for its holder first', async () => {
  await inWorld(new FakeLocalWorld(), async (world) => {
    const [a, b] = [await world.open('a'), await world.open('b')];
    const lease = await a.grantLease(400);
    await a.txn([], [put('k', '', lease.id)]);
    world.disk.onOp = (op) => {
      return op.path.includes('leases/') && op.kind === 'write' ? { type: 'error', code: 'io' } : undefined;
    };
    await lease.lost;
    assert.ok(lease.validUntilMs() <= world.nowMs());
    await world.sleep(100);
    assert.is(await b.get('k'), undefined);
  });
});

test('files of leases are removed with them, and those of the dead when somebody opens', async () => {
  await inWorld(new FakeLocalWorld(), async (world) => {
    const a = await world.open('a');
    const lease = await a.grantLease(400);
    assert.equal(world.disk.list('coord/leases'), [lease.id]);
    await lease.revoke();
    assert.equal(world.disk.list('coord/leases'), []);
    world.disk.onOp = (op) => {
      if (op.kind === 'write' && op.path.includes('log.')) world.kill('a');
      return undefined;
    };
    void a.grantLease(400);
    world.disk.onOp = undefined;
    assert.is(world.disk.list('coord/leases').length, 1);
    world.crash({ powerCut: false });
    await world.open('b');
    await world.sleep(300);
    assert.equal(world.disk.list('coord/leases'), []);
  });
});

test('another handle hears of a change without polling where the system tells', async () => {
  const world = realLocalWorld({ pollMs: 60_000 });
  await world.run(async () => {
    const [a, b] = [await world.open('a'), await world.open('b')];
    const heard = new Promise<void>((resolve) => void b.watch('k', 0, () => resolve()));
    await a.txn([], [put('k', '')]);
    await within(2000, heard);
  });
});

test('a notifier that tells is trusted, and one that keeps something back is not', async () => {
  const listeners: (() => void)[] = [];
  const notifier = {
    start: (onChange: () => void) => {
      listeners.push(onChange);
      return { close: () => {} };
    },
  };
  await inWorld(new FakeLocalWorld(1, { notifier }), async (world) => {
    const [a, b] = [await world.open('a'), await world.open('b')];
    let heard = () => {};
    b.watch('k', 0, () => heard());
    const noticedAfterMs = async (tells: boolean): Promise<number> => {
      const startMs = world.clock.nowMs();
      const noticed = new Promise<void>((resolve) => {
        heard = resolve;
      });
      await a.txn([], [put('k', String(startMs))]);
      if (tells) for (const tell of listeners) tell();
      await noticed;
      return world.clock.nowMs() - startMs;
    };
    assert.ok((await noticedAfterMs(true)) < 10);
    await world.sleep(POLL_MS);
    const kept = await noticedAfterMs(false);
    assert.ok(kept > 2 * POLL_MS && kept <= TRUSTING_POLL_MS + 10, `${kept} ms`);
    for (let i = 0; i < 5; i++) assert.ok((await noticedAfterMs(false)) <= POLL_MS + 10);
  });
});

test('the folder of a host must lie in a folder that is there', async () => {
  const root = mkdtempSync(join(tmpdir(), 'sheepfold-coord-'));
  try {
    const open = (path: string, create: boolean): Promise<unknown> =>
      openHostCoordinator({ path: join(root, path), log: silentLogger, create });
    await rejectsWith('missing', open('none/coord', true));
    await rejectsWith('missing', open('coord', false));
    mkdirSync(join(root, 'readonly'));
    chmodSync(join(root, 'readonly'), 0o500);
    if (process.getuid?.() !== 0) await rejectsWith('read-only', open('readonly/coord', true));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test('processes of this host are told dead from alive, and other boots and containers apart', async () => {
  const processes = new LinuxProcesses();
  const self = processes.selfIdentity();
  const [boot, namespace, pid, start] = self.split('/');
  assert.is(processes.liveness(self), 'alive');
  assert.is(
    processes.liveness([boot, namespace, pid, Number(start) - 1].join('/')),
    'dead',
    'pid used again',
  );
  assert.is(processes.liveness(['other', namespace, pid, start].join('/')), 'dead', 'before this boot');
  assert.is(processes.liveness([boot, '1', pid, start].join('/')), 'unknown', 'another container');
  assert.is(processes.liveness('nonsense'), 'unknown');
  assert.ok(processes.isListed(self));
  for (const other of [
    'nonsense',
    [boot, namespace, '0', '1'].join('/'),
    [boot, '1', pid, start].join('/'),
  ]) {
    assert.not(processes.isListed(other));
  }
  const child = spawn('sleep', ['30']);
  const exited = new Promise((resolve) => child.on('exit', resolve));
  const stat = [boot, namespace, child.pid].join('/');
  assert.is(processes.liveness(`${stat}/0`), 'dead');
  assert.ok(processes.isListed(`${stat}/0`), 'it is another one, which a thorough look finds');
  child.kill('SIGKILL');
  await within(2000, exited);
  assert.is(processes.liveness(`${stat}/1`), 'dead');
  assert.not(processes.isListed(`${stat}/1`));
});

test.run();
