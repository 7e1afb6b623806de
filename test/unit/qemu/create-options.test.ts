import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type CreateOptions,
  formattingLine,
  parseOptionLists,
  readCreateOptions,
  shapeOf,
} from '../../../src/qemu/create-options.js';
import { formatKeyValues, parseKeyValues } from '../../../src/qemu/key-values.js';

const read = (...lists: string[]): CreateOptions => {
  const pairs = parseOptionLists(lists);
  assert.not.equal(pairs, 'help');
  return readCreateOptions(pairs as [string, string][]);
};
const shape = (list: string) => shapeOf(read(list));

const refusal =
  (complaint: string) =>
  (error: Error): boolean =>
    error.message === complaint;

test('a comma inside a value is written twice', () => {
  assert.equal(parseKeyValues('a=b,,c,d=,e=f=g'), [
    ['a', 'b,c'],
    ['d', ''],
    ['e', 'f=g'],
  ]);
  assert.is(
    formatKeyValues([
      ['a', 'b,c'],
      ['d', 'e'],
    ]),
    'a=b,,c,d=e',
  );
});

test('a word without a value is a switch, or the implied option', () => {
  assert.equal(parseKeyValues('raw,nocache,direct', 'driver'), [
    ['driver', 'raw'],
    ['cache', 'off'],
    ['direct', 'on'],
  ]);
});

test('options of several lists come together', () => {
  assert.equal(read('size=1.5G,redundancy=2', 'object_size=8M', 'preallocation=full'), {
    sizeBytes: 1610612736,
    redundancy: '2',
    objectBytes: 8388608,
    preallocation: 'full',
  });
});

test('help is asked for in two ways', () => {
  assert.is(parseOptionLists(['help']), 'help');
  assert.is(parseOptionLists(['size=1', '?']), 'help');
});

test('redundancy and object size become what a sheep is asked for', () => {
  assert.equal(shape('redundancy=31,object_size=2G'), { preallocate: false, copies: 31, blockSizeShift: 31 });
  assert.equal(shape('preallocation=full'), {
    preallocate: true,
    copies: undefined,
    blockSizeShift: undefined,
  });
});

test('wrong options are refused with QEMU words', () => {
  const objectSize =
    'Invalid object_size. obect_size needs to be power of 2 and be limited from 2^20 to 2^31';
  const wrong: readonly (readonly [string, string])[] = [
    ['redundancy=0', 'Invalid redundancy mode'],
    ['redundancy=32', 'Invalid redundancy mode'],
    ['redundancy=foo', 'Invalid redundancy mode'],
    ['redundancy=3:2', 'Invalid redundancy mode'],
    ['redundancy=4:16', 'Invalid redundancy mode'],
    ['redundancy=4:0', 'Invalid redundancy mode'],
    ['redundancy=4:2', 'Erasure coding (redundancy=4:2) is not available, use redundancy=N'],
    ['object_size=3M', objectSize],
    ['object_size=512k', objectSize],
    ['object_size=4G', objectSize],
    ['object_size=0', objectSize],
    ['preallocation=metadata', 'Preallocation mode not supported for Sheepdog'],
    ['preallocation=falloc', 'Preallocation mode not supported for Sheepdog'],
    ['preallocation=foo', "Invalid parameter 'foo'"],
    ['foo=1', "Invalid parameter 'foo'"],
    ['', 'Invalid option list: '],
  ];
  for (const [list, complaint] of wrong) assert.throws(() => shape(list), refusal(complaint), list);
  assert.throws(
    () => read('size=1X'),
    /^Parameter 'size' expects a non-negative number below 2\^64\nOptional/,
  );
});

test('the line about formatting names what was given, in the order of old', () => {
  const options = read('redundancy=2,preallocation=full,object_size=8M,size=1000');
  assert.is(
    formattingLine('sheepdog:x', 'raw', options),
    "Formatting 'sheepdog:x', fmt=raw size=1000 preallocation=full redundancy=2 object_size=8388608\n",
  );
  assert.is(
    formattingLine('sheepdog:x', 'sheepdog', { sizeBytes: 1, backingFile: 'sheepdog:b,c:t' }),
    "Formatting 'sheepdog:x', fmt=sheepdog size=1 backing_file=sheepdog:b,,c:t\n",
  );
});

test.run();
