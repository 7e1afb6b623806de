import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { headerChangeOf, inodeWriteOf } from '../../../src/sheepdog/inode-writes.js';
import {
  INODE_BYTES,
  INODE_CLIENT_BYTES,
  INODE_HEADER_BYTES,
  INODE_INDEX_OFFSET,
  type InodeHeader,
  indexEntryOffset,
  inodeHeader,
} from '../../../src/wire/inode.js';

const GIB = 1024 ** 3;

const isInvalid = (error: unknown) => AppError.isCode(error, 'invalid');

function header(fields: Partial<InodeHeader> = {}): Buffer {
  return inodeHeader.encode({
    name: 'disk',
    vdiSize: BigInt(GIB),
    blockSizeShift: 22,
    copies: 3,
    snapId: 1,
    vid: 7,
    ...fields,
  });
}

test('a write that begins in the header is never an index update, however far it reaches', () => {
  assert.is(inodeWriteOf(0, Buffer.alloc(INODE_HEADER_BYTES)).kind, 'header');
  assert.is(inodeWriteOf(INODE_HEADER_BYTES - 1, Buffer.alloc(9)).kind, 'header');
  assert.is(inodeWriteOf(0, Buffer.alloc(INODE_CLIENT_BYTES)).kind, 'header');
});

test('index entries come out with their place, from a payload that is not aligned in memory', () => {
  const payload = Buffer.concat([Buffer.of(9), Buffer.alloc(8)]).subarray(1);
  payload.writeUInt32LE(0x123456, 4);
  const write = inodeWriteOf(indexEntryOffset(5), payload);
  assert.equal(write, { kind: 'index', from: 5, entries: new Uint32Array([0, 0x123456]) });
});

test('reference counts are ignored, also behind entries', () => {
  assert.is(inodeWriteOf(INODE_CLIENT_BYTES, Buffer.alloc(8)).kind, 'nothing');
  const write = inodeWriteOf(INODE_CLIENT_BYTES - 4, Buffer.alloc(12));
  assert.equal(write, { kind: 'index', from: 1024 * 1024 - 1, entries: new Uint32Array(1) });
});

test('half entries and ranges outside of the inode are refused', () => {
  assert.throws(() => inodeWriteOf(INODE_INDEX_OFFSET + 2, Buffer.alloc(4)), isInvalid);
  assert.throws(() => inodeWriteOf(INODE_INDEX_OFFSET, Buffer.alloc(6)), isInvalid);
  assert.throws(() => inodeWriteOf(INODE_BYTES - 4, Buffer.alloc(8)), isInvalid);
  assert.throws(() => inodeWriteOf(0xffffffff, Buffer.alloc(1)), isInvalid);
});

test('the header that was read, written back, changes nothing', () => {
  assert.equal(headerChangeOf(header(), 0, header()), { marks: {}, sizeBytes: 0 });
});

test('a tag and the state of a machine are marks for the snapshot to come', () => {
  const wanted = header({ tag: 'before', vmStateSize: 4096n, vmClockNsec: 2n ** 63n });
  const marks = { tag: 'before', vmStateBytes: 4096, vmClockNs: String(2n ** 63n) };
  assert.equal(headerChangeOf(header(), 0, wanted), { marks, sizeBytes: 0 });
});

test('a tag alone can be written, at its offset, also without a NUL at its end', () => {
  const long = 'x'.repeat(256);
  assert.equal(headerChangeOf(header(), 256, Buffer.from(long)), { marks: { tag: long }, sizeBytes: 0 });
  const cleared = headerChangeOf(header({ tag: 'old' }), 256, Buffer.alloc(256));
  assert.equal(cleared, { marks: { tag: '' }, sizeBytes: 0 });
});

test('a larger size grows the volume', () => {
  const change = headerChangeOf(header(), 0, header({ vdiSize: BigInt(2 * GIB) }));
  assert.equal(change, { marks: {}, sizeBytes: 2 * GIB });
});

test('a smaller size is refused alone, and is an old copy of the client beside something else', () => {
  const small = { vdiSize: BigInt(GIB / 2) };
  assert.throws(() => headerChangeOf(header(), 0, header(small)), /Shrinking/);
  assert.equal(headerChangeOf(header(), 0, header({ ...small, tag: 's' })), {
    marks: { tag: 's' },
    sizeBytes: 0,
  });
});

test('sizes and states that cannot be are refused', () => {
  assert.throws(() => headerChangeOf(header(), 0, header({ vdiSize: 2n ** 42n + 1n })), /too large/);
  assert.throws(() => headerChangeOf(header(), 0, header({ vdiSize: 2n ** 64n - 1n })), /too large/);
  assert.throws(() => headerChangeOf(header(), 0, header({ vmStateSize: 2n ** 60n })), isInvalid);
});

test('a tag that is no text is refused', () => {
  assert.throws(() => headerChangeOf(header(), 256, Buffer.of(0xff, 0xfe, 0x41)), isInvalid);
});

test('name, copies and snapshot id in a client’s header count for nothing', () => {
  const stale = header({ name: 'other', copies: 1, snapId: 9, parentVid: 3, snapTime: 5n });
  assert.equal(headerChangeOf(header(), 0, stale), { marks: {}, sizeBytes: 0 });
});

test.run();
