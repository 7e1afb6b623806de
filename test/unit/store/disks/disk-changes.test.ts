import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DiskChanges } from '../../../../src/store/disks/disk-changes.js';
import type { DiskSet } from '../../../../src/store/disks/disk-set.js';
import type { FakeDisk } from '../../../helpers/fake-disk.js';
import {
  codeOf,
  deadline,
  disksWith,
  firstByte,
  KIB,
  oidAt,
  openSet,
  optionsFor,
  put,
  someDisks,
  until,
} from './helpers.js';

const oids = (count: number) => Array.from({ length: count }, (_, i) => oidAt(i));
const OBJECTS = 24;

function changesOf(set: DiskSet, gone: string[] = []): DiskChanges {
  return new DiskChanges({ ...optionsFor([]), set, onGone: (name) => gone.push(name) });
}

async function filledSet(disks: FakeDisk[]): Promise<DiskSet> {
  const set = await openSet(disks);
  for (const [i, oid] of oids(OBJECTS).entries()) await put(set, oid, i + 1, { epoch: 4, sync: true });
  return set;
}

async function isWhole(set: DiskSet, disks: readonly FakeDisk[]): Promise<void> {
  for (const [i, oid] of oids(OBJECTS).entries()) {
    assert.is(await firstByte(set, oid), i + 1);
    assert.is(disksWith(disks, oid).length, 1);
  }
}

test('a disk that is plugged in gets its part of the objects, and is there after a restart', async () => {
  const disks = someDisks(2);
  const set = await filledSet(disks.slice(0, 1));
  const changes = changesOf(set);
  await deadline(changes.plug('new', disks[1]!));
  assert.equal(
    changes.list().map(({ name, state }) => [name, state]),
    [
      ['disk0', 'active'],
      ['new', 'active'],
    ],
  );
  await until(() => !set.rebalancer.active, 'objects have moved');
  const part = oids(OBJECTS).filter((oid) => disksWith(disks, oid)[0] === 1).length;
  assert.ok(part > 4 && part < 20, String(part));
  await isWhole(set, disks);
  await set.close();
  assert.is(await codeOf(openSet(disks.slice(0, 1))), 'missing');
  const again = await openSet(disks);
  await isWhole(again, disks);
  assert.is(again.incomplete, false);
  await again.close();
});

test('a disk with objects of an earlier time is not plugged in', async () => {
  const disks = someDisks(2);
  const other = await filledSet([disks[1]!]);
  await other.close();
  const set = await openSet([disks[0]!]);
  assert.is(await codeOf(changesOf(set).plug('old', disks[1]!)), 'invalid');
  assert.is(await codeOf(changesOf(set).plug('disk0', disks[0]!)), 'exists');
  await set.close();
});

test('a crash between the steps of plugging in leaves a set that opens', async () => {
  for (let at = 0; at < 120; at++) {
    const disks = someDisks(2);
    const set = await filledSet([disks[0]!]);
    const which = at % 2;
    disks[which]!.crashAtOp(disks[which]!.opCount + (at >> 1));
    await changesOf(set)
      .plug('disk1', disks[1]!)
      .catch(() => {});
    for (const disk of disks) disk.frozen = true;
    await set.close().catch(() => {});
    for (const disk of disks) disk.crash({ powerCut: false });
    const again = await openSet(disks);
    assert.is(again.incomplete, false, `crash at ${at}`);
    await isWhole(again, disks);
    await again.close();
  }
});

test('a disk that is unplugged is emptied first, and then forgotten', async () => {
  const disks = someDisks(3);
  const set = await filledSet(disks);
  const gone: string[] = [];
  await deadline(changesOf(set, gone).unplug('disk1', false));
  await until(() => gone.length > 0, 'it is empty');
  assert.equal(gone, ['disk1']);
  assert.is(set.incomplete, false);
  await isWhole(set, disks);
  assert.is((await set.touchedSince(4)).length, OBJECTS);
  for (const oid of oids(OBJECTS)) assert.not(disksWith(disks, oid).includes(1));
  await set.close();
  const again = await openSet([disks[0]!, disks[2]!]);
  await isWhole(again, disks);
  assert.is((await again.touchedSince(4)).length, OBJECTS);
  await again.close();
});

test('unplugging goes on while objects are written, and nothing is lost', async () => {
  const disks = someDisks(3);
  const set = await filledSet(disks);
  const gone: string[] = [];
  await deadline(changesOf(set, gone).unplug('disk1', false));
  const last = new Map<bigint, number>();
  for (let round = 0; gone.length === 0 && round < 2000; round++) {
    const oid = oidAt(round % 40);
    last.set(oid, (round % 250) + 1);
    await put(set, oid, (round % 250) + 1, { epoch: 5 });
    if (round % 7 === 3) {
      await set.remove(oid, 5, false);
      last.delete(oid);
    }
  }
  assert.equal(gone, ['disk1']);
  for (const [oid, value] of last) {
    assert.is(await firstByte(set, oid), value);
    assert.is(disksWith(disks, oid).length, 1);
  }
  await set.close();
});

test('what was touched on a disk that goes is still known, also what was removed', async () => {
  const disks = someDisks(2);
  const set = await filledSet(disks);
  for (let i = 100; i < 120; i++) await set.touch(oidAt(i), 9);
  for (const oid of oids(6)) await set.remove(oid, 9, false);
  const gone: string[] = [];
  await deadline(changesOf(set, gone).unplug('disk0', false));
  await until(() => gone.length > 0, 'it is empty');
  assert.is((await set.touchedSince(9)).length, 26);
  await set.close();
});

test('emptying a disk goes on after a restart', async () => {
  const disks = someDisks(3);
  const set = await filledSet(disks);
  await deadline(changesOf(set).unplug('disk1', false));
  for (const disk of disks) disk.frozen = true;
  await set.close().catch(() => {});
  for (const disk of disks) disk.crash({ powerCut: false });
  const again = await openSet(disks);
  const gone: string[] = [];
  changesOf(again, gone);
  await until(() => gone.length > 0, 'it is empty');
  await isWhole(again, disks);
  assert.is(again.members.length, 2);
  await again.close();
});

test('a disk is not emptied when the others have no room for it', async () => {
  const disks = someDisks(2);
  const set = await filledSet(disks);
  disks[0]!.capacityBytes = disks[0]!.usedBytes + 70 * KIB;
  assert.is(await codeOf(changesOf(set).unplug('disk1', false)), 'no-space');
  assert.equal(
    set.members.map(({ leaving }) => leaving),
    [false, false],
  );
  await set.close();
});

test('the last disk stays', async () => {
  const disks = someDisks(2);
  const set = await filledSet(disks);
  const changes = changesOf(set);
  await deadline(changes.unplug('disk1', false));
  assert.is(await codeOf(changes.unplug('disk0', false)), 'invalid');
  assert.is(await codeOf(changes.unplug('disk0', true)), 'invalid');
  assert.is(await codeOf(changes.unplug('elsewhere', false)), 'missing');
  await set.close();
});

test('by force a disk is dropped at once, and the set is incomplete', async () => {
  const disks = someDisks(3);
  const set = await filledSet(disks);
  let told = false;
  set.onIncomplete(() => {
    told = true;
  });
  const gone: string[] = [];
  await deadline(changesOf(set, gone).unplug('disk1', true));
  assert.equal(gone, ['disk1']);
  assert.is(told, true);
  await set.close();
  const again = await openSet(disks);
  assert.is(again.incomplete, true);
  assert.is(again.members.length, 2);
  await again.close();
});

test('an unplug that has not ended can be taken back', async () => {
  const disks = someDisks(2);
  const set = await openSet(disks, { pace: { delayMs: 0, pauseMs: 50, pauseRatio: 0 } });
  for (const oid of oids(OBJECTS)) await put(set, oid, 1);
  const changes = changesOf(set);
  await deadline(changes.unplug('disk1', false));
  await deadline(changes.keep('disk1'));
  assert.is(set.members.length, 2);
  assert.equal(
    changes.list().map(({ state }) => state),
    ['active', 'active'],
  );
  await set.close();
});

test.run();
