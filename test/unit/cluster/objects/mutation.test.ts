import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../../src/base/errors.js';
import { SeededRandom } from '../../../../src/base/random.js';
import { checkAddress, type ObjectAddress, objectBytesOf } from '../../../../src/cluster/epochs/address.js';
import {
  addressOf,
  decodeMutation,
  encodeMutation,
  type Mutation,
  rangeOf,
  removeOf,
  writeOf,
  zeroOf,
} from '../../../../src/cluster/objects/mutation.js';
import { INODE_BYTES } from '../../../../src/wire/inode.js';
import { attrOid, dataOid, inodeOid } from '../../../../src/wire/oid.js';
import { PeerType } from '../../../../src/wire/peer-message.js';

const address: ObjectAddress = { oid: dataOid(0xabcdef, 12), root: 0x123456, copies: 3, objectShift: 22 };
const OBJECT_BYTES = 4 * 1024 * 1024;
const isInvalid = (error: unknown): boolean => AppError.isCode(error, 'invalid');

test('every kind, mode and flag survives the message', () => {
  const data = new SeededRandom(1).bytes(100);
  for (const mode of ['update', 'ensure', 'create', 'cow'] as const) {
    for (const sync of [false, true]) {
      const how = { mode, sync, ...(mode === 'cow' && { parent: dataOid(5, 12) }) };
      const mutations: Mutation[] = [
        writeOf(4000, data, how),
        zeroOf(0, OBJECT_BYTES, { ...how, allocate: true }),
        zeroOf(1, 2, { ...how, allocate: false }),
      ];
      for (const mutation of mutations) {
        for (const base of [PeerType.write, PeerType.replicaWrite]) {
          const decoded = decodeMutation(base, encodeMutation(base, address, mutation));
          assert.equal(decoded, { address, mutation });
        }
      }
    }
  }
  const message = encodeMutation(PeerType.replicaWrite, address, removeOf(true));
  assert.is(message.type, PeerType.replicaRemove);
  assert.equal(decodeMutation(PeerType.replicaWrite, message), { address, mutation: removeOf(true) });
});

test('the types of a zero and a removal follow that of the write', () => {
  const zero = zeroOf(0, 1, { mode: 'ensure', sync: false, allocate: false });
  assert.is(encodeMutation(PeerType.write, address, zero).type, PeerType.zero);
  assert.is(encodeMutation(PeerType.write, address, removeOf(false)).type, PeerType.remove);
  assert.is(encodeMutation(PeerType.replicaWrite, address, zero).type, PeerType.replicaZero);
});

const hostile: [what: string, change: (m: ReturnType<typeof encodeMutation>) => void][] = [
  ['a range that begins beyond the object', (m) => (m.offset = OBJECT_BYTES)],
  ['a range that ends beyond the object', (m) => (m.length = OBJECT_BYTES + 1)],
  ['a range past every integer', (m) => (m.offset = Number.MAX_SAFE_INTEGER)],
  ['no copies', (m) => (m.copies = 0)],
  ['too many copies', (m) => (m.copies = 32)],
  ['a tiny object', (m) => (m.objectShift = 1)],
  ['a giant object', (m) => (m.objectShift = 63)],
  ['a root that is no vid', (m) => (m.root = 0x1000000)],
  ['an object of two kinds', (m) => (m.oid = 0xc000000100000000n)],
  ['reserved bits', (m) => (m.oid |= 1n << 57n)],
  ['vid 0', (m) => (m.oid = 5n)],
  ['an index beyond every volume', (m) => (m.oid = dataOid(1, 1 << 20))],
  ['fewer bytes than it says', (m) => (m.payload = m.payload.subarray(1))],
  ['more bytes than it says', (m) => (m.length = 1)],
  ['a copy of a parent that is no object', (m) => Object.assign(m, { flags: 0x30, parent: 0n })],
  ['a copy of itself', (m) => Object.assign(m, { flags: 0x30, parent: m.oid })],
];
for (const [what, change] of hostile) {
  test(`a write is refused for ${what}`, () => {
    const message = encodeMutation(
      PeerType.write,
      address,
      writeOf(0, Buffer.alloc(64), { mode: 'ensure', sync: false }),
    );
    change(message);
    assert.throws(() => decodeMutation(PeerType.write, message), isInvalid);
  });
}

test('what may replace the object touches all of it, the rest its own range', () => {
  const whole = { start: 0, end: OBJECT_BYTES };
  const write = (mode: Mutation['mode']) => writeOf(4096, Buffer.alloc(10), { mode, sync: false });
  assert.equal(rangeOf(write('ensure'), address), { start: 4096, end: 4106 });
  assert.equal(rangeOf(write('update'), address), { start: 4096, end: 4106 });
  for (const mutation of [write('create'), write('cow'), removeOf(false)])
    assert.equal(rangeOf(mutation, address), whole);
});

test('inodes and attributes have sizes of their own', () => {
  assert.is(objectBytesOf({ ...address, oid: inodeOid(1) }), INODE_BYTES);
  assert.is(objectBytesOf({ ...address, oid: attrOid(1, 2) }), 66320);
  assert.is(objectBytesOf({ ...address, objectShift: 31 }), 2 ** 31);
  assert.throws(() => checkAddress({ ...address, oid: inodeOid(1) }, INODE_BYTES, 1), isInvalid);
  assert.throws(() => checkAddress(address, -1, 1), isInvalid);
  assert.throws(() => checkAddress(address, Number.NaN, 1), isInvalid);
  assert.throws(() => checkAddress(address, 0, 0.5), isInvalid);
});

test('an address is checked together with the range of its message', () => {
  const message = encodeMutation(PeerType.write, address, removeOf(false));
  assert.equal(addressOf(message), address);
  message.length = OBJECT_BYTES + 1;
  assert.throws(() => addressOf(message), isInvalid);
});

test.run();
