import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { beginsWithRepetition, QuietStart } from '../../../src/sheepdog/quiet-start.js';
import { Op } from '../../../src/wire/sheepdog.js';
import { SimClock } from '../../helpers/sim-clock.js';

test('answers leave, in order, when the client has fallen silent', async () => {
  const clock = new SimClock();
  const quiet = new QuietStart(clock);
  const sent: number[] = [];
  assert.ok(quiet.holds(() => sent.push(1)));
  await clock.run({ untilMs: 15 });
  quiet.heard();
  assert.ok(quiet.holds(() => sent.push(2)));
  await clock.run({ untilMs: 30 });
  assert.equal(sent, []);
  await clock.run({ untilMs: 40 });
  assert.equal(sent, [1, 2]);
  assert.not.ok(quiet.holds(() => sent.push(3)));
});

test('a client that never falls silent is answered all the same', async () => {
  const clock = new SimClock();
  const quiet = new QuietStart(clock);
  let sent = false;
  quiet.holds(() => {
    sent = true;
  });
  for (let ms = 10; ms <= 600; ms += 10) {
    await clock.run({ untilMs: ms });
    quiet.heard();
  }
  assert.ok(sent);
});

test('only repeated I/O of QEMU begins quietly', () => {
  const first = { opcode: Op.WRITE_OBJ, id: 17, version: 0 };
  assert.ok(beginsWithRepetition(first));
  assert.not.ok(beginsWithRepetition({ ...first, id: 0 }));
  assert.not.ok(beginsWithRepetition({ ...first, version: 1 }));
  assert.not.ok(beginsWithRepetition({ ...first, opcode: Op.LOCK_VDI }));
});

test.run();
