import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  DAY_MS,
  firstOffset,
  defaultScrubLimits as limits,
  pauseAfter,
  scrubRate,
} from '../../../../src/cluster/scrub/scrub-pace.js';

const MIB = 1024 * 1024;
const TIB = MIB * MIB;

test('a pass is spread evenly over the period, within the floor and the ceiling', () => {
  const rate = (bytes: number) => scrubRate(bytes, 7 * DAY_MS, limits, false);
  assert.is(rate(0), MIB);
  assert.is(rate(100 * 1024 * MIB), MIB);
  assert.is(Math.round(rate(4 * TIB) / MIB), 7);
  assert.is(rate(100 * TIB), 20 * MIB);
});

test('somebody who waits gets the ceiling', () => {
  assert.is(scrubRate(0, 7 * DAY_MS, limits, true), 20 * MIB);
  assert.is(scrubRate(0, 0, limits, false), 20 * MIB);
});

test('the pause after an object makes up for its bytes', () => {
  const twelve = { bytes: 12 * MIB, tookMs: 100, bytesPerS: 4 * MIB, busy: false };
  assert.is(pauseAfter(twelve), 2900);
  assert.is(pauseAfter({ ...twelve, bytes: 0 }), 100);
});

test('slow disks are left alone for as long as they took, and nine times that while clients work', () => {
  const slow = { bytes: MIB, tookMs: 2000, bytesPerS: 20 * MIB };
  assert.is(pauseAfter({ ...slow, busy: false }), 2000);
  assert.is(pauseAfter({ ...slow, busy: true }), 18_000);
});

test('sheep begin at different places of their period', () => {
  assert.is(firstOffset(0), 0);
  assert.is(firstOffset(0x80000000), 0.5);
  assert.is(firstOffset(-1), 1 - 2 ** -32);
});

test.run();
