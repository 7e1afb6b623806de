import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { endingOf } from '../../../../src/vm/migrate/ending.js';

const cases = [
  ['running', 'absent', 'running', 'arrived'],
  ['running', 'shut off', 'running', 'arrived'],
  ['paused', 'absent', 'paused', 'arrived'],
  ['running', 'running', 'absent', 'stayed'],
  ['running', 'running', undefined, 'stayed'],
  ['running', 'running', 'paused', 'stayed'],
  ['paused', 'paused', 'absent', 'stayed'],
  ['running', 'paused', undefined, 'halted'],
  ['running', 'paused', 'absent', 'halted'],
  // Libvirt has begun to end the source, and has not told whether it did.
  ['running', 'paused', 'running', 'unclear'],
  ['running', undefined, 'running', 'unclear'],
  ['running', undefined, undefined, 'unclear'],
  ['running', 'absent', 'absent', 'unclear'],
  ['running', 'running', 'running', 'unclear'],
  ['paused', 'paused', 'paused', 'unclear'],
] as const;

for (const [state, here, there, ending] of cases) {
  test(`${state} before, then ${here} here and ${there} there: ${ending}`, () =>
    assert.is(endingOf(state, { here, there }), ending));
}

test.run();
