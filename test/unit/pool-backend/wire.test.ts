/** Golden bytes of libvirt's RPC, and what the parser and the codec do with bytes that are none of it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeError, errorShape, LibvirtError } from '../../../pool-backend/rpc/errors.js';
import {
  encodeMessage,
  LENGTH_BYTES,
  MESSAGE_BYTES_MAX,
  MessageStatus,
  MessageType,
  remoteHeader,
} from '../../../pool-backend/rpc/message.js';
import { FramingError, MessageParser } from '../../../pool-backend/rpc/message-parser.js';
import {
  events,
  procedureNamed,
  procedures,
  streamHole,
  volume,
} from '../../../pool-backend/rpc/procedures.js';
import { decode, encode, list, STRING_BYTES_MAX, text } from '../../../pool-backend/rpc/shapes.js';
import { XdrError } from '../../../pool-backend/rpc/xdr.js';

const UUID = '00112233-4455-6677-8899-aabbccddeeff';
const hex = (words: string): Buffer => Buffer.from(words.replaceAll(/\s/g, ''), 'hex');
const header = remoteHeader({ procedure: 84, type: MessageType.call, serial: 7, status: MessageStatus.ok });

test('a call of pool-lookup-by-name is these bytes', () => {
  const body = encode(procedures.storagePoolLookupByName.args, { name: 'vms' });
  const bytes = encodeMessage({ ...header, body });
  assert.equal(
    bytes,
    hex('00000024 20008086 00000001 00000054 00000000 00000007 00000000  00000003 766d7300'),
  );
});

test('a pool, a volume, an event and a hole are these bytes', () => {
  const pool = { name: 'vms', uuid: UUID };
  const poolBytes = '00000003 766d7300 00112233445566778899aabbccddeeff';
  assert.equal(encode(procedures.storagePoolLookupByName.result, { pool }), hex(poolBytes));
  assert.equal(
    encode(volume, { pool: 'vms', name: 'disk', key: 'k' }),
    hex('00000003 766d7300 00000004 6469736b 00000001 6b000000'),
  );
  assert.equal(
    encode(events.lifecycle.body, { callbackId: 1, pool, event: 2, detail: 0 }),
    hex(`00000001 ${poolBytes} 00000002 00000000`),
  );
  assert.equal(encode(streamHole, { lengthBytes: 4096n, flags: 0 }), hex('0000000000001000 00000000'));
});

test('an error carries libvirt’s number, domain and sentence', () => {
  const body = encodeError(new LibvirtError('no-pool', "no storage pool with matching name 'a'"));
  const { code, domain, level, message } = decode(errorShape, body);
  assert.equal([code, domain, level], [49, 18, 2]);
  assert.is(message, "Storage pool not found: no storage pool with matching name 'a'");
  assert.equal(body.subarray(0, 12), hex('00000031 00000012 00000001'));
});

test('numbers of procedures are unique, and found by number', () => {
  const numbers = Object.values(procedures).map(({ number }) => number);
  assert.is(new Set(numbers).size, numbers.length);
  assert.is(procedureNamed(208), 'storageVolUpload');
  assert.is(procedureNamed(999), undefined);
});

test('what is written is read again', () => {
  const args = { volume: { pool: 'p', name: 'größe 1', key: '' }, offset: 1n, length: 2n ** 63n, flags: 3 };
  assert.equal(
    decode(procedures.storageVolUpload.args, encode(procedures.storageVolUpload.args, args)),
    args,
  );
  const listed = { pools: [{ name: 'a', uuid: UUID }], count: 1 };
  const { result } = procedures.connectListAllStoragePools;
  assert.equal(decode(result, encode(result, listed)), listed);
});

for (const [what, bytes] of [
  ['a string longer than the message', '00000100 61616161'],
  ['a string of almost four gigabytes', 'ffffffff 61616161'],
  ['a string without its padding', '00000001 61'],
  ['a string that is not UTF-8', '00000002 fffe0000'],
  ['a string with a NUL', '00000002 61000000'],
  ['bytes after the end', '00000001 61000000 00000000'],
  ['nothing', ''],
] as const) {
  test(`${what} is refused`, () => {
    assert.throws(
      () => decode(text, hex(bytes)),
      (error: unknown) => error instanceof XdrError,
    );
  });
}

test('a list is refused by its count, before anything is made of it', () => {
  const many = list(text, 'names', 1000);
  assert.throws(() => decode(many, hex('000003e9')), /1001 names, at most 1000/);
  assert.throws(() => decode(many, hex('000003e8 00000000')), /the message is shorter/);
  assert.throws(() => encode(list(text, 'names', 1), ['a', 'b']), /too many names '2' for limit '1'/);
  assert.throws(() => encode(text, 'a'.repeat(STRING_BYTES_MAX + 1)), /at most/);
});

test('messages are found whatever the pieces they arrive in', () => {
  const first = encodeMessage({ ...header, body: hex('00000001') });
  const second = encodeMessage({ ...header, serial: 8, body: Buffer.alloc(0) });
  const all = Buffer.concat([first, second]);
  for (let cut = 0; cut <= all.length; cut++) {
    const parser = new MessageParser();
    const found = [];
    for (const piece of [all.subarray(0, cut), all.subarray(cut)]) {
      parser.push(piece);
      for (let message = parser.next(); message !== undefined; message = parser.next()) found.push(message);
    }
    assert.equal(
      found.map(({ serial, body }) => [serial, body.length]),
      [
        [7, 4],
        [8, 0],
      ],
    );
    assert.is(parser.bufferedBytes, 0);
  }
});

test('a length that cannot be right ends the connection, and nothing is kept for it', () => {
  for (const length of [0, LENGTH_BYTES, 27, MESSAGE_BYTES_MAX + 1, 0xffffffff]) {
    const parser = new MessageParser();
    const word = Buffer.alloc(4);
    word.writeUInt32BE(length);
    parser.push(word);
    assert.throws(
      () => parser.next(),
      (error: unknown) => error instanceof FramingError,
    );
  }
});

test.run();
