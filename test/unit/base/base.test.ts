import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { alignDown, alignUp, crc32, isZero } from '../../../src/base/bytes.js';
import { AppError, errorKinds, isErrorCode } from '../../../src/base/errors.js';
import { SeededRandom } from '../../../src/base/random.js';
import { forEachLimit, Signal } from '../../../src/base/signal.js';

test('alignment works beyond 32 bits', () => {
  assert.equal([alignDown(4097, 4096), alignUp(4097, 4096), alignUp(4096, 4096)], [4096, 8192, 4096]);
  assert.is(alignDown(2 ** 45 + 5, 4096), 2 ** 45);
});

test('only zeros are zero, wherever the one other byte is', () => {
  assert.ok(isZero(Buffer.alloc(0)));
  assert.ok(isZero(Buffer.alloc(4096)));
  for (const at of [0, 1, 2047, 4095]) {
    const bytes = Buffer.alloc(4096);
    bytes[at] = 1;
    assert.not(isZero(bytes));
  }
  assert.not(isZero(Buffer.alloc(10, 1)));
});

test('the checksum is the one of zlib, and can be continued', () => {
  assert.is(crc32(Buffer.from('123456789')), 0xcbf43926);
  assert.is(crc32(Buffer.from('6789'), crc32(Buffer.from('12345'))), 0xcbf43926);
});

test('anything caught becomes an AppError with the original as its cause', () => {
  const own = new AppError('again', 'later');
  assert.is(AppError.from(own), own);
  const other = new TypeError('oops');
  const made = AppError.from(other, 'io');
  assert.equal([made.code, made.message, made.cause], ['io', 'oops', other]);
  assert.is(AppError.from('text').message, 'text');
  assert.not(AppError.isCode(other, 'io'));
});

test('only codes of the table are codes', () => {
  assert.ok(Object.keys(errorKinds).every(isErrorCode));
  assert.not(isErrorCode('toString'));
  assert.not(isErrorCode('__proto__'));
});

test('a seed repeats itself, and every value below a bound comes up', () => {
  const one = new SeededRandom(5);
  const two = new SeededRandom(5);
  assert.equal(one.bytes(100), two.bytes(100));
  const seen = new Set(Array.from({ length: 1000 }, () => one.below(7)));
  assert.equal([...seen].sort(), [0, 1, 2, 3, 4, 5, 6]);
});

test('a signal keeps the first value and can be asked', async () => {
  const signal = new Signal<number>();
  assert.not(signal.fired);
  signal.fire(1);
  signal.fire(2);
  assert.ok(signal.fired);
  assert.is(await signal.promise, 1);
});

test('work with a limit never exceeds it, and the first failure stops new work', async () => {
  let running = 0;
  let most = 0;
  const done: number[] = [];
  await forEachLimit([1, 2, 3, 4, 5, 6], 2, async (n) => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
    done.push(n);
  });
  assert.equal([most, done.length], [2, 6]);
  const started: number[] = [];
  const failure = await forEachLimit([1, 2, 3, 4, 5, 6], 2, async (n) => {
    started.push(n);
    await new Promise((resolve) => setImmediate(resolve));
    if (n === 2) throw new Error('two');
  }).catch((error: Error) => error.message);
  assert.is(failure, 'two');
  assert.ok(started.length <= 4);
});

test.run();
