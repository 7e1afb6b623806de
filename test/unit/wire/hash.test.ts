import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../src/base/random.js';
import {
  attrId,
  fnv1a64,
  fnv64,
  fromBigInt,
  sdHash,
  sdHashNext,
  sdHashOid,
  sdHashVdi,
  sdHashWords,
  toBigInt,
} from '../../../src/wire/hash.js';
import { attrOid } from '../../../src/wire/oid.js';

/** The definition, as slow as it reads. */
function naiveFnv(bytes: Uint8Array, from = 0xcbf29ce484222325n): bigint {
  let h = from;
  for (const byte of bytes) h = ((h ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  return h;
}

function littleEndian(value: bigint): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(value);
  return out;
}

const hex = (hash: { hi: number; lo: number }) => toBigInt(hash).toString(16).padStart(16, '0');
const text = (value: string) => Buffer.from(value, 'utf8');

const texts: [input: string, fnv: string, sd: string][] = [
  ['', 'cbf29ce484222325', 'f4ed18ebf16aa5cc'],
  ['a', 'af63dc4c8601ec8c', '35f3448388db68d5'],
  ['foobar', '85944171f73967e8', 'f0f371f08d5f72e8'],
  ['test', 'f9e6e6ef197c2b25', 'b2ad79df6c09d91a'],
];
for (const [input, fnv, sd] of texts) {
  test(`hashes of "${input}"`, () => {
    assert.is(hex(fnv1a64(text(input))), fnv);
    assert.is(hex(sdHash(text(input))), sd);
  });
}

test('volume names hash to the vids other implementations probe first', () => {
  const vids: Record<string, number> = {
    test: 0x7c2b25,
    alice: 0xa03907,
    'vol-1': 0x2a0acc,
    'volume-00000001': 0xa1fa79,
    a: 0x01ec8c,
    base: 0x54c278,
    disk0: 0xe8afdc,
    'with space': 0xeceaa7,
    v1: 0x709128,
    clone1: 0xc8f989,
    tést: 0xb2c8d4,
  };
  for (const [name, vid] of Object.entries(vids)) assert.is(sdHashVdi(name), vid, name);
});

test('object ids hash to their place on the ring', () => {
  const hashes: [bigint, string][] = [
    [0n, 'cb720bf58a2c29ec'],
    [1n, '695a27070a16e038'],
    [0x8000000000000001n, 'f84c0f1d62929742'],
    [0x807c2b2500000000n, '8b4b18c243befa1a'],
    [0x007c2b2500000000n, '387358f0fb5c1275'],
    [0x007c2b2500000001n, 'ed0c37b076d586ac'],
    [0x407c2b2500000000n, '5b9a34d4fc76fa1d'],
    [0x087c2b2500000000n, 'b489f897c1863a66'],
  ];
  for (const [oid, expected] of hashes) {
    assert.is(hex(sdHashOid(oid)), expected);
    assert.is(hex(sdHashWords(Number(oid >> 32n), Number(oid & 0xffffffffn))), expected);
  }
});

test('points of a node and of a disk follow each other', () => {
  const node = Buffer.concat([Buffer.alloc(12), Buffer.from([127, 0, 0, 1]), Buffer.from([0x58, 0x1b])]);
  let hash = sdHash(node);
  assert.is(hex(hash), '9cb3d6dd0a4c0f9f');
  for (const expected of ['3af2cba6e538cdf3', 'fd38432fd111924b', '2ad2bef8f506e35d']) {
    assert.is(hex((hash = sdHashNext(hash))), expected);
  }
  const disk = sdHash(text('/tmp/d1'));
  assert.is(hex(disk), '173f50af8fa2f688');
  assert.is(hex(sdHashNext(disk)), '0875df00e52d1e20');
  assert.is(hex(sdHashNext(sdHashNext(disk))), 'c210ee04db6bcc10');
});

test('attribute ids chain name, tag, snapshot and key', () => {
  assert.is(attrOid(sdHashVdi('test'), attrId('test', '', 0, 'k')), 0x207c2b25594a8b4en);
  assert.is(attrId('test', '', 0, 'key'), 0x972882c4);
  assert.is(attrId('test', 'snap1', 0, 'key'), 0x97b8c2e1);
});

test('the fast hash equals the definition for random bytes and starts', () => {
  const random = new SeededRandom(1);
  for (let i = 0; i < 500; i++) {
    const bytes = random.bytes(random.below(64));
    const from = random.bytes(8).readBigUInt64LE();
    const value = random.bytes(8).readBigUInt64LE();
    assert.is(toBigInt(fnv1a64(bytes, fromBigInt(from))), naiveFnv(bytes, from));
    assert.is(toBigInt(fnv64(fromBigInt(value), fromBigInt(from))), naiveFnv(littleEndian(value), from));
    assert.is(
      toBigInt(sdHashOid(value)),
      naiveFnv(littleEndian(naiveFnv(littleEndian(value))), naiveFnv(littleEndian(value))),
    );
  }
});

test('all-ones bytes and starts do not lose a carry', () => {
  const ones = Buffer.alloc(40, 0xff);
  const from = 0xffffffffffffffffn;
  assert.is(toBigInt(fnv1a64(ones, fromBigInt(from))), naiveFnv(ones, from));
});

test.run();
