import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorKinds } from '../../../src/base/errors.js';
import { CONTROL_OPCODE } from '../../../src/control/api.js';
import {
  nameOfOpcode,
  nameOfResult,
  Op,
  operationOf,
  Result,
  textOfResult,
  vdiBytesMax,
  versionAccepted,
} from '../../../src/wire/sheepdog.js';

test('opcodes have the numbers of the protocol', () => {
  assert.is(Op.CREATE_AND_WRITE_OBJ, 0x01);
  assert.is(Op.FLUSH_VDI, 0x16);
  assert.is(Op.GET_NODE_LIST, 0x82);
  assert.is(Op.REMOVE_PEER, 0xa6);
  assert.is(Op.CLUSTER_INFO, 0xbe);
  assert.is(Op.GET_VNODES, 0xcd);
  assert.is(Op.CONTROL, CONTROL_OPCODE);
});

test('an operation knows its class and whether it works while waiting', () => {
  assert.equal(operationOf(Op.MAKE_FS), {
    opcode: 0x84,
    name: 'MAKE_FS',
    class: 'notify',
    force: true,
    admin: true,
  });
  assert.is(operationOf(Op.READ_OBJ)!.class, 'gateway');
  assert.not(operationOf(Op.READ_OBJ)!.force);
  assert.is(operationOf(Op.SNAPSHOT)!.class, 'gone');
});

test('every byte is an operation or unknown, never a crash', () => {
  let known = 0;
  for (let opcode = 0; opcode < 256; opcode++) {
    if (operationOf(opcode) !== undefined) known++;
    else assert.is(nameOfOpcode(opcode), `opcode 0x${opcode.toString(16).padStart(2, '0')}`);
  }
  assert.is(known, Object.keys(Op).length);
  assert.is(operationOf(0xa7), undefined);
  assert.is(operationOf(256), undefined);
});

test('results print as the original prints them', () => {
  assert.is(textOfResult(Result.SUCCESS), 'Success');
  assert.is(textOfResult(Result.NO_VDI), 'No VDI found');
  assert.is(textOfResult(Result.READONLY), 'Object is read-only');
  assert.is(textOfResult(0x1d), 'Inode object is invalidated');
  assert.is(textOfResult(0x92), 'Invalid error code 92');
  assert.is(textOfResult(0x77), 'Invalid error code 77');
  assert.is(nameOfResult(0x8b), 'NO_SUPPORT');
  assert.is(nameOfResult(0x77), 'result 0x77');
});

test('every error code of ours has a result of the protocol', () => {
  for (const kind of Object.values(errorKinds)) assert.not.match(nameOfResult(kind.wire), /0x/);
});

test('client operations take versions 0 to 2, sheep operations only their own', () => {
  assert.equal(
    [0, 1, 2, 3, 0x0a].map((v) => versionAccepted(Op.READ_OBJ, v)),
    [true, true, true, false, false],
  );
  assert.equal(
    [0, 2, 9, 0x0a, 0x0b].map((v) => versionAccepted(Op.CLUSTER_INFO, v)),
    [false, false, false, true, false],
  );
});

test('the largest volume follows from the object size', () => {
  assert.is(vdiBytesMax(20), 2 ** 40);
  assert.is(vdiBytesMax(22), 4 * 2 ** 40);
  assert.is(vdiBytesMax(31), 2 * 2 ** 50);
});

test.run();
