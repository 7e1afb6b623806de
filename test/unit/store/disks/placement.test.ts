import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { inOrder, nearest, placeOf, seedOf } from '../../../../src/store/disks/placement.js';
import { dataOid, inodeOid } from '../../../../src/wire/oid.js';
import { newId } from './helpers.js';

const OBJECTS = 20_000;

function disk(weight: number) {
  return { seed: seedOf(newId()), weight };
}

function countOn(disks: readonly { seed: number; weight: number }[]): number[] {
  const counts = disks.map(() => 0);
  for (let i = 0; i < OBJECTS; i++)
    counts[disks.indexOf(nearest(dataOid(3 + (i >> 12), i & 4095), disks)!)]!++;
  return counts;
}

test('disks of one size get equal parts of the objects', () => {
  for (const count of [2, 3, 5, 12]) {
    const wanted = OBJECTS / count;
    // Four standard deviations of a fair draw.
    for (const found of countOn(Array.from({ length: count }, () => disk(100)))) {
      assert.ok(Math.abs(found - wanted) < 4 * Math.sqrt(wanted), `${found} of ${wanted} on one of ${count}`);
    }
  }
});

test('a disk of three times the size gets three times the objects', () => {
  const [small, large] = countOn([disk(1e12), disk(3e12)]);
  assert.ok(Math.abs(large! / small! - 3) < 0.15, `${large} and ${small}`);
});

test('a disk of weight zero gets nothing', () => {
  assert.equal(countOn([disk(0), disk(5)])[0], 0);
  assert.is(nearest(5n, [disk(0)]), undefined);
});

test('when a disk is added, objects move only to it, and only its part', () => {
  const before = [disk(100), disk(100), disk(100)];
  const after = [...before, disk(100)];
  let moved = 0;
  for (let i = 0; i < OBJECTS; i++) {
    const oid = dataOid(9, i);
    const now = nearest(oid, after);
    if (now === nearest(oid, before)) continue;
    assert.is(now, after[3]);
    moved++;
  }
  assert.ok(Math.abs(moved - OBJECTS / 4) < 300, `${moved} moved`);
});

test('when a disk goes, only its objects move, and to all of the others', () => {
  const before = [disk(100), disk(100), disk(100)];
  const after = before.slice(1);
  const to = after.map(() => 0);
  for (let i = 0; i < OBJECTS; i++) {
    const oid = dataOid(9, i);
    const now = nearest(oid, after)!;
    if (nearest(oid, before) === before[0]) to[after.indexOf(now)]!++;
    else assert.is(now, nearest(oid, before));
  }
  assert.ok(Math.abs(to[0]! - to[1]!) < 350, String(to));
});

test('the order begins with the nearest disk and has each once', () => {
  const disks = [disk(3), disk(1), disk(2), disk(0)];
  for (let i = 0; i < 200; i++) {
    const order = inOrder(dataOid(1, i), disks);
    assert.is(order[0], nearest(dataOid(1, i), disks));
    assert.is(new Set(order).size, 3);
  }
});

test('all versions of a block in a family have one place, an inode has its own', () => {
  const rootOf = (vid: number) => ({ 5: 4, 6: 4, 4: 4 })[vid];
  assert.is(placeOf(dataOid(5, 9), rootOf), dataOid(4, 9));
  assert.is(placeOf(dataOid(6, 9), rootOf), placeOf(dataOid(4, 9), rootOf));
  assert.is(placeOf(dataOid(77, 9), rootOf), dataOid(77, 9));
  assert.is(placeOf(inodeOid(5), rootOf), inodeOid(5));
});

test.run();
