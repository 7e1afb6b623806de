/**
 * Random bytes against everything that reads bytes: an error of the kind that is answered, or a value, never anything
 * else. The seed is fixed: a failure is found again.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parsePool } from '../../../pool-backend/pools/pool-xml.js';
import { parseVolume } from '../../../pool-backend/pools/volume-xml.js';
import { errorShape, LibvirtError } from '../../../pool-backend/rpc/errors.js';
import { encodeMessage, MessageStatus, remoteHeader } from '../../../pool-backend/rpc/message.js';
import { FramingError, MessageParser } from '../../../pool-backend/rpc/message-parser.js';
import { procedures } from '../../../pool-backend/rpc/procedures.js';
import { decode, encode, type Shape } from '../../../pool-backend/rpc/shapes.js';
import { XdrError } from '../../../pool-backend/rpc/xdr.js';

/** A linear congruential generator: good enough to choose bytes. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function randomBytes(random: (below: number) => number, length: number): Buffer {
  // Small words are lengths and counts that lead further than large ones.
  return Buffer.from(Array.from({ length }, (_, i) => (i % 4 < 3 && random(3) > 0 ? 0 : random(256))));
}

test('arguments of every procedure, from random bodies', () => {
  const random = randomFrom(1);
  let values = 0;
  for (let round = 0; round < 200; round++) {
    for (const { args, result } of Object.values(procedures)) {
      for (const shape of [args, result, errorShape] as Shape<unknown>[]) {
        const body = randomBytes(random, 4 * random(24));
        try {
          // What is accepted must be written as the same value.
          const value = decode(shape, body);
          assert.equal(decode(shape, encode(shape, value)), value);
          values++;
        } catch (error) {
          if (!(error instanceof XdrError)) throw error;
        }
      }
    }
  }
  assert.ok(values > 100, `${values} bodies were accepted`);
});

test('the message parser, from valid messages with flipped bytes in random pieces', () => {
  const random = randomFrom(2);
  const header = remoteHeader({ procedure: 84, type: 0, serial: 1, status: MessageStatus.ok });
  let framed = 0;
  let broken = 0;
  for (let round = 0; round < 3000; round++) {
    const messages = Array.from({ length: 4 }, () =>
      encodeMessage({ ...header, body: randomBytes(random, random(64)) }),
    );
    const bytes = Buffer.concat(messages);
    for (let flips = random(3); flips > 0; flips--) bytes[random(bytes.length)]! ^= 1 << random(8);
    const parser = new MessageParser(1024);
    try {
      for (let at = 0; at < bytes.length; ) {
        const piece = bytes.subarray(at, at + 1 + random(40));
        at += piece.length;
        parser.push(piece);
        while (parser.next() !== undefined) framed++;
      }
    } catch (error) {
      if (!(error instanceof FramingError)) throw error;
      broken++;
    }
    assert.ok(parser.bufferedBytes <= bytes.length);
  }
  assert.ok(framed > 1000 && broken > 100, `${framed} messages, ${broken} broken streams`);
});

test('XML, from a valid document with pieces cut out, doubled and exchanged', async () => {
  const random = randomFrom(3);
  const pool = `<?xml version='1.0'?><pool type='sheepdog'><!-- a --><name>p</name><source><host name='h' port='1'/>
<name>n</name></source><target><path>/a</path></target></pool>`;
  const volume = `<volume type='x'><name>v</name><capacity unit='GiB'>1</capacity><allocation>0</allocation>
<target><format type='qcow2'/></target><backingStore><path>/p</path></backingStore><![CDATA[<x>]]></volume>`;
  let accepted = 0;
  for (let round = 0; round < 4000; round++) {
    const original = round % 2 === 0 ? pool : volume;
    const pieces = original.split(/(?=[<>'/ ])/);
    for (let changes = 1 + random(3); changes > 0; changes--) {
      const [a, b] = [random(pieces.length), random(pieces.length)];
      const kind = random(3);
      if (kind === 0) pieces.splice(a, 1);
      else if (kind === 1) pieces.splice(a, 0, pieces[b] ?? '');
      else [pieces[a], pieces[b]] = [pieces[b] ?? '', pieces[a] ?? ''];
    }
    try {
      await (round % 2 === 0 ? parsePool : parseVolume)(pieces.join(''));
      accepted++;
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
    }
  }
  assert.ok(accepted > 50 && accepted < 4000, `${accepted} documents were accepted`);
});

test.run();
