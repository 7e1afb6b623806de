import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatCtime, formatMinute, formatSecond, formatSize, parseSize } from '../../../src/cli/sizes.js';

test('sizes are numbers with a suffix, 1024-based, in either case', () => {
  const cases: [string, number][] = [
    ['0', 0],
    ['512', 512],
    ['512b', 512],
    ['1k', 1024],
    ['1.5K', 1536],
    ['.5k', 512],
    ['64M', 64 * 2 ** 20],
    ['4G', 2 ** 32],
    ['4GiB', 2 ** 32],
    ['4gib', 2 ** 32],
    ['16T', 2 ** 44],
    ['1P', 2 ** 50],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ];
  for (const [text, bytes] of cases) assert.is(parseSize(text), bytes, text);
});

test('what is no size is refused', () => {
  for (const text of [
    '',
    'x',
    '-1',
    '4GB',
    '4 G',
    '1e3',
    '0x10',
    '1..2',
    '4GG',
    '1BiB',
    '9P',
    '99999999999999999',
    'K',
    '.',
  ]) {
    assert.is(parseSize(text), undefined, text);
  }
});

test('sizes print as the original prints them', () => {
  const cases: [number, string][] = [
    [0, '0.0 MB'],
    [1000000, '1.0 MB'],
    [16 * 2 ** 20, '16 MB'],
    [4 * 2 ** 20, '4.0 MB'],
    [12.5 * 2 ** 20, '12 MB'],
    [2 ** 30, '1.0 GB'],
    [79219093504, '74 GB'],
    [237657280512, '221 GB'],
    [1484293898, '1.4 GB'],
    [17592186044416, '16 TB'],
    [341 * 2 ** 20, '341 MB'],
  ];
  for (const [bytes, text] of cases) assert.is(formatSize(bytes), text);
});

test('times print in local time', () => {
  const at = new Date(2026, 10, 2, 3, 5, 7).getTime();
  assert.is(formatMinute(at), '2026-11-02 03:05');
  assert.is(formatSecond(at), '2026-11-02 03:05:07');
  assert.is(formatCtime(at), 'Mon Nov  2 03:05:07 2026');
});

test.run();
