import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { blockSums } from '../../../src/base/block-sums.js';
import { BLOCK_SIZE, crc32 } from '../../../src/base/bytes.js';
import { SeededRandom } from '../../../src/base/random.js';
import { encodePeerMessage } from '../../../src/net/peer-codec.js';
import { PeerFramer } from '../../../src/net/peer-framer.js';
import { PEER_PAYLOAD_BYTES_MAX, type PeerMessage, PeerType } from '../../../src/wire/peer-message.js';
import { comparable, message, randomMessage } from './helpers.js';

function collect(chunks: Uint8Array[]): PeerMessage[] {
  const seen: PeerMessage[] = [];
  const framer = new PeerFramer((m) => seen.push(m));
  for (const chunk of chunks) assert.is(framer.push(chunk), undefined);
  assert.is(framer.end(), undefined);
  return seen;
}

function streamOf(messages: PeerMessage[]): Buffer {
  return Buffer.concat(messages.map(encodePeerMessage));
}

const random = new SeededRandom(9);
const three = [randomMessage(random, 5), randomMessage(random, 0), randomMessage(random, 40)];
const stream = streamOf(three);

test('a stream cut at any two points gives the same messages', () => {
  for (let first = 0; first <= stream.length; first += 3) {
    for (let second = first; second <= stream.length; second += 7) {
      const chunks = [stream.subarray(0, first), stream.subarray(first, second), stream.subarray(second)];
      assert.equal(collect(chunks).map(comparable), three.map(comparable));
    }
  }
});

test('a stream in single bytes gives the same messages', () => {
  const bytes = Array.from(stream, (byte) => Uint8Array.of(byte));
  assert.equal(collect(bytes).map(comparable), three.map(comparable));
});

test('large payloads in small pieces come out whole', () => {
  const sent = [randomMessage(random, 300_000), randomMessage(random, 1), randomMessage(random, 70_000)];
  const bytes = streamOf(sent);
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 65_536) chunks.push(bytes.subarray(at, at + 65_536));
  assert.equal(collect(chunks).map(comparable), sent.map(comparable));
});

test('bytes read to where the framer wants them give the same messages, and long payloads are not copied', () => {
  const sent = [
    randomMessage(random, 300_000),
    randomMessage(random, 1),
    randomMessage(random, 70_000),
    ...three,
  ];
  const bytes = streamOf(sent);
  for (const most of [1000, 20_000, 65_536, 1 << 20]) {
    const seen: PeerMessage[] = [];
    const rooms = new Set<ArrayBufferLike>();
    const framer = new PeerFramer((m) => seen.push(m));
    for (let at = 0; at < bytes.length; ) {
      const room = framer.room();
      rooms.add(room.buffer);
      const count = Math.min(room.length, most, bytes.length - at);
      bytes.copy(room, 0, at, at + count);
      assert.is(framer.filled(room.subarray(0, count)), undefined);
      at += count;
    }
    assert.is(framer.end(), undefined);
    assert.equal(seen.map(comparable), sent.map(comparable), `at most ${most} at a time`);
    assert.ok(rooms.has(seen[0]!.payload.buffer), 'the long payload was read to its own buffer');
  }
});

test('a payload in one chunk is a view of it, a cut one is a buffer of its own', () => {
  const bytes = encodePeerMessage(message({ payload: Buffer.from('abc') }));
  assert.is(collect([bytes])[0]!.payload.buffer, bytes.buffer);
  const cut = collect([bytes.subarray(0, 81), bytes.subarray(81)])[0]!;
  assert.is(cut.payload.buffer.byteLength, 3);
});

test('any changed bit breaks the stream, and nothing wrong comes out', () => {
  const bytes = encodePeerMessage(message({ payload: Buffer.from('some payload') }));
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const bad = Buffer.from(bytes);
    bad[bit >> 3] = bad[bit >> 3]! ^ (1 << (bit & 7));
    const seen: PeerMessage[] = [];
    const framer = new PeerFramer((m) => seen.push(m));
    assert.type(framer.push(bad), 'string', `bit ${bit}`);
    assert.is(seen.length, 0);
  }
});

test('messages before the damage are delivered, none after it', () => {
  const bad = streamOf([three[0]!, three[2]!, three[1]!]);
  const second = encodePeerMessage(three[0]!).length;
  bad[second + 80] = bad[second + 80]! ^ 1;
  const seen: PeerMessage[] = [];
  const framer = new PeerFramer((m) => seen.push(m));
  assert.match(framer.push(bad)!, /payload checksum/);
  assert.match(framer.push(stream)!, /payload checksum/);
  assert.equal(seen.map(comparable), [comparable(three[0]!)]);
});

test('a length beyond the limit is refused before any payload arrives', () => {
  const header = encodePeerMessage(message());
  header.writeUInt32LE(PEER_PAYLOAD_BYTES_MAX + 1, 4);
  const framer = new PeerFramer(() => {});
  assert.type(framer.push(header), 'string');
});

test('a payload of exactly the limit passes', () => {
  const sent = message({ payload: Buffer.alloc(PEER_PAYLOAD_BYTES_MAX, 3) });
  const bytes = encodePeerMessage(sent);
  const seen = collect([bytes.subarray(0, 1_000_000), bytes.subarray(1_000_000)]);
  assert.is(Buffer.compare(seen[0]!.payload, sent.payload), 0);
});

test('a stream that ends inside a message says where', () => {
  const bytes = encodePeerMessage(message({ payload: Buffer.from('abc') }));
  for (let cut = 1; cut < bytes.length; cut++) {
    const framer = new PeerFramer(() => {});
    framer.push(bytes.subarray(0, cut));
    assert.match(framer.end()!, cut < 80 ? /inside a header/ : /inside a payload/);
  }
});

test('a framer that was stopped lets no message out of the same chunk', () => {
  let seen = 0;
  const framer = new PeerFramer(() => {
    seen++;
    framer.stop();
  });
  framer.push(stream);
  assert.is(seen, 1);
});

test('random bytes never do more than break the stream', () => {
  for (let i = 0; i < 200; i++) {
    const framer = new PeerFramer(() => assert.unreachable('garbage is no message'));
    assert.type(framer.push(random.bytes(80 + random.below(200))), 'string');
  }
});

test('a payload that arrives comes with its checksum, and is passed on under it', () => {
  const sent = randomMessage(new SeededRandom(4), 5000);
  const [got] = collect([encodePeerMessage(sent)]);
  assert.is(got!.payloadCrc, crc32(sent.payload));
  assert.equal(comparable(collect([encodePeerMessage(got!)])[0]!), comparable(sent));
});

test('whole blocks that will be stored come with a sum for each; others do not', () => {
  const blocks = {
    ...randomMessage(new SeededRandom(5), 3 * BLOCK_SIZE),
    type: PeerType.write,
    offset: 8 * BLOCK_SIZE,
  };
  const [got] = collect([encodePeerMessage(blocks)]);
  assert.equal(got!.payloadSums, blockSums(blocks.payload));
  for (const change of [{ offset: 512 }, { payload: blocks.payload.subarray(1) }, { type: PeerType.read }]) {
    const [other] = collect([encodePeerMessage({ ...blocks, ...change })]);
    assert.is(other!.payloadSums, undefined);
  }
});

test('a flipped bit in any block of a write is noticed', () => {
  const blocks = {
    ...randomMessage(new SeededRandom(6), 4 * BLOCK_SIZE),
    type: PeerType.replicaWrite,
    offset: 0,
  };
  for (let block = 0; block < 4; block++) {
    const bytes = encodePeerMessage(blocks);
    bytes[bytes.length - 1 - block * BLOCK_SIZE]! ^= 4;
    assert.is(new PeerFramer(() => {}).push(bytes), 'payload checksum mismatch');
  }
});

test('a payload that was changed under the checksum it came with is noticed', () => {
  const [got] = collect([encodePeerMessage(randomMessage(new SeededRandom(4), 5000))]);
  got!.payload[17]! ^= 1;
  assert.is(new PeerFramer(() => {}).push(encodePeerMessage(got!)), 'payload checksum mismatch');
});

test.run();
