import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { minCopiesOf } from '../../../src/control/cluster-calls.js';

const format = { formatId: 'f', former: [], createdMs: 0, blockSizeShift: 22 };
const needed = (config: Parameters<typeof minCopiesOf>[0]) => [1, 2, 3, 4].map((n) => minCopiesOf(config, n));

test('a cluster that began with one copy needs two of three when it has grown, unless one was asked for', () => {
  assert.equal(needed({ ...format, copies: 1, minCopies: 1, minCopiesByCopies: true }), [1, 1, 2, 2]);
  assert.equal(needed({ ...format, copies: 1, minCopies: 1 }), [1, 1, 1, 1]);
});

test('what was asked for counts for volumes of at least so many copies as the cluster was made with', () => {
  assert.equal(needed({ ...format, copies: 3, minCopies: 3 }), [1, 1, 3, 3]);
  assert.equal(needed({ ...format, copies: 3, minCopies: 1 }), [1, 1, 1, 1]);
  assert.equal(needed(undefined), [1, 1, 2, 2]);
});

test.run();
