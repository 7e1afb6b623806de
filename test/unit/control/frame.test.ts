import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ByteQueue } from '../../../src/base/byte-queue.js';
import { AppError } from '../../../src/base/errors.js';
import { decodePayload, encodePayloadHead } from '../../../src/control/frame.js';
import {
  decodeRequestHeader,
  decodeResponseHeader,
  encodeRequestHeader,
  encodeResponseHeader,
  HEADER_BYTES,
} from '../../../src/control/sheepdog-header.js';

const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex');

test('a request header has the golden bytes of the table', () => {
  const header = { version: 2, opcode: 0xe0, flags: 1, epoch: 7, id: 0x01020304, dataLength: 0x2a };
  const bytes = encodeRequestHeader(header);
  assert.is(hex(bytes), `02e00100${'07000000'}${'04030201'}${'2a000000'}${'00'.repeat(32)}`);
  assert.equal(decodeRequestHeader(bytes), header);
});

test('an answer header has the golden bytes of the table', () => {
  const header = { opcode: 0xe0, flags: 0x8000, epoch: 3, id: 9, dataLength: 5, result: 0x8b };
  const bytes = encodeResponseHeader(header);
  assert.is(hex(bytes), `00e00080${'03000000'}${'09000000'}${'05000000'}${'8b000000'}${'00'.repeat(28)}`);
  assert.is(bytes.length, HEADER_BYTES);
  assert.equal(decodeResponseHeader(bytes), header);
});

test('the lock request of a real client decodes as the reference says', () => {
  const bytes = Buffer.from(`0112010000000000000000000002000000${'00'.repeat(31)}`, 'hex');
  const header = decodeRequestHeader(bytes);
  assert.is(header.version, 1);
  assert.is(header.opcode, 0x12);
  assert.is(header.dataLength, 512);
});

test('a payload head is a length and JSON text, counted in bytes', () => {
  assert.is(hex(encodePayloadHead({ a: 'é' })), `0a000000${hex(Buffer.from('{"a":"é"}'))}`);
});

test('a payload round-trips with its blob', () => {
  const payload = Buffer.concat([encodePayloadHead({ method: 'x' }), Buffer.from([1, 2, 3])]);
  const { json, blob } = decodePayload(payload, 100);
  assert.equal(json, { method: 'x' });
  assert.is(hex(blob), '010203');
});

test('a payload that is too short, too long, or no JSON is refused', () => {
  const bad: [string, RegExp][] = [
    ['000000', /too short/],
    ['0a0000007b7d', /longer than its payload/],
    ['ffffffff7b7d', /exceeds/],
    ['020000007b7b', /not JSON/],
  ];
  for (const [text, expected] of bad) {
    assert.throws(
      () => decodePayload(Buffer.from(text, 'hex'), 100),
      (error: unknown) => AppError.isCode(error, 'invalid') && expected.test(error.message),
    );
  }
});

test('a byte queue gives the same pieces wherever the stream was split', () => {
  const whole = Buffer.from(Array.from({ length: 20 }, (_, i) => i));
  for (let first = 0; first <= 20; first++) {
    for (let second = first; second <= 20; second++) {
      const queue = new ByteQueue();
      queue.push(whole.subarray(0, first));
      queue.push(whole.subarray(first, second));
      queue.push(whole.subarray(second));
      assert.is(hex(queue.take(3)!), '000102');
      assert.is(queue.drop(4), 4);
      assert.is(hex(queue.take(10)!), hex(whole.subarray(7, 17)));
      assert.is(queue.take(4), undefined);
      assert.is(hex(queue.take(3)!), hex(whole.subarray(17)));
      assert.is(queue.length, 0);
      assert.is(queue.drop(5), 0);
    }
  }
});

test.run();
