import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { judgeCopy } from '../../../../src/store/disks/object-copy.js';
import { disksWith, firstByte, oidAt, openSet, put, someDisks, until } from './helpers.js';

/**
 * What a crash may leave of a move, step by step, and what counts then. In no row is the older content chosen: nothing
 * changes the object between the first step and the last.
 */
const table = [
  // on the old disk, in `moving` of the new one, under its name on the new one
  { old: true, moving: true, named: false, keep: 'old' },
  { old: false, moving: true, named: false, keep: 'moving' },
  // Not left by a crash: a disk that forgot what it had acknowledged. What has the name is what was served.
  { old: false, moving: true, named: true, keep: 'named' },
  { old: true, moving: true, named: true, keep: 'old' },
] as const;

test('whatever a crash leaves of a move, exactly one file counts', () => {
  for (const old of [true, false]) {
    for (const named of [true, false]) {
      const row = table.find((each) => each.old === old && each.named === named);
      assert.ok(row, `old ${old}, named ${named}`);
      const verdict = judgeCopy({ onOtherDisk: old, onSameDisk: named });
      assert.is(verdict, row.keep === 'moving' ? 'adopt' : 'drop');
    }
  }
});

for (const { old, keep } of table.slice(0, 2)) {
  test(`a node that finds a copy under way ${old ? 'and' : 'without'} the original keeps the ${keep} one`, async () => {
    const disks = someDisks(2);
    const set = await openSet(disks);
    const oid = oidAt(1);
    await put(set, oid, 0x55, { sync: true });
    await set.close();
    const [at] = disksWith(disks, oid);
    const from = disks[at!]!;
    const to = disks[1 - at!]!;
    const path = `obj/000007/${oid.toString(16).padStart(16, '0')}`;
    const moving = `moving/${oid.toString(16).padStart(16, '0')}`;
    const bytes = from.peek(path, 0, from.open(path).size());
    const file = to.open(moving, { create: true });
    file.write([bytes], 0);
    if (!old) from.unlink(path);
    const again = await openSet(disks);
    assert.equal(disksWith(disks, oid).length, 1);
    assert.equal(to.list('moving').concat(from.list('moving')), []);
    assert.is(await firstByte(again, oid), 0x55);
    await again.close();
  });
}

test('an object that is moved keeps its content, its epoch and its place in listings', async () => {
  const disks = someDisks(2);
  let root = 7;
  const set = await openSet(disks, { rootOf: () => root });
  const oids = Array.from({ length: 20 }, (_, i) => oidAt(i));
  for (const [i, oid] of oids.entries()) await put(set, oid, i + 1, { epoch: 3 });
  const before = oids.map((oid) => disksWith(disks, oid)[0]!);
  root = 0x1234;
  set.rebalancer.wake();
  await until(() => !set.rebalancer.active, 'the pass ends');
  const after = oids.map((oid) => disksWith(disks, oid)[0]!);
  assert.ok(after.some((at, i) => at !== before[i]));
  assert.is(set.moved.objects, after.filter((at, i) => at !== before[i]).length);
  for (const [i, oid] of oids.entries()) {
    assert.is(await firstByte(set, oid), i + 1);
    assert.is(disksWith(disks, oid).length, 1);
  }
  const listed: bigint[] = [];
  for await (const oid of set.objects()) listed.push(oid);
  assert.equal(listed.sort(), [...oids].sort());
  assert.equal((await set.touchedSince(3)).length, 20);
  assert.equal(await set.touchedSince(4), []);
  await set.close();
});

test('an object with a bad block stays where it is', async () => {
  const disks = someDisks(2);
  let root = 7;
  const set = await openSet(disks, { rootOf: () => root });
  const oids = Array.from({ length: 8 }, (_, i) => oidAt(i));
  for (const oid of oids) await put(set, oid, 9, { sync: true });
  await set.close();
  for (const oid of oids) {
    const path = `obj/000007/${oid.toString(16).padStart(16, '0')}`;
    disks[disksWith(disks, oid)[0]!]!.flipBit(path, 100);
  }
  const before = oids.map((oid) => disksWith(disks, oid)[0]!);
  const again = await openSet(disks, { rootOf: () => root });
  root = 0x1234;
  again.rebalancer.wake();
  await until(() => !again.rebalancer.active, 'the pass ends');
  assert.equal(
    oids.map((oid) => disksWith(disks, oid)[0]!),
    before,
  );
  await again.close();
});

test.run();
