import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../src/base/random.js';
import { encodePeerMessage } from '../../../src/net/peer-codec.js';
import { COPY_BYTES_MAX, SendBatch } from '../../../src/net/send-batch.js';
import { message, randomMessage } from './helpers.js';

test('the pieces of a batch are the messages one after the other', () => {
  const random = new SeededRandom(6);
  const batch = new SendBatch();
  for (let round = 0; round < 5; round++) {
    const sent = Array.from({ length: 60 }, () => randomMessage(random, random.below(3 * COPY_BYTES_MAX)));
    for (const m of sent) batch.add(m);
    const expected = Buffer.concat(sent.map(encodePeerMessage));
    assert.is(batch.bytes, expected.length);
    assert.is(Buffer.compare(Buffer.concat(batch.take()), expected), 0);
    assert.is(batch.bytes, 0);
  }
});

test('small messages share one piece', () => {
  const batch = new SendBatch();
  for (let id = 0; id < 50; id++) batch.add(message({ id, payload: Buffer.alloc(100) }));
  assert.is(batch.take().length, 1);
});

test('a large payload is not copied, a small one is', () => {
  const large = Buffer.alloc(COPY_BYTES_MAX + 1);
  const small = Buffer.from('small');
  const batch = new SendBatch();
  batch.add(message({ payload: large }));
  batch.add(message({ payload: small }));
  small.fill(0);
  const pieces = batch.take();
  assert.is(pieces.length, 3);
  assert.is(pieces[1], large);
  assert.ok(Buffer.from(pieces[2]!).toString('latin1').endsWith('small'));
});

test('what was taken does not change when more is added', () => {
  const batch = new SendBatch();
  batch.add(message({ id: 1 }));
  const first = Buffer.concat(batch.take());
  const view = Buffer.from(first);
  for (let id = 0; id < 10_000; id++) batch.add(message({ id }));
  assert.equal(first, view);
});

test('an empty batch has no pieces', () => {
  assert.equal(new SendBatch().take(), []);
});

test.run();
