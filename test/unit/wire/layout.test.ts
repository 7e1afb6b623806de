import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { layout } from '../../../src/wire/layout.js';

const sample = layout(32, [
  ['small', 'u8'],
  ['gap', 'pad', 1],
  ['middle', 'u16'],
  ['large', 'u32'],
  ['huge', 'u64'],
  ['below', 'i16'],
  ['raw', 'bytes', 4],
  ['deep', 'i32'],
  ['word', 'text', 6],
]);

const record = {
  small: 0x01,
  middle: 0x0203,
  large: 0x04050607,
  huge: 0x08090a0b0c0d0e0fn,
  below: -2,
  raw: Buffer.from([1, 2, 3, 4]),
  deep: -3,
  word: 'wörd',
};
const golden = '01000302070605040f0e0d0c0b0a0908feff01020304fdffffff77c3b6726400';

test('a record has exactly the bytes of its table', () => {
  assert.is(sample.encode(record).toString('hex'), golden);
});

test('bytes give the record back', () => {
  assert.equal(sample.decode(Buffer.from(golden, 'hex')), record);
});

test('a record lies anywhere in a larger buffer', () => {
  const bytes = Buffer.alloc(50, 0xee);
  sample.encodeInto(record, bytes, 9);
  assert.is(bytes.toString('hex', 9, 41), golden);
  assert.is(bytes[8], 0xee);
  assert.is(bytes[41], 0xee);
  assert.equal(sample.decode(new Uint8Array(bytes), 9), record);
});

test('fields left out are zero, whatever was there before', () => {
  const bytes = Buffer.alloc(32, 0xff);
  sample.encodeInto({ small: 1 }, bytes);
  assert.is(bytes.toString('hex'), `01${'00'.repeat(31)}`);
});

test('padding is ignored when read', () => {
  const bytes = Buffer.from(golden, 'hex');
  bytes[1] = 0x55;
  assert.equal(sample.decode(bytes), record);
});

test('a decoded record does not change with the buffer it came from', () => {
  const bytes = Buffer.from(golden, 'hex');
  const copy = sample.decode(bytes);
  bytes.fill(0);
  assert.equal(copy, record);
});

test('offsets and sizes of fields are known', () => {
  assert.equal(sample.fields.huge, { offset: 8, size: 8 });
  assert.equal(sample.fields.word, { offset: 26, size: 6 });
});

test('a text may fill its field without a NUL', () => {
  const bytes = sample.encode({ word: 'sixsix' });
  assert.is(sample.decode(bytes).word, 'sixsix');
});

test('a text that does not fit is refused, never cut', () => {
  assert.throws(() => sample.encode({ word: 'seven77' }), /word of 7 bytes does not fit/);
  assert.throws(() => sample.encode({ raw: Buffer.alloc(5) }), /does not fit/);
});

test('a number that does not fit is refused', () => {
  assert.throws(() => sample.encode({ small: 256 }), /out of range/);
  assert.throws(() => sample.encode({ large: -1 }), /out of range/);
});

test('a short buffer is a broken belief', () => {
  assert.throws(() => sample.decode(Buffer.alloc(31)), /cut short/);
  assert.throws(() => sample.decode(Buffer.alloc(40), 9), /cut short/);
  assert.throws(() => sample.encodeInto({}, Buffer.alloc(31)), /no room/);
});

test('a table whose widths do not add up does not load', () => {
  assert.throws(() => layout(3, [['a', 'u16']]), /take 2 bytes/);
  assert.throws(
    () =>
      layout(2, [
        ['a', 'u8'],
        ['a', 'u8'],
      ]),
    /unique/,
  );
});

test.run();
