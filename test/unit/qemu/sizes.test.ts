import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatSize, parseSize, roundToSector } from '../../../src/qemu/sizes.js';

test('sizes are read as QEMU reads them', () => {
  const known: readonly (readonly [string, number | string])[] = [
    ['0', 0],
    ['1000', 1000],
    ['1b', 1],
    ['4k', 4096],
    ['1.5G', 1610612736],
    ['2t', 2 * 1024 ** 4],
    ['0x10', 16],
    ['', 'invalid'],
    ['1X', 'invalid'],
    ['1GiB', 'invalid'],
    ['G', 'invalid'],
    ['1 G', 'invalid'],
    ['-1', 'range'],
    ['8E', 'range'],
    ['9999999999999999999999', 'range'],
  ];
  for (const [text, value] of known) assert.is(parseSize(text), value, text);
});

test('sizes are printed as QEMU prints them', () => {
  const known: readonly (readonly [number, string])[] = [
    [0, '0 B'],
    [196 * 1024, '196 KiB'],
    [999, '999 B'],
    [1000, '0.977 KiB'],
    [1448346, '1.38 MiB'],
    [64 * 1024 ** 2, '64 MiB'],
    [1024 ** 3, '1 GiB'],
    [143654912, '137 MiB'],
    [5 * 1024 ** 4, '5 TiB'],
  ];
  for (const [bytes, text] of known) assert.is(formatSize(bytes), text);
});

test('images are whole sectors', () => {
  assert.equal([0, 1, 512, 513].map(roundToSector), [0, 512, 512, 1024]);
});

test.run();
