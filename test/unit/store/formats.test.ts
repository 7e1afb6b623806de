/** Golden bytes: a change of a format on disk must be seen here first. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BLOCK_SIZE } from '../../../src/base/bytes.js';
import { BAD, blockChecksum, HOLE, objectSeed } from '../../../src/store/checksum.js';
import type { DiskFile } from '../../../src/store/disk.js';
import { decodeSegmentHeader, encodeSegmentHeader } from '../../../src/store/journal.js';
import {
  BatchBuilder,
  decodeBatchHeader,
  decodeRecords,
  recordTypes,
} from '../../../src/store/journal-record.js';
import { StoredObject } from '../../../src/store/object-file.js';
import { objectPath } from '../../../src/store/object-path.js';
import {
  blocksOfFile,
  decodeSlot,
  encodeSlot,
  fileBytes,
  sourcesOf,
  tableOf,
} from '../../../src/store/object-slot.js';
import { encodeSuspects } from '../../../src/store/suspects.js';
import { decodeTouched, encodeTouched } from '../../../src/store/touched-log.js';

const oid = 0x00ab_cdef_0000_0012n;

test('an object lies where its id says', () => {
  assert.is(objectPath(oid), 'obj/abcdef/00abcdef00000012');
  assert.is(objectPath(0x80ab_cdef_0000_0000n), 'obj/abcdef/80abcdef00000000');
});

test('the size of a file says how many blocks the object has', () => {
  for (const blocks of [1, 2, 255, 1007, 1008, 1009, 1024, 3074, 524_288]) {
    assert.is(blocksOfFile(fileBytes(blocks)), blocks);
    assert.is(blocksOfFile(fileBytes(blocks) + 1), undefined);
  }
  assert.is(fileBytes(1024), (4 << 20) + 2 * 8192);
});

test('a slot has exactly these bytes', () => {
  const object = new StoredObject(oid, 8000, 0x1_0000_0002, {} as DiskFile, Uint32Array.of(5, 0));
  object.epoch = 7;
  object.tailSequence = 3;
  const slot = encodeSlot(object);
  assert.is(slot.length, BLOCK_SIZE);
  assert.is(slot.toString('hex', 0, 72), GOLDEN.slot);
  const header = decodeSlot(slot, oid, 2);
  assert.equal(header, {
    objectBytes: 8000,
    instance: 0x1_0000_0002,
    tailSequence: 3,
    epoch: 7,
    baseCount: 0,
    tableOk: true,
  });
  assert.is(decodeSlot(slot, oid + 1n, 2), undefined);
  slot[65]! ^= 1;
  assert.is(decodeSlot(slot, oid, 2)?.tableOk, false);
});

test('a slot of a thin object has exactly these bytes', () => {
  const content = {
    oid,
    objectBytes: 12_000,
    instance: 2,
    tailSequence: 3,
    epoch: 7,
    table: Uint32Array.of(5, 0, 9),
    thin: { sources: Uint8Array.of(2, 0, 1), baseCount: 2 },
  };
  const slot = encodeSlot(content);
  assert.is(slot.toString('hex', 0, 80), GOLDEN.thinSlot);
  assert.equal(decodeSlot(slot, oid, 3)?.baseCount, 2);
  assert.equal([...sourcesOf(slot, 3)], [2, 0, 1]);
  assert.equal([...tableOf(slot, 3)], [5, 0, 9]);
  slot[77]! ^= 1;
  assert.is(decodeSlot(slot, oid, 3)?.tableOk, false);
});

test('a batch has exactly these bytes and comes back the same', () => {
  const builder = new BatchBuilder();
  assert.is(builder.begin([9n, 10n], 64), 2);
  const record = {
    type: recordTypes.image,
    tailMark: 0x030201,
    epoch: 7,
    oid,
    objectBytes: 8192,
    instance: 0x1_0000_0002,
    firstBlock: 1,
    blockCount: 1,
    checksums: Uint32Array.of(0xdeadbeef),
  };
  builder.add(record, [new Uint8Array(BLOCK_SIZE)]);
  const numbers = {
    generation: 0x10_0000,
    position: 4096,
    sequence: 5,
    syncedSequence: 4,
    flushedSequence: 3,
  };
  const buffers = builder.finish({ ...numbers, uncommittedCount: 2 });
  assert.equal(
    buffers.map(({ length }) => length),
    [4096, 4096],
  );
  const section = Buffer.from(buffers[0]!);
  assert.is(section.toString('hex', 0, 96 + 16 + 44), GOLDEN.batch);
  const header = decodeBatchHeader(section)!;
  assert.is(header.totalBytes, 8192);
  assert.equal(decodeRecords(section, header), { uncommitted: [9n, 10n], records: [record] });
});

test('every damaged byte of a batch header or of its records is noticed', () => {
  const builder = new BatchBuilder();
  builder.begin([9n], 64);
  builder.add({
    type: recordTypes.hole,
    tailMark: 0x030201,
    epoch: 7,
    oid,
    objectBytes: 8192,
    instance: 1,
    firstBlock: 0,
    blockCount: 2,
    checksums: new Uint32Array(0),
  });
  const numbers = { generation: 1, position: 4096, sequence: 5, syncedSequence: 4, flushedSequence: 3 };
  const [section] = builder.finish({ ...numbers, uncommittedCount: 1 });
  for (let at = 0; at < 96 + 8 + 40; at++) {
    const damaged = Buffer.from(section!);
    damaged[at]! ^= 0x10;
    const header = decodeBatchHeader(damaged);
    assert.is(header && decodeRecords(damaged, header), undefined, `byte ${at}`);
  }
});

test('a segment header has exactly these bytes, twice', () => {
  const block = encodeSegmentHeader(0x10_0001, 1 << 20);
  assert.is(block.toString('hex', 0, 28), GOLDEN.segment);
  assert.is(decodeSegmentHeader(block), 0x10_0001);
  block[9]! ^= 1;
  assert.is(decodeSegmentHeader(block), 0x10_0001);
  block[2048 + 9]! ^= 1;
  assert.is(decodeSegmentHeader(block), undefined);
});

test('a touched entry has exactly these bytes', () => {
  const entry = encodeTouched(oid, 7);
  assert.is(entry.toString('hex'), GOLDEN.touched);
  assert.equal(decodeTouched(entry), { oid, epoch: 7 });
});

test('the list of suspects has exactly this text', () => {
  assert.is(encodeSuspects([oid]).toString(), GOLDEN.suspects);
});

test('a checksum depends on object and place, and is never a reserved value', () => {
  const block = new Uint8Array(BLOCK_SIZE);
  assert.is(blockChecksum(block, objectSeed(oid), 3), GOLDEN.checksum);
  const seen = new Set<number>();
  for (let index = 0; index < 5000; index++) {
    const sum = blockChecksum(block, objectSeed(oid), index);
    assert.ok(sum !== HOLE && sum !== BAD);
    seen.add(sum);
  }
  assert.is(seen.size, 5000);
  assert.is.not(blockChecksum(block, objectSeed(oid + 1n), 3), GOLDEN.checksum);
});

const GOLDEN = {
  slot:
    '53464f420100000012000000efcdab00401f000000000000020000000100000003000000000000000700000000000000' +
    '0dd1c22d00000000000000007501b87a0500000000000000',
  thinSlot:
    '53464f420100000012000000efcdab00e02e000000000000020000000000000003000000000000000700000002000000' +
    '761426370000000000000000aaf82b6705000000000000000900000002010000',
  batch:
    '53464a420100000000100000002000000000100000000000001000000000000005000000000000000400000000000000' +
    '030000000000000001000000020000003c000000e2ae484d000000000000000000000000000000000000000031060fd6' +
    '09000000000000000a00000000000000010102030700000012000000efcdab0000200000000000000200000001000000' +
    '0100000001000000efbeadde',
  segment: '53464a5301000000010010000000000000001000000000005308457d',
  touched: '12000000efcdab00070000001ea5c082',
  suspects: '00abcdef00000012\n8c872643\n',
  checksum: 2_799_616_367,
};

test.run();
