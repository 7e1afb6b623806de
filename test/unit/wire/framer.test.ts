import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../src/base/random.js';
import { type Frame, Framer, PAYLOAD_BYTES_MAX } from '../../../src/wire/framer.js';
import { commonHeader, objRequest, plainResponse } from '../../../src/wire/headers.js';
import { Flag, Op } from '../../../src/wire/sheepdog.js';

interface Seen {
  id: number;
  opcode: number;
  payload: string;
}

function feed(framer: Framer, chunks: Uint8Array[]): string | undefined {
  let broken: string | undefined;
  for (const chunk of chunks) broken = framer.push(chunk);
  return broken;
}

function collect(kind: 'forRequests' | 'forResponses', chunks: Uint8Array[]): Seen[] {
  const seen: Seen[] = [];
  const framer = Framer[kind]((f: Frame) =>
    seen.push({ id: f.id, opcode: f.opcode, payload: f.payload.toString('hex') }),
  );
  assert.is(feed(framer, chunks), undefined);
  assert.is(framer.end(), undefined);
  return seen;
}

function write(id: number, payload: Buffer): Buffer {
  const header = { opcode: Op.WRITE_OBJ, flags: Flag.WRITE, id, dataLength: payload.length, oid: 5n };
  return Buffer.concat([objRequest.encode(header), payload]);
}

function read(id: number, dataLength: number): Buffer {
  return objRequest.encode({ opcode: Op.READ_OBJ, id, dataLength, oid: 5n });
}

const stream = Buffer.concat([
  write(1, Buffer.from('abcde')),
  read(2, 4096),
  write(3, Buffer.alloc(0)),
  write(4, Buffer.from('z')),
]);
const expected: Seen[] = [
  { id: 1, opcode: 3, payload: '6162636465' },
  { id: 2, opcode: 2, payload: '' },
  { id: 3, opcode: 3, payload: '' },
  { id: 4, opcode: 3, payload: '7a' },
];

test('a stream in one chunk gives all its requests', () => {
  assert.equal(collect('forRequests', [stream]), expected);
});

test('a stream cut at any point gives the same requests', () => {
  for (let cut = 0; cut <= stream.length; cut++) {
    assert.equal(collect('forRequests', [stream.subarray(0, cut), stream.subarray(cut)]), expected);
  }
});

test('a stream in single bytes gives the same requests', () => {
  const bytes = Array.from(stream, (byte) => Uint8Array.of(byte));
  assert.equal(collect('forRequests', bytes), expected);
});

test('random streams in random pieces come out whole', () => {
  const random = new SeededRandom(3);
  for (let round = 0; round < 30; round++) {
    const payloads = Array.from({ length: 20 }, () => random.bytes(random.below(5000)));
    const bytes = Buffer.concat(payloads.map((payload, id) => write(id, payload)));
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; ) {
      const size = 1 + random.below(random.pick([3, 60, 4000, 20000]));
      chunks.push(bytes.subarray(at, at + size));
      at += size;
    }
    const seen = collect('forRequests', chunks);
    assert.equal(
      seen.map((frame) => frame.payload),
      payloads.map((payload) => payload.toString('hex')),
    );
  }
});

test('an answer has a payload whatever its flags', () => {
  const header = plainResponse.encode({ opcode: Op.READ_OBJ, id: 9, dataLength: 3 });
  const bytes = Buffer.concat([header, Buffer.from('xyz')]);
  for (let cut = 0; cut <= bytes.length; cut++) {
    assert.equal(collect('forResponses', [bytes.subarray(0, cut), bytes.subarray(cut)]), [
      { id: 9, opcode: 2, payload: '78797a' },
    ]);
  }
});

test('the common fields are those of the table', () => {
  const random = new SeededRandom(5);
  for (let i = 0; i < 100; i++) {
    const bytes = random.bytes(48);
    bytes[2] = bytes[2]! & ~Flag.WRITE;
    let frame: Frame | undefined;
    Framer.forRequests((f) => {
      frame = f;
    }).push(bytes);
    const { version, opcode, flags, epoch, id, dataLength } = frame!;
    assert.equal({ version, opcode, flags, epoch, id, dataLength }, commonHeader.decode(bytes));
    assert.equal(frame!.header, bytes);
  }
});

test('a payload inside one chunk is not copied', () => {
  const payload = Buffer.from('payload');
  const bytes = write(1, payload);
  let frame: Frame | undefined;
  Framer.forRequests((f) => {
    frame = f;
  }).push(bytes);
  assert.is(frame!.payload.buffer, bytes.buffer);
});

test('a payload beyond the limit breaks the stream before it arrives', () => {
  const seen: Frame[] = [];
  const framer = Framer.forRequests((f) => seen.push(f));
  const header = { opcode: Op.WRITE_OBJ, flags: Flag.WRITE, dataLength: 0xffffffff };
  assert.match(framer.push(objRequest.encode(header))!, /too long/);
  assert.match(framer.push(read(1, 0))!, /too long/);
  assert.match(framer.end()!, /too long/);
  assert.is(seen.length, 0);
});

test('a payload of exactly the limit is taken', () => {
  const framer = Framer.forRequests(() => {}, 10);
  assert.is(framer.push(write(1, Buffer.alloc(10))), undefined);
  assert.match(framer.push(write(1, Buffer.alloc(11)))!, /too long/);
  assert.ok(PAYLOAD_BYTES_MAX >= 12_587_576, 'a whole inode must pass');
});

test('the length of the answer a client has room for is no payload', () => {
  assert.equal(collect('forRequests', [read(1, 0xffffffff)]), [{ id: 1, opcode: 2, payload: '' }]);
});

test('an unknown opcode is framed like any other', () => {
  const bytes = Buffer.concat([
    objRequest.encode({ opcode: 0xff, flags: Flag.WRITE, id: 7, dataLength: 2 }),
    Buffer.from('hi'),
  ]);
  assert.equal(collect('forRequests', [bytes]), [{ id: 7, opcode: 0xff, payload: '6869' }]);
});

test('a stream that ends inside a frame says so', () => {
  const bytes = write(1, Buffer.from('abc'));
  for (let cut = 1; cut < bytes.length; cut++) {
    const framer = Framer.forRequests(() => {});
    framer.push(bytes.subarray(0, cut));
    assert.match(framer.end()!, cut < 48 ? /inside a header/ : /inside a payload/);
  }
});

test('a framer that was stopped lets no frame out of the same chunk', () => {
  const seen: number[] = [];
  const framer = Framer.forRequests((f) => {
    seen.push(f.id);
    framer.stop();
  });
  framer.push(stream);
  assert.equal(seen, [1]);
});

test.run();
