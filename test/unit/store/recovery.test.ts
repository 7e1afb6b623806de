import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { segmentPath } from '../../../src/store/journal.js';
import { objectPath } from '../../../src/store/object-path.js';
import {
  bodyStates,
  crashKinds,
  decide,
  headerStates,
  laterStates,
  matches,
  recoveryTable,
} from '../../../src/store/recovery.js';
import type { Store } from '../../../src/store/store.js';
import type { FakeDisk, FakeOp, Fault } from '../../helpers/fake-disk.js';
import { fakeDisk, filled, KIB, openFake, put, reads } from './helpers.js';

const oid = 0x0000_0001_0000_0001n;
const isJournal = (op: FakeOp) => op.kind === 'write' && op.path.startsWith('journal-') && op.offset >= 4096;

test('every combination of findings matches exactly one row of the recovery table', () => {
  let combinations = 0;
  const used = new Set<unknown>();
  for (const header of headerStates) {
    for (const body of bodyStates) {
      for (const later of laterStates) {
        for (const crash of crashKinds) {
          const finding = { header, body, later, crash };
          const rows = recoveryTable.filter((rule) => matches(rule, finding));
          assert.is(rows.length, 1, JSON.stringify(finding));
          assert.is(decide(finding), rows[0]!.action);
          used.add(rows[0]);
          combinations++;
        }
      }
    }
  }
  assert.is(combinations, 6 * 2 * 3 * 2);
  assert.is(used.size, recoveryTable.length);
});

test('a torn last batch ends the log and nothing before it is lost', async () => {
  const { disk, store } = await started();
  disk.onOp = (op): Fault | undefined => (isJournal(op) ? { type: 'short', length: 4096 + 512 } : undefined);
  await put(store, oid, 4096, filled(4096, 2));
  const again = await reopened(disk);
  assert.equal(await reads(again, oid, 0, 4096), filled(4096, 1));
  assert.ok(again.suspects().has(oid));
  assert.is(again.lossy, true, 'it may have been whole once, and acknowledged');
  await again.close();
});

test('a last batch that rotted after a kill is not taken for one that never was', async () => {
  for (const inBatch of [8, 16, 24, 32, 70, 96, 100, 4096 + 17]) {
    const { disk, store } = await started();
    let at = 0;
    disk.onOp = (op) => {
      if (isJournal(op)) at = op.offset;
      return undefined;
    };
    await put(store, oid, 4096, filled(4096, 2));
    disk.onOp = undefined;
    disk.flipBit(segmentPath(0), at + inBatch);
    const again = await reopened(disk);
    assert.is(again.lossy, true, `byte ${inBatch}`);
    await again.close();
  }
});

test('a kill between two batches loses nothing', async () => {
  const { disk, store } = await started();
  await put(store, oid, 4096, filled(4096, 2));
  const again = await reopened(disk);
  assert.is(again.lossy, false);
  assert.equal(await reads(again, oid, 4096, 4096), filled(4096, 2));
  await again.close();
});

test('a short last batch, cut in its header, ends the log', async () => {
  const { disk, store } = await started();
  disk.onOp = (op): Fault | undefined => (isJournal(op) ? { type: 'short', length: 64 } : undefined);
  await put(store, oid, 4096, filled(4096, 2));
  const again = await reopened(disk);
  assert.equal(await reads(again, oid, 0, 4096), filled(4096, 1));
  assert.is(again.lossy, true);
  await again.close();
});

test('a durable batch that the disk lost makes everything suspect, and later batches are replayed', async () => {
  const { disk, store } = await started();
  lostOnce(disk, { type: 'lose' });
  await put(store, oid, 4096, filled(4096, 2), { sync: true });
  await put(store, oid, 8192, filled(4096, 3), { sync: true });
  await put(store, oid, 12_288, filled(4096, 4), { sync: true });
  const again = await reopened(disk);
  assert.is(again.lossy, true);
  assert.ok(again.suspects().has(oid));
  assert.equal(await reads(again, oid, 12_288, 4096), filled(4096, 4));
  await again.close();
});

test('stale bytes of an earlier generation are not replayed', async () => {
  const { disk, store } = await started();
  await store.checkpoint();
  await put(store, oid, 0, filled(4096, 5));
  await store.checkpoint();
  // The first segment is in use for the third time; its older batches are still there behind the new ones.
  await put(store, oid, 0, filled(4096, 6));
  const again = await reopened(disk);
  assert.equal(await reads(again, oid, 0, 4096), filled(4096, 6));
  assert.is(again.lossy, false);
  await again.close();
});

test('a lost journal write over an older generation is found as stale', async () => {
  const { disk, store } = await started();
  for (let value = 2; value < 6; value++) await put(store, oid, 0, filled(4096, value));
  await store.checkpoint();
  await put(store, oid, 0, filled(4096, 6));
  await store.checkpoint();
  await put(store, oid, 0, filled(4096, 7), { sync: true });
  lostOnce(disk, { type: 'lose' });
  await put(store, oid, 4096, filled(4096, 8), { sync: true });
  await put(store, oid, 8192, filled(4096, 9), { sync: true });
  await put(store, oid, 12_288, filled(4096, 10), { sync: true });
  const again = await reopened(disk);
  assert.is(again.lossy, true);
  assert.equal(await reads(again, oid, 8192, 4096), filled(4096, 9));
  await again.close();
});

test('a misplaced journal write is not taken for a batch of that place', async () => {
  const { disk, store } = await started();
  await put(store, oid, 0, filled(4096, 2), { sync: true });
  lostOnce(disk, { type: 'misdirect', offset: 128 << 10 });
  await put(store, oid, 0, filled(4096, 3), { sync: true });
  await put(store, oid, 4096, filled(4096, 4), { sync: true });
  await put(store, oid, 8192, filled(4096, 5), { sync: true });
  const again = await reopened(disk);
  assert.is(again.lossy, true);
  assert.equal(await reads(again, oid, 8192, 4096), filled(4096, 5));
  await again.close();
});

test('an image that rotted in a durable batch is taken from the object', async () => {
  const { disk, store } = await started();
  let at = 0;
  disk.onOp = (op) => {
    if (isJournal(op) && at === 0) at = op.offset;
    return undefined;
  };
  await put(store, oid, 4096, filled(4096, 2), { sync: true });
  await put(store, oid, 8192, filled(4096, 3), { sync: true });
  await put(store, oid, 12_288, filled(4096, 4), { sync: true });
  disk.onOp = undefined;
  disk.flipBit(segmentPath(0), at + 4096 + 17);
  const again = await reopened(disk);
  assert.equal(await reads(again, oid, 4096, 4096), filled(4096, 2));
  assert.ok(again.lossy);
  await again.close();
});

test('a misplaced object write verifies in neither place', async () => {
  const { disk, store } = await started();
  await put(store, oid, 0, filled(16_384, 1), { sync: true });
  disk.onOp = (op) => {
    if (op.kind !== 'write' || op.path !== objectPath(oid)) return undefined;
    disk.onOp = undefined;
    return { type: 'misdirect', offset: 8192 };
  };
  await put(store, oid, 4096, filled(4096, 2));
  assert.equal(await store.verify(oid), [1, 2]);
  await store.close();
});

test('a lost object write does not verify, and replay repairs it', async () => {
  const { disk, store } = await started();
  disk.onOp = (op) => (op.path === objectPath(oid) && op.kind === 'write' ? { type: 'lose' } : undefined);
  await put(store, oid, 0, filled(4096, 2));
  assert.equal(await store.verify(oid), [0]);
  const again = await reopened(disk);
  assert.equal(await reads(again, oid, 0, 4096), filled(4096, 2));
  await again.close();
});

test('one torn checksum table leaves the other one', async () => {
  const { disk, store } = await started();
  await store.checkpoint();
  await put(store, oid, 4096, filled(4096, 2));
  await store.close();
  const size = disk.open(objectPath(oid)).size();
  const slots = [size - 8192, size - 4096];
  disk.flipBit(objectPath(oid), slots[0]! + 70);
  const again = await openFake(disk);
  assert.equal(await reads(again, oid, 0, 4096), filled(4096, 1));
  await again.close();
});

test('with both checksum tables lost the object reads as bad, never as holes', async () => {
  const { disk, store } = await started();
  await store.close();
  const size = disk.open(objectPath(oid)).size();
  disk.flipBit(objectPath(oid), size - 8192 + 70);
  disk.flipBit(objectPath(oid), size - 4096 + 70);
  disk.flipBit(objectPath(oid), size - 8192 + 20);
  const again = await openFake(disk);
  assert.ok(again.has(oid));
  assert.is((await again.verify(oid)).length, 64);
  await again.close();
});

test('after a lying sync a power cut is noticed as a lossy opening', async () => {
  const { disk, store } = await started();
  disk.onOp = (op) => (op.kind === 'sync' ? { type: 'lose' } : undefined);
  await put(store, oid, 4096, filled(4096, 2), { sync: true });
  disk.onOp = undefined;
  disk.crash({ powerCut: true, loseAll: true });
  const again = await openFake(disk, { bootId: 'other' });
  assert.is(again.lossy, true);
  assert.equal(await reads(again, oid, 0, 4096), filled(4096, 1));
  await again.close();
});

test('what a write that was lost has left below a hole is not taken for content after the next power cut', async () => {
  const disk = fakeDisk();
  let store = await openFake(disk);
  await put(store, oid, 128 * KIB, filled(4096, 1), { mode: 'create' });
  await store.checkpoint();
  await put(store, oid, 132 * KIB, filled(4096, 1), { sync: true });
  disk.crash({ powerCut: true, loseAll: true });
  // Of a large write whose record is lost, some bytes survived.
  disk.poke(objectPath(oid), 512, filled(4096, 2));
  store = await openFake(disk, { bootId: 'after one power cut' });
  await put(store, oid, 0, filled(64 * KIB, 3));
  // Its record becomes durable, its bytes do not.
  await put(store, oid + 1n, 0, filled(4096, 4), { mode: 'create', sync: true });
  disk.crash({ powerCut: true, loseAll: true });
  store = await openFake(disk, { bootId: 'after two' });
  assert.equal(await store.verify(oid), []);
  assert.equal(await reads(store, oid, 0, 64 * KIB), filled(64 * KIB, 0));
  await store.close();
});

test('a kill names what was in flight, and keeps naming it until cleared', async () => {
  const { disk, store } = await started();
  store.setUncommittedSource(() => [7n, 8n]);
  await put(store, oid, 4096, filled(4096, 2));
  let again = await reopened(disk);
  assert.equal([...again.suspects()].sort(), [7n, 8n, oid].sort());
  again = await reopened(disk);
  assert.is(again.suspects().size, 3);
  await again.clearSuspects([7n, oid]);
  again = await reopened(disk);
  assert.equal([...again.suspects()], [8n]);
  await again.close();
});

async function started(): Promise<{ disk: FakeDisk; store: Store }> {
  const disk = fakeDisk();
  const store = await openFake(disk);
  await put(store, oid, 0, filled(4096, 1), { mode: 'create', sync: true });
  return { disk, store };
}

function lostOnce(disk: FakeDisk, fault: Fault): void {
  disk.onOp = (op) => {
    if (!isJournal(op)) return undefined;
    disk.onOp = undefined;
    return fault;
  };
}

/** After a kill. */
function reopened(disk: FakeDisk): Promise<Store> {
  disk.onOp = undefined;
  disk.crash({ powerCut: false });
  return openFake(disk);
}

test.run();
