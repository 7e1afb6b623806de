import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError, type ErrorCode, errorKinds } from '../../../src/base/errors.js';
import { SeededRandom } from '../../../src/base/random.js';
import {
  codeOfResult,
  decodeHeader,
  encodePeerMessage,
  errorOf,
  looksLikePeer,
  PEER_HEADER_BYTES,
  PEER_SUCCESS,
  type PeerHeader,
  resultOf,
  resultOfCode,
} from '../../../src/net/peer-codec.js';
import { layout } from '../../../src/wire/layout.js';
import { PEER_PAYLOAD_BYTES_MAX, PeerType } from '../../../src/wire/peer-message.js';
import { message, randomMessage } from './helpers.js';

/** The table in the head of the codec, as the oracle of its hand-written code. */
const table = layout(PEER_HEADER_BYTES, [
  ['magic', 'u32'],
  ['payloadLength', 'u32'],
  ['payloadCrc', 'u32'],
  ['type', 'u16'],
  ['flags', 'u16'],
  ['id', 'u32'],
  ['epoch', 'u32'],
  ['result', 'u16'],
  ['copies', 'u8'],
  ['objectShift', 'u8'],
  ['root', 'u32'],
  ['oid', 'u64'],
  ['parent', 'u64'],
  ['offset', 'u64'],
  ['length', 'u32'],
  ['sequence', 'u32'],
  ['commit', 'u32'],
  ['reserved', 'pad', 8],
  ['headerCrc', 'u32'],
]);

/** CRC-32, bit by bit. */
function slowCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function decode(bytes: Buffer): PeerHeader | string {
  return decodeHeader(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0);
}

/** The reason why the header is refused. */
function refusal(bytes: Buffer): string {
  const result = decode(bytes);
  assert.type(result, 'string');
  return result as string;
}

/** Makes the header's checksum right again after a change, so that the next check is reached. */
function resealed(bytes: Buffer): Buffer {
  bytes.writeUInt32LE(slowCrc(bytes.subarray(0, 76)), 76);
  return bytes;
}

test('a write to a replica is these bytes', () => {
  const bytes = encodePeerMessage(
    message({
      type: PeerType.replicaWrite,
      flags: 0x0111,
      id: 0x01020304,
      epoch: 7,
      result: 0,
      copies: 3,
      objectShift: 22,
      root: 0x7c2b25,
      oid: 0x007c2b2500000001n,
      parent: 0x007c2b2400000001n,
      offset: 4096,
      length: 5,
      sequence: 9,
      commit: 8,
      payload: Buffer.from('hello'),
    }),
  );
  assert.is(
    bytes.toString('hex'),
    [
      '53465001 05000000 86a61036',
      '3000 1101 04030201 07000000 0000 03 16 252b7c00',
      '01000000252b7c00 01000000242b7c00 0010000000000000',
      '05000000 09000000 08000000 0000000000000000',
      'a8deb569 68656c6c6f',
    ]
      .join('')
      .replaceAll(' ', ''),
  );
});

test('the hand-written codec equals its table', () => {
  const random = new SeededRandom(11);
  for (let i = 0; i < 200; i++) {
    const sent = randomMessage(random, random.below(100));
    const bytes = encodePeerMessage(sent);
    const { payload, offset, payloadSums: _, ...fields } = sent;
    const record = table.decode(bytes);
    assert.equal(record, {
      ...fields,
      offset: BigInt(offset),
      magic: 0x01504653,
      payloadLength: payload.length,
      payloadCrc: slowCrc(payload),
      headerCrc: slowCrc(bytes.subarray(0, 76)),
    });
    const header = decode(bytes);
    assert.ok(typeof header !== 'string');
    assert.equal({ ...header.message, payload: 0 }, { ...sent, payload: 0 });
    assert.is(header.payloadLength, payload.length);
  }
});

test('any changed bit of a header is noticed', () => {
  const bytes = encodePeerMessage(randomMessage(new SeededRandom(2), 0));
  for (let bit = 0; bit < PEER_HEADER_BYTES * 8; bit++) {
    const bad = Buffer.from(bytes);
    bad[bit >> 3] = bad[bit >> 3]! ^ (1 << (bit & 7));
    assert.type(decode(bad), 'string', `bit ${bit}`);
  }
});

test('a sealed header that breaks a rule is refused with the reason', () => {
  const long = encodePeerMessage(message());
  long.writeUInt32LE(PEER_PAYLOAD_BYTES_MAX + 1, 4);
  assert.match(refusal(resealed(long)), /too long/);
  for (const offset of [68, 72]) {
    const reserved = encodePeerMessage(message());
    reserved[offset] = 1;
    assert.match(refusal(resealed(reserved)), /reserved/);
  }
  const far = encodePeerMessage(message());
  far.writeUInt32LE(0x200000, 52);
  assert.match(refusal(resealed(far)), /safe integer/);
  const newer = encodePeerMessage(message());
  newer[3] = 2;
  assert.match(refusal(resealed(newer)), /another version/);
});

test('what cannot be sent is a broken belief', () => {
  assert.throws(() => encodePeerMessage(message({ offset: -1 })), /safe integer/);
  assert.throws(() => encodePeerMessage(message({ offset: 2 ** 53 })), /safe integer/);
  assert.throws(() => encodePeerMessage(message({ length: 2 ** 32 })), /length/);
  assert.throws(
    () => encodePeerMessage(message({ payload: Buffer.alloc(PEER_PAYLOAD_BYTES_MAX + 1) })),
    /too long/,
  );
});

test('every error code has its own number, and comes back', () => {
  const codes = Object.keys(errorKinds) as ErrorCode[];
  const numbers = codes.map((code) => resultOfCode(code));
  assert.is(new Set(numbers).size, codes.length);
  assert.not(numbers.includes(PEER_SUCCESS));
  codes.forEach((code, i) => {
    assert.is(codeOfResult(numbers[i]!), code);
    assert.is(resultOf(new AppError(code, 'x')), numbers[i]);
    assert.is(errorOf(numbers[i]!).code, code);
  });
});

test('numbers of error codes never change', () => {
  assert.is(resultOfCode('unknown'), 1);
  assert.is(resultOfCode('no-object'), 2);
  assert.is(resultOfCode('old-epoch'), 19);
  assert.is(resultOfCode('usage'), 28);
});

test('an unknown number or a foreign error is an unknown error', () => {
  assert.is(codeOfResult(60000), 'unknown');
  assert.is(resultOf(new Error('x')), resultOfCode('unknown'));
  assert.match(errorOf(2, 'what the peer said').message, /what the peer said/);
});

test('four bytes tell a peer from a client', () => {
  const bytes = encodePeerMessage(message());
  assert.is(looksLikePeer(bytes), true);
  for (let n = 0; n < 3; n++) assert.is(looksLikePeer(bytes.subarray(0, n)), 'need-more');
  for (const first of [0, 1, 2, 0x0a, 0x47, 0xff]) {
    assert.is(looksLikePeer(Uint8Array.of(first)), false);
    assert.is(looksLikePeer(Buffer.alloc(48, first)), false);
  }
  assert.is(looksLikePeer(Buffer.from('SFX')), false);
});

test.run();
