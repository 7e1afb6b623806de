import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../src/base/random.js';
import {
  attrOid,
  DATA_OBJECTS_MAX,
  dataOid,
  formatOid,
  highWordOf,
  indexOf,
  inodeOid,
  invalidOid,
  isAttr,
  isData,
  isInode,
  isVmstate,
  kindOf,
  ledgerOid,
  lowWordOf,
  parseOid,
  placementOid,
  vidOf,
  vmstateOid,
} from '../../../src/wire/oid.js';

test('object ids have the bits of the protocol', () => {
  assert.is(inodeOid(0x7c2b25), 0x807c2b2500000000n);
  assert.is(dataOid(0x7c2b25, 1), 0x007c2b2500000001n);
  assert.is(vmstateOid(0x7c2b25, 2), 0x407c2b2500000002n);
  assert.is(attrOid(0x7c2b25, 0x594a8b4e), 0x207c2b25594a8b4en);
  assert.is(ledgerOid(0x7c2b25, 0), 0x087c2b2500000000n);
});

test('the kind is read from one bit', () => {
  assert.ok(
    isInode(inodeOid(1)) && isData(dataOid(1, 5)) && isVmstate(vmstateOid(1, 0)) && isAttr(attrOid(0, 9)),
  );
  assert.not(isData(inodeOid(1)));
  assert.not(isInode(dataOid(0xffffff, 0xfffff)));
  const kinds = [dataOid(1, 1), inodeOid(1), vmstateOid(1, 1), attrOid(1, 1), 1n << 60n, ledgerOid(1, 1)].map(
    kindOf,
  );
  assert.equal(kinds, ['data', 'inode', 'vmstate', 'attr', 'btree', 'ledger']);
  assert.is(kindOf(3n << 62n), undefined);
});

test('words, vid and index agree with shifts of the bigint', () => {
  const random = new SeededRandom(7);
  for (let i = 0; i < 500; i++) {
    const oid = random.bytes(8).readBigUInt64LE();
    assert.is(lowWordOf(oid), Number(oid & 0xffffffffn));
    assert.is(highWordOf(oid), Number(oid >> 32n));
    assert.is(vidOf(oid), Number((oid >> 32n) & 0xffffffn));
    assert.is(indexOf(oid), Number(oid & 0xffffffffn));
    assert.is(parseOid(formatOid(oid)), oid);
  }
});

test('a vid or an index out of range is a broken belief', () => {
  assert.throws(() => dataOid(1 << 24, 0), /out of range/);
  assert.throws(() => dataOid(1, 0x1_0000_0000), /out of range/);
  assert.throws(() => inodeOid(-1), /out of range/);
});

test('ids that no object can have are refused with a reason', () => {
  assert.is(invalidOid(dataOid(1, DATA_OBJECTS_MAX - 1)), undefined);
  assert.is(invalidOid(inodeOid(0xffffff)), undefined);
  assert.is(invalidOid(attrOid(0, 0xffffffff)), undefined);
  assert.match(invalidOid(-1n)!, /64-bit/);
  assert.match(invalidOid(1n << 64n)!, /64-bit/);
  assert.match(invalidOid(1n << 56n)!, /reserved/);
  assert.match(invalidOid(inodeOid(1) | vmstateOid(1, 0))!, /two kinds/);
  assert.match(invalidOid(dataOid(0, 1))!, /volume id 0/);
  assert.match(invalidOid(inodeOid(1) | 1n)!, /no index/);
  assert.match(invalidOid(dataOid(1, DATA_OBJECTS_MAX))!, /beyond/);
});

test('data is placed by the root of its family, everything else by its own id', () => {
  assert.is(placementOid(dataOid(9, 3), 4), dataOid(4, 3));
  assert.is(placementOid(inodeOid(9), 4), inodeOid(9));
  assert.is(placementOid(vmstateOid(9, 3), 4), vmstateOid(9, 3));
});

test('only hexadecimal digits are an object id', () => {
  for (const text of ['', 'xyz', '0x12', '12345678901234567', ' 1']) assert.is(parseOid(text), undefined);
});

test.run();
