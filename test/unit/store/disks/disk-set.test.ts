import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { dataOid } from '../../../../src/wire/oid.js';
import { clock } from '../helpers.js';
import {
  codeOf,
  deadline,
  disksWith,
  filled,
  firstByte,
  KIB,
  OBJECT,
  oidAt,
  openSet,
  put,
  someDisks,
  until,
} from './helpers.js';

const oids = (count: number) => Array.from({ length: count }, (_, i) => oidAt(i));

test('objects are spread over the disks, and each is on one', async () => {
  const disks = someDisks(3);
  const set = await openSet(disks);
  for (const oid of oids(60)) await put(set, oid, Number(oid & 0xffn) + 1);
  const counts = [0, 0, 0];
  for (const oid of oids(60)) {
    const [at, ...more] = disksWith(disks, oid);
    assert.equal(more, []);
    counts[at!]!++;
    assert.is(await firstByte(set, oid), Number(oid & 0xffn) + 1);
  }
  assert.ok(Math.min(...counts) > 5, String(counts));
  await set.close();
});

test('after a restart everything is found, whatever the order of the disks', async () => {
  const disks = someDisks(3);
  const set = await openSet(disks);
  for (const oid of oids(30)) await put(set, oid, 3, { sync: true });
  await set.close();
  const again = await openSet([disks[2]!, disks[0]!, disks[1]!]);
  for (const oid of oids(30)) assert.is(await firstByte(again, oid), 3);
  assert.is(again.incomplete, false);
  await again.close();
});

test('changes asked for in one turn are applied in their order, also those that make and remove', async () => {
  const set = await openSet(someDisks(3));
  const oid = oidAt(5);
  const done: Promise<void>[] = [];
  for (let round = 1; round <= 20; round++) {
    done.push(put(set, oid, round, { mode: 'ensure' }));
    done.push(set.remove(oid, 1, round % 3 === 0));
    done.push(put(set, oid, 100 + round, { mode: round % 2 ? 'create' : 'ensure' }));
    if (round % 4 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await deadline(Promise.all(done));
  assert.is(await firstByte(set, oid), 120);
  await deadline(set.remove(oid, 1, false));
  assert.is(set.has(oid), false);
  assert.is(await codeOf(() => set.read(oid, 0, 1)), 'no-object');
  await set.close();
});

test('a copy is made on the disk of its parent when both are of one family', async () => {
  const disks = someDisks(3);
  const set = await openSet(disks, { rootOf: (vid) => (vid === 8 ? 7 : vid) });
  for (let i = 0; i < 20; i++) {
    await put(set, dataOid(7, i), 1);
    await put(set, dataOid(8, i), 2, { mode: 'cow', parent: dataOid(7, i), offset: 8 * KIB });
    assert.equal(disksWith(disks, dataOid(8, i)), disksWith(disks, dataOid(7, i)));
  }
  await set.close();
});

test('a copy is right also when its parent is on another disk', async () => {
  const disks = someDisks(3);
  // Nobody knows that these are of one family.
  const set = await openSet(disks);
  let across = 0;
  for (let i = 0; i < 20; i++) {
    await put(set, dataOid(7, i), 1);
    await put(set, dataOid(8, i), 2, { mode: 'cow', parent: dataOid(7, i), offset: 8 * KIB });
    if (disksWith(disks, dataOid(8, i))[0] !== disksWith(disks, dataOid(7, i))[0]) across++;
    assert.is(await firstByte(set, dataOid(8, i)), 1);
    assert.is((await deadline(Promise.resolve(set.read(dataOid(8, i), 8 * KIB, 1))))[0], 2);
    assert.is((await deadline(Promise.resolve(set.read(dataOid(7, i), 8 * KIB, 1))))[0], 0);
  }
  assert.ok(across > 5, String(across));
  assert.is(await codeOf(put(set, dataOid(8, 99), 1, { mode: 'cow', parent: dataOid(7, 99) })), 'no-object');
  await set.close();
});

test('a copy sees a write to its parent that was asked for just before, on another disk too', async () => {
  const set = await openSet(someDisks(3));
  for (let i = 0; i < 12; i++) {
    await put(set, dataOid(7, i), 1);
    await put(set, dataOid(7, i), 3, { sync: true });
    await put(set, dataOid(8, i), 2, { mode: 'cow', parent: dataOid(7, i), offset: 8 * KIB });
    assert.is(await firstByte(set, dataOid(8, i)), 3);
  }
  await set.close();
});

test('an object for which its own disk has no room goes to another one', async () => {
  const disks = someDisks(2);
  const set = await openSet(disks);
  disks[0]!.capacityBytes = disks[0]!.usedBytes + 100 * KIB;
  for (const oid of oids(20)) await put(set, oid, 4);
  for (const oid of oids(20)) assert.equal(disksWith(disks, oid), [1]);
  disks[1]!.capacityBytes = disks[1]!.usedBytes;
  assert.is(await codeOf(put(set, oidAt(90), 4)), 'no-space');
  await set.close();
});

test('lists are those of all disks together', async () => {
  const set = await openSet(someDisks(3));
  for (const oid of oids(12)) await put(set, oid, 1, { epoch: 5 });
  await deadline(set.touch(oidAt(70), 6));
  await deadline(set.remove(oidAt(71), 6, false));
  const listed: bigint[] = [];
  for await (const oid of set.objects()) listed.push(oid);
  assert.equal(listed.sort(), oids(12).sort());
  assert.equal((await set.touchedSince(6)).sort(), [oidAt(70), oidAt(71)].sort());
  assert.is((await set.touchedSince(5)).length, 14);
  await set.forgetTouchedBefore(6);
  assert.is((await set.touchedSince(1)).length, 2);
  await set.close();
});

test('figures are sums, and disks that share a file system count its room once', async () => {
  const disks = someDisks(3);
  const set = await openSet(disks);
  for (const oid of oids(12)) await put(set, oid, 1);
  const { totalBytes, usedBytes } = set.stats();
  assert.is(totalBytes, 3 * (64 << 20));
  assert.ok(usedBytes >= 12 * 4096);
  await set.close();
  const shared = someDisks(3);
  for (const [i, disk] of shared.entries()) {
    const { space } = disk;
    disk.space = () => ({ ...space.call(disk), device: i === 2 ? 9 : 8 });
  }
  const second = await openSet(shared);
  assert.is(second.stats().totalBytes, 2 * (64 << 20));
  await second.close();
});

test('a node with one disk has no record, and its store is like any other', async () => {
  const disks = someDisks(1);
  const set = await openSet(disks);
  await put(set, oidAt(1), 1);
  await set.close();
  assert.is(disks[0]!.exists('disks'), false);
  assert.is(disks[0]!.exists('moving'), false);
});

test('after a kill the objects in flight on every disk are suspects', async () => {
  const disks = someDisks(3);
  const set = await openSet(disks);
  set.setUncommittedSource(() => oids(6));
  for (const oid of oids(6)) await put(set, oid, 1);
  for (const disk of disks) disk.crash({ powerCut: false });
  const again = await openSet(disks);
  for (const oid of oids(6)) assert.ok(again.suspects().has(oid));
  assert.is(again.lossy, false);
  await deadline(again.clearSuspects(oids(6)));
  assert.is(again.suspects().size, 0);
  await again.close();
});

test('a power cut of the machine makes the set lossy until that is cleared', async () => {
  const disks = someDisks(2);
  const set = await openSet(disks);
  await put(set, oidAt(1), 1);
  for (const disk of disks) disk.crash({ powerCut: true });
  const again = await openSet(disks, { bootId: 'boot-2' });
  assert.is(again.lossy, true);
  await again.clearLossy();
  await again.close();
  const third = await openSet(disks, { bootId: 'boot-2' });
  assert.is(third.lossy, false);
  await third.close();
  assert.ok(set);
});

test('what is in flight when a second disk comes is made once', async () => {
  const { DiskChanges } = await import('../../../../src/store/disks/disk-changes.js');
  const { silentLogger } = await import('../../../../src/base/log.js');
  const { identity, newId, optionsFor } = await import('./helpers.js');
  const disks = someDisks(2);
  const set = await openSet(disks.slice(0, 1));
  const options = { ...optionsFor([]), set, clock, log: silentLogger, identity, newId };
  const changes = new DiskChanges(options);
  const plugged = changes.plug('disk1', disks[1]!);
  const done: Promise<void>[] = [];
  let over = false;
  const load = async () => {
    for (let round = 0; !over; round++) {
      for (let i = 0; i < 4; i++) {
        const oid = oidAt(round * 2 + (i & 1));
        done.push(
          set.write({
            oid,
            objectBytes: OBJECT,
            mode: 'ensure',
            epoch: 1,
            offset: i * 4 * KIB,
            data: filled(4 * KIB, 7),
            sync: false,
          }),
        );
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    return done.length / 2;
  };
  const loading = load();
  await deadline(plugged);
  await new Promise((resolve) => setTimeout(resolve, 20));
  over = true;
  const count = await deadline(loading);
  await deadline(Promise.all(done));
  for (let i = 0; i < count; i++) {
    // One that is being moved has another name for a moment.
    await until(() => disksWith(disks, oidAt(i)).length === 1, `object ${i} is on one disk`);
    const at = (i & 1) * 4 * KIB;
    for (const offset of [at, at + 8 * KIB]) {
      assert.is((await deadline(Promise.resolve(set.read(oidAt(i), offset, 1))))[0], 7);
    }
  }
  await set.close();
});

test.run();
