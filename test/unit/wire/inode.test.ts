import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  decodeTime,
  encodeTime,
  INODE_BYTES,
  INODE_CLIENT_BYTES,
  INODE_GREF_OFFSET,
  INODE_INDEX_OFFSET,
  indexEntryOffset,
  inodeHeader,
} from '../../../src/wire/inode.js';

test('the parts of an inode have the sizes that QEMU and the tools expect', () => {
  assert.is(INODE_INDEX_OFFSET, 4664);
  assert.is(INODE_CLIENT_BYTES, 4_198_968);
  assert.is(INODE_GREF_OFFSET, 4_198_968);
  assert.is(INODE_BYTES, 12_587_576);
  assert.is(indexEntryOffset(0), 4664);
  assert.is(indexEntryOffset((1 << 20) - 1), 4_198_964);
});

test('the fields of the header have the offsets that QEMU and the tools use', () => {
  const offsets = Object.entries(inodeHeader.fields).map(([name, field]) => [name, field.offset]);
  assert.equal(offsets, [
    ['name', 0],
    ['tag', 256],
    ['createTime', 512],
    ['snapTime', 520],
    ['vmClockNsec', 528],
    ['vdiSize', 536],
    ['vmStateSize', 544],
    ['copyPolicy', 552],
    ['storePolicy', 553],
    ['copies', 554],
    ['blockSizeShift', 555],
    ['snapId', 556],
    ['vid', 560],
    ['parentVid', 564],
    ['btreeCounter', 568],
  ]);
});

test('a header has its bytes and comes back', () => {
  const header = {
    name: 'test',
    tag: 'snap1',
    createTime: encodeTime(1_500_000_000_250),
    snapTime: 0n,
    vmClockNsec: 7n,
    vdiSize: 1n << 32n,
    vmStateSize: 9n,
    copyPolicy: 0,
    storePolicy: 0,
    copies: 3,
    blockSizeShift: 22,
    snapId: 1,
    vid: 0x7c2b25,
    parentVid: 0x7c2b24,
    btreeCounter: 0,
  };
  const bytes = inodeHeader.encode(header);
  assert.is(bytes.length, 4664);
  assert.is(bytes.toString('hex', 0, 8), '7465737400000000');
  assert.is(
    bytes.toString('hex', 512, 552),
    '80b2e60e002f6859'.concat('00'.repeat(8), '0700000000000000', '0000000001000000', '0900000000000000'),
  );
  assert.is(bytes.toString('hex', 552, 572), '000003160100000025' + '2b7c00242b7c0000000000');
  assert.equal(inodeHeader.decode(bytes), header);
});

test('a tag of 256 bytes without NUL, as QEMU may write it, is read whole', () => {
  const bytes = Buffer.alloc(4664);
  bytes.fill('x', 256, 512);
  assert.is(inodeHeader.decode(bytes).tag, 'x'.repeat(256));
});

test('a time is seconds and nanoseconds', () => {
  assert.is(encodeTime(1_500_000_000_250), (1_500_000_000n << 32n) | 250_000_000n);
  assert.is(decodeTime(encodeTime(1_500_000_000_250)), 1_500_000_000_250);
  assert.is(encodeTime(0), 0n);
});

test.run();
