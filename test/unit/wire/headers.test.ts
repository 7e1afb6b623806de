import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as headers from '../../../src/wire/headers.js';
import { Flag, Op, Result } from '../../../src/wire/sheepdog.js';

const hex = (text: string) => text.replaceAll(' ', '');

test('LOCK_VDI is the 48 bytes QEMU sends', () => {
  const bytes = headers.vdiRequest.encode({
    version: 1,
    opcode: Op.LOCK_VDI,
    flags: Flag.WRITE,
    dataLength: 512,
  });
  assert.is(bytes.toString('hex'), hex('01 12 0100 00000000 00000000 00020000') + '00'.repeat(32));
});

test('the answer to LOCK_VDI is the 48 bytes the original sends', () => {
  const golden =
    hex('00 12 0000 01000000 00000000 00000000 00000000 00000000 28917000 00000000 02 16 0000') +
    '00'.repeat(12);
  const answer = { opcode: Op.LOCK_VDI, epoch: 1, vid: 0x709128, copies: 2, blockSizeShift: 22 };
  assert.is(headers.vdiResponse.encode(answer).toString('hex'), golden);
  const read = headers.vdiResponse.decode(Buffer.from(golden, 'hex'));
  assert.is(read.vid, 0x709128);
  assert.is(read.result, Result.SUCCESS);
});

test('a copy-on-write request of an object', () => {
  const bytes = headers.objRequest.encode({
    opcode: Op.CREATE_AND_WRITE_OBJ,
    flags: Flag.WRITE | Flag.COW | Flag.CACHE,
    id: 0x11223344,
    dataLength: 4096,
    oid: 0x007c2b2500000001n,
    cowOid: 0x007c2b2600000001n,
    copies: 3,
    offset: 0x3ff000,
  });
  assert.is(
    bytes.toString('hex'),
    hex(
      '00 01 0700 00000000 44332211 00100000 01000000252b7c00 01000000262b7c00 03 00 00 00 00000000 00f03f00 00000000',
    ),
  );
});

test('fields of the variants lie where the reference says', () => {
  const at = (fields: object) =>
    Object.fromEntries(
      Object.entries(fields as Record<string, { offset: number }>).map(([k, v]) => [k, v.offset]),
    );
  const common = { version: 0, opcode: 1, flags: 2, epoch: 4, id: 8, dataLength: 12 };
  assert.equal(at(headers.objRequest.fields), {
    ...common,
    oid: 16,
    cowOid: 24,
    copies: 32,
    copyPolicy: 33,
    ecIndex: 34,
    tgtEpoch: 36,
    offset: 40,
    offsetHigh: 44,
  });
  assert.equal(at(headers.vdiRequest.fields), {
    ...common,
    vdiSize: 16,
    baseVid: 24,
    copies: 28,
    copyPolicy: 29,
    storePolicy: 30,
    blockSizeShift: 31,
    snapId: 32,
    type: 36,
  });
  assert.equal(at(headers.clusterRequest.fields), {
    ...common,
    oid: 16,
    ctime: 24,
    copies: 32,
    copyPolicy: 33,
    clusterFlags: 34,
    tag: 36,
    nodeCount: 40,
    blockSizeShift: 44,
  });
  assert.equal(at(headers.vdiStateRequest.fields), {
    ...common,
    oldVid: 16,
    newVid: 20,
    copies: 24,
    setBitmap: 25,
    copyPolicy: 26,
    blockSizeShift: 27,
  });
  assert.equal(at(headers.refRequest.fields), { ...common, oid: 16, generation: 24, count: 28 });
  assert.equal(at(headers.forwRequest.fields), { ...common, oid: 16, address: 24, port: 40 });
  assert.equal(at(headers.checkpointRequest.fields), { ...common, get: 16, tgtEpoch: 20, vid: 24 });
  assert.equal(at(headers.coherenceRequest.fields), { ...common, vid: 16, validate: 20 });
  assert.equal(at(headers.objResponse.fields), { ...common, result: 16, copies: 20, offset: 24 });
  assert.equal(at(headers.nodeResponse.fields), {
    ...common,
    result: 16,
    nodeCount: 20,
    storeBytes: 32,
    freeBytes: 40,
  });
  assert.equal(at(headers.hashResponse.fields), { ...common, result: 16, digest: 24 });
  assert.equal(at(headers.clusterDefaultResponse.fields), {
    ...common,
    result: 16,
    copies: 20,
    copyPolicy: 21,
    blockSizeShift: 22,
  });
});

test.run();
