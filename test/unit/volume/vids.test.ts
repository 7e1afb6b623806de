import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { freeVid } from '../../../src/volume/vids.js';
import { sdHashVdi } from '../../../src/wire/hash.js';
import { VID_COUNT } from '../../../src/wire/oid.js';

test('a name takes the vid of its hash, the same as the original', () => {
  assert.is(
    freeVid('test', () => false),
    sdHashVdi('test'),
  );
});

test('taken vids are passed over', () => {
  const start = sdHashVdi('test');
  const used = new Set([start, start + 1, start + 2]);
  assert.is(
    freeVid('test', (vid) => used.has(vid)),
    start + 3,
  );
});

test('the search goes around the end and never gives vid 0', () => {
  assert.is(
    freeVid('test', (vid) => vid !== 1),
    1,
  );
  assert.is(
    freeVid('test', (vid) => vid !== VID_COUNT - 1),
    VID_COUNT - 1,
  );
});

test('when every vid is taken the search ends', () => {
  let asked = 0;
  let error: unknown;
  try {
    freeVid('test', (vid) => {
      asked++;
      return vid > 0;
    });
  } catch (caught) {
    error = caught;
  }
  assert.ok(AppError.isCode(error, 'full-vdi'));
  assert.is(asked, VID_COUNT - 1);
});

test.run();
