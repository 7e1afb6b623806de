import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { NbdRequest } from '../../../src/nbd/request.js';
import { RequestParser } from '../../../src/nbd/request-parser.js';
import {
  closeAll,
  duplexPair,
  extendedRequest,
  goPayload,
  metaPayload,
  option,
  RawClient,
  request,
  setup,
  u32,
} from './raw-client.js';

type Feed = (parser: RequestParser, chunk: Buffer) => void;

function feedChunk(parser: RequestParser, chunk: Buffer): void {
  if (!parser.feed(chunk)) resume(parser);
}

function resume(parser: RequestParser): void {
  while (!parser.resume()) {
    // The next try is admitted.
  }
}

/** As a socket does it: the room for the next bytes is asked for at once, before the parser goes on. */
function readToRoom(): Feed {
  let room: Buffer | undefined;
  return (parser, chunk) => {
    for (let at = 0; at < chunk.length; ) {
      room ??= parser.room();
      const count = chunk.copy(room, 0, at);
      at += count;
      const done = parser.filled(room.subarray(0, count));
      room = parser.room();
      if (!done) resume(parser);
    }
  };
}

/** Parses a stream in the given chunks; drains command 99, waits once before each command 3, and before offset 77. */
function parse(chunks: Buffer[], extended: boolean, feed: Feed = feedChunk): string[] {
  const seen: string[] = [];
  let mayFlush = false;
  const parser = new RequestParser(
    {
      admit(entry: NbdRequest) {
        if ((entry.command === 3 || entry.offset === 77) && !mayFlush) {
          mayFlush = true;
          return 'wait';
        }
        mayFlush = false;
        return entry.offset === 99 ? 'drain' : 'take';
      },
      onRequest: (entry, payload) =>
        seen.push(`${entry.command} ${entry.offset} ${payload?.toString() ?? '-'}`),
      onBroken: (reason) => seen.push(reason),
    },
    extended,
  );
  for (const chunk of chunks) feed(parser, chunk);
  return seen;
}

function splits(bytes: Buffer): Buffer[][] {
  return Array.from({ length: bytes.length + 1 }, (_, at) => [bytes.subarray(0, at), bytes.subarray(at)]);
}

test('parses the same requests wherever the stream is cut', () => {
  const compact = Buffer.concat([
    request(1, 5, 3, { data: Buffer.from('abc') }),
    request(3, 0, 0),
    request(1, 99, 4, { data: Buffer.from('skip') }),
    request(1, 6, 0),
    request(0, 7, 10),
    request(3, 0, 0),
  ]);
  const expected = ['1 5 abc', '3 0 -', '1 99 -', '1 6 -', '0 7 -', '3 0 -'];
  for (const chunks of splits(compact)) assert.equal(parse(chunks, false), expected);
  assert.equal(
    parse(
      Array.from(compact, (byte) => Buffer.from([byte])),
      false,
    ),
    expected,
  );
});

test('parses the same requests from bytes that were read to where it wanted them', () => {
  const long = Buffer.alloc(100_000, 'long');
  const longer = Buffer.alloc(200_000, 'longer');
  const bytes = Buffer.concat([
    request(1, 5, 3, { data: Buffer.from('abc') }),
    request(1, 77, long.length, { data: long }),
    request(3, 0, 0),
    request(1, 6, longer.length, { data: longer }),
    request(1, 99, long.length, { data: long }),
    request(1, 77, longer.length, { data: longer }),
    request(0, 7, 10),
  ]);
  const expected = ['1 5 abc', `1 77 ${long}`, '3 0 -', `1 6 ${longer}`, '1 99 -', `1 77 ${longer}`, '0 7 -'];
  for (const size of [700, 5000, 40_000, 65_536, bytes.length]) {
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
    assert.equal(parse(chunks, false, readToRoom()), expected, `${size} at a time`);
  }
});

test('parses the same extended requests wherever the stream is cut', () => {
  const bytes = Buffer.concat([
    extendedRequest(1, 5, 3, { data: Buffer.from('abc') }),
    extendedRequest(3, 0, 0),
    extendedRequest(4, 99, 2 ** 40),
    extendedRequest(1, 99, 4, { data: Buffer.from('skip') }),
  ]);
  const expected = ['1 5 abc', '3 0 -', '4 99 -', '1 99 -'];
  for (const chunks of splits(bytes)) assert.equal(parse(chunks, true), expected);
});

test('hands over a payload that lies in one chunk as a view of it', () => {
  const bytes = request(1, 0, 3, { data: Buffer.from('abc') });
  let payload: Buffer | undefined;
  const sink = {
    admit: () => 'take' as const,
    onRequest: (_: NbdRequest, data: Buffer | undefined) => {
      payload = data;
    },
    onBroken: () => {},
  };
  new RequestParser(sink, false).feed(bytes);
  assert.is(payload?.buffer, bytes.buffer);
});

test('allocates nothing for a payload before it is admitted', () => {
  const sink = { admit: () => 'wait' as const, onRequest: () => {}, onBroken: () => {} };
  const parser = new RequestParser(sink, false);
  assert.not(parser.feed(Buffer.concat([request(1, 0, 0xffffffff), u32(0)])));
  assert.is(parser.gatheringBytes, 0);
});

test('serves a whole session the same wherever it is cut', async () => {
  const session = Buffer.concat([
    u32(3),
    option(8),
    option(10, metaPayload('disk', ['base:allocation'])),
    option(7, goPayload('disk', [3])),
    request(1, 4096, 5, { cookie: 1, data: Buffer.from('hello') }),
    request(0, 8192, 6, { cookie: 2 }),
    request(7, 65536, 4096, { cookie: 3 }),
    request(9, 0, 0, { cookie: 4 }),
    request(2, 0, 0),
  ]);
  let expected: string | undefined;
  for (const [first, second] of splits(session)) {
    const { server } = setup();
    const [near, far] = duplexPair();
    server.handle(far);
    const client = new RawClient(near);
    client.send(first!);
    await new Promise((resolve) => setImmediate(resolve));
    client.send(second!);
    // Replies to different requests may change places; their bytes may not.
    const bytes = (await client.rest()).toString('hex').split(/(?=668e33ef|67446698)/);
    const sorted = bytes.sort().join('\n');
    expected ??= sorted;
    assert.is(sorted, expected);
  }
  assert.is(expected!.split('\n').length, 5);
});

test.after(closeAll);
test.run();
