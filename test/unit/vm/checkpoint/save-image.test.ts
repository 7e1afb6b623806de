import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../../src/base/errors.js';
import {
  decodeHead,
  encodeHead,
  HEADER_BYTES,
  headBytesOf,
} from '../../../../src/vm/checkpoint/save-image.js';

const head = { xml: '<domain/>\n', note: '{"format":1}', running: true };

const refuses = (bytes: Buffer, what: RegExp) =>
  assert.throws(
    () => decodeHead(bytes),
    (error: unknown) => AppError.isCode(error, 'invalid') && what.test(error.message),
  );

test('a head is what libvirt 9.0 writes for a running guest, with our note in the padding', () => {
  const bytes = encodeHead(head);
  assert.is(bytes.length, 4096);
  assert.is(bytes.toString('latin1', 0, 16), 'LibvirtQemudSave');
  assert.is(bytes.toString('hex', 16, 36), '02000000a40f0000010000000000000000000000');
  assert.ok(bytes.subarray(36, HEADER_BYTES).every((byte) => byte === 0));
  assert.is(bytes.toString('latin1', HEADER_BYTES, HEADER_BYTES + 24), '<domain/>\n\0{"format":1}\0');
  assert.ok(bytes.subarray(HEADER_BYTES + 24).every((byte) => byte === 0));
});

test('a head is read again, also when it does not fit into one block', () => {
  for (const xml of [head.xml, `<domain>${'ä'.repeat(4000)}</domain>`]) {
    const bytes = encodeHead({ ...head, xml, running: false });
    assert.is(bytes.length % 4096, 0);
    assert.is(headBytesOf(bytes), bytes.length);
    assert.equal(decodeHead(Buffer.concat([bytes, Buffer.from('QEVM')])), { ...head, xml, running: false });
  }
});

test("a cookie of libvirt's is not taken for a note", () => {
  const bytes = encodeHead({ ...head, note: '<cookie/>' });
  bytes.writeUInt32LE(head.xml.length + 1, 32);
  assert.is(decodeHead(bytes).note, '');
  assert.is(decodeHead(bytes).xml, head.xml);
});

test('what is no head is refused, and nothing that a length announces is believed', () => {
  const changed = (at: number, value: number) => {
    const bytes = encodeHead(head);
    bytes.writeUInt32LE(value, at);
    return bytes;
  };
  refuses(Buffer.alloc(20), /not the saved state/);
  refuses(changed(0, 0), /not the saved state/);
  refuses(changed(16, 3), /format/);
  refuses(changed(28, 1), /format/);
  refuses(changed(20, 0xffffffff), /format/);
  refuses(changed(20, 5000), /cut off/);
  refuses(encodeHead(head).subarray(0, 1000), /cut off/);
  assert.throws(() => encodeHead({ ...head, note: 'x'.repeat(300_000) }), /does not fit/);
  assert.throws(() => encodeHead({ ...head, xml: 'a\0b' }), /does not fit/);
});

test.run();
