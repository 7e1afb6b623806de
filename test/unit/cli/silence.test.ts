import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Silence } from '../../../src/cli/silence.js';
import { within } from '../../helpers/real-cluster.js';

const moment = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('silence is told once, and not after an end', async () => {
  const told: number[] = [];
  const silence = new Silence((afterMs) => told.push(afterMs), 10);
  await within(5000, 'it is told', () => told.length > 0);
  await moment(50);
  assert.equal(told, [10]);
  silence.end();
  const ended = new Silence((afterMs) => told.push(afterMs), 10);
  ended.end();
  await moment(50);
  assert.equal(told, [10]);
});

test('a sign of life begins the wait anew', async () => {
  let told = 0;
  const silence = new Silence(() => told++, 2000);
  for (let i = 0; i < 5; i++) {
    await moment(5);
    silence.heard();
  }
  assert.is(told, 0);
  silence.end();
});

test.run();
