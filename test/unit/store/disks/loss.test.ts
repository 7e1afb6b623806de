import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { DiskSet } from '../../../../src/store/disks/disk-set.js';
import type { FakeDisk } from '../../../helpers/fake-disk.js';
import { codeOf, deadline, disksWith, firstByte, oidAt, openSet, put, someDisks, until } from './helpers.js';

const oids = (count: number) => Array.from({ length: count }, (_, i) => oidAt(i));
const OBJECTS = 24;

/** A set with objects on all disks, and what is where. */
async function filledSet(
  count = 3,
): Promise<{ disks: FakeDisk[]; set: DiskSet; on: (disk: number) => bigint[] }> {
  const disks = someDisks(count);
  const set = await openSet(disks);
  for (const [i, oid] of oids(OBJECTS).entries()) await put(set, oid, i + 1, { sync: true });
  const places = new Map(oids(OBJECTS).map((oid) => [oid, disksWith(disks, oid)[0]]));
  return { disks, set, on: (disk) => oids(OBJECTS).filter((oid) => places.get(oid) === disk) };
}

/** From now on nothing can be written to the disk. */
function breakDisk(disk: FakeDisk, code: 'io' | 'read-only' = 'io'): void {
  disk.onOp = (op) => (op.kind === 'read' ? undefined : { type: 'error', code });
}

for (const code of ['io', 'read-only'] as const) {
  test(`a disk whose writes fail with '${code}' is dropped at the first one, and the others go on`, async () => {
    const { disks, set, on } = await filledSet();
    let told = 0;
    set.onIncomplete(() => told++);
    breakDisk(disks[1]!, code);
    assert.is(await codeOf(put(set, on(1)[0]!, 9)), 'again');
    assert.is(told, 1);
    assert.is(set.incomplete, true);
    assert.is(set.members.length, 2);
    for (const oid of [...on(0), ...on(2)]) {
      assert.is(await firstByte(set, oid), Number(oid & 0xffn) + 1);
      await put(set, oid, 77);
    }
    await set.close();
  });
}

test('until the loss is admitted nobody hears that a lost object does not exist', async () => {
  const { disks, set, on } = await filledSet();
  breakDisk(disks[1]!);
  await codeOf(put(set, on(1)[0]!, 9));
  const lost = on(1)[1]!;
  for (const ask of [
    () => set.has(lost),
    () => set.read(lost, 0, 1),
    () => set.checksums(lost),
    () => set.blockRuns(lost),
    () => set.objectBytes(lost),
    () => set.verify(lost),
    () => set.touchedSince(0),
    () => set.remove(lost, 2, false),
    () => set.touch(lost, 2),
    () => put(set, lost, 1),
    () => put(set, lost, 1, { mode: 'create' }),
    () => put(set, on(0)[0]!, 1, { mode: 'cow', parent: lost }),
    () => set.has(oidAt(999)),
  ]) {
    assert.is(await codeOf(ask), 'again', String(ask));
  }
  let flushed = false;
  const flush = set.flush().then(() => {
    flushed = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.is(flushed, false);
  set.admitIncomplete();
  await deadline(flush);
  assert.is(set.has(lost), false);
  assert.is(await codeOf(() => set.read(lost, 0, 1)), 'no-object');
  await put(set, lost, 5);
  assert.is(await firstByte(set, lost), 5);
  await set.close();
});

test('a loss is remembered over restarts until it is cleared, and the lost disk is not used again', async () => {
  const { disks, set, on } = await filledSet();
  breakDisk(disks[1]!);
  await codeOf(put(set, on(1)[0]!, 9));
  set.admitIncomplete();
  await deadline(set.flush());
  await put(set, on(1)[0]!, 50, { sync: true });
  await set.close();
  disks[1]!.onOp = undefined;
  const again = await openSet(disks);
  assert.is(again.incomplete, true);
  assert.is(again.members.length, 2);
  // The old content on the disk that was lost must never be seen.
  assert.is(await firstByte(again, on(1)[0]!), 50);
  assert.is(again.has(on(1)[1]!), false);
  await again.clearIncomplete();
  await again.close();
  const third = await openSet(disks);
  assert.is(third.incomplete, false);
  await third.close();
});

test('what was in flight on a lost disk is refused with a word that means: try again', async () => {
  const { disks, set, on } = await filledSet();
  const flight = on(1).map((oid) => codeOf(put(set, oid, 9, { sync: true })));
  breakDisk(disks[1]!);
  for (const code of await deadline(Promise.all(flight))) assert.is(code, 'again');
  await set.close();
});

test('a sync that fails drops the disk', async () => {
  const { disks, set, on } = await filledSet();
  disks[2]!.failNth(0, 'io', 'sync');
  assert.is(await codeOf(put(set, on(2)[0]!, 9, { sync: true })), 'again');
  assert.is(set.members.length, 2);
  await set.close();
});

test('a flush does not promise what the lost disk had', async () => {
  const { disks, set, on } = await filledSet();
  await put(set, on(1)[0]!, 9);
  disks[1]!.failNth(0, 'io', 'sync');
  let outcome = 'waits';
  const flush = set.flush().then(
    () => {
      outcome = 'done';
    },
    () => {
      outcome = 'refused';
    },
  );
  await until(() => set.incomplete, 'the loss is seen');
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.is(outcome, 'waits');
  set.admitIncomplete();
  await deadline(flush);
  assert.is(outcome, 'done');
  await set.close();
});

test('clearing speaks only of losses that were admitted', async () => {
  const { disks, set, on } = await filledSet();
  breakDisk(disks[1]!);
  await codeOf(put(set, on(1)[0]!, 9));
  set.admitIncomplete();
  await deadline(set.flush());
  breakDisk(disks[2]!);
  await codeOf(put(set, on(2)[0]!, 9));
  await set.clearIncomplete();
  assert.is(set.incomplete, true);
  assert.is(await codeOf(() => set.has(on(2)[1]!)), 'again');
  set.admitIncomplete();
  await deadline(set.flush());
  await set.clearIncomplete();
  assert.is(set.incomplete, false);
  await set.close();
});

test('the loss of the last disk ends the store', async () => {
  const { disks, set } = await filledSet(2);
  for (const disk of disks) breakDisk(disk);
  let failed: Error | undefined;
  void set.failed.then((error) => {
    failed = error;
  });
  for (const oid of oids(OBJECTS)) assert.is(await codeOf(put(set, oid, 9)), 'again');
  await until(() => failed !== undefined, 'failed resolves');
  await set.close();
});

test('a deleted directory is noticed without any request', async () => {
  const { disks, set, on } = await filledSet();
  let told = false;
  set.onIncomplete(() => {
    told = true;
  });
  for (const name of ['superblock', 'suspects']) if (disks[0]!.exists(name)) disks[0]!.unlink(name);
  await until(() => told, 'the probe sees it', 4000);
  assert.is(set.members.length, 2);
  assert.is(await firstByte(set, on(1)[0]!), Number(on(1)[0]! & 0xffn) + 1);
  await set.close();
});

test('a deleted directory is noticed at once by who asks for something that is not there', async () => {
  const { disks, set } = await filledSet();
  disks[0]!.unlink('superblock');
  assert.is(await codeOf(() => set.has(oidAt(999))), 'again');
  assert.is(set.incomplete, true);
  await set.close();
});

test('a full disk is not a lost one', async () => {
  const { disks, set, on } = await filledSet();
  disks[1]!.capacityBytes = disks[1]!.usedBytes;
  await new Promise((resolve) => setTimeout(resolve, 1300));
  assert.is(set.members.length, 3);
  assert.is(await firstByte(set, on(1)[0]!), Number(on(1)[0]! & 0xffn) + 1);
  await set.close();
});

test('a disk that is missing at the start keeps the node from starting, unless it is given up', async () => {
  const { disks, set, on } = await filledSet();
  await set.close();
  const left = [disks[0]!, disks[2]!];
  assert.is(await codeOf(openSet(left)), 'missing');
  const without = await openSet(left, { missing: 'drop' });
  assert.is(without.incomplete, true);
  assert.is(without.has(on(1)[0]!), false);
  await without.close();
  // It is given up for good: no option is needed from now on, and what comes back is old.
  const again = await openSet(disks);
  assert.is(again.members.length, 2);
  assert.is(again.incomplete, true);
  await again.close();
});

test('a disk that cannot be opened at the start is like one that is missing', async () => {
  const { disks, set } = await filledSet();
  await set.close();
  breakDisk(disks[1]!);
  assert.is(await codeOf(openSet(disks)), 'missing');
  const without = await openSet(disks, { missing: 'drop' });
  assert.is(without.members.length, 2);
  assert.is(without.incomplete, true);
  await without.close();
});

test('disks of two nodes are not taken together', async () => {
  const one = await filledSet(2);
  const other = await filledSet(2);
  await one.set.close();
  await other.set.close();
  assert.ok(await codeOf(openSet([one.disks[0]!, other.disks[0]!])));
});

test.run();
