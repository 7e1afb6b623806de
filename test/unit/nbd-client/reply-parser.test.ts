import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Command } from '../../../src/nbd/protocol.js';
import { PendingRequest } from '../../../src/nbd-client/pending.js';
import { BrokenStream, ReplyParser } from '../../../src/nbd-client/reply-parser.js';

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
const chunk = (flags: string, type: string, cookie: string, body: string) => {
  const bytes = hex(body);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([hex(`668e33ef ${flags} ${type} 00000000000000${cookie}`), length, bytes]);
};

function world(...requests: PendingRequest[]): { parser: ReplyParser; left: Map<number, PendingRequest> } {
  const left = new Map(requests.map((request, i) => [i + 1, request]));
  const parser = new ReplyParser(
    (cookie) => left.get(cookie),
    (cookie) => void left.delete(cookie),
  );
  return { parser, left };
}

/** Each cut of a stream must give the same. */
const stream = () =>
  Buffer.concat([
    chunk('0000', '0001', '01', '0000000000001004 6464'),
    hex('67446698 00000000 0000000000000002'),
    chunk('0000', '0002', '01', '0000000000001000 00000004'),
    chunk('0001', '0001', '01', '0000000000001006 6565'),
    chunk('0001', '0005', '03', '00000001 00001000 00000000 00002000 00000003'),
  ]);

test('answers that are interleaved, in any pieces', async () => {
  const bytes = stream();
  for (let cut = 1; cut < bytes.length; cut++) {
    const read = new PendingRequest(Command.READ, 0, 0x1000, 8);
    const write = new PendingRequest(Command.WRITE, 0, 0, 4, Buffer.alloc(4));
    const status = new PendingRequest(Command.BLOCK_STATUS, 0, 0, 0x3000);
    const { parser, left } = world(read, write, status);
    parser.feed(bytes.subarray(0, cut));
    parser.feed(bytes.subarray(cut));
    await Promise.all([read.settled, write.settled, status.settled]);
    assert.is(left.size, 0);
    assert.is(Buffer.concat(read.dataParts()).toString('latin1'), '\0\0\0\0ddee');
    assert.equal(status.extents, [
      { lengthBytes: 0x1000, hole: false, zero: false },
      { lengthBytes: 0x2000, hole: true, zero: true },
    ]);
  }
});

async function outcome(request: PendingRequest): Promise<string> {
  return request.settled.then(
    () => 'done',
    (error: Error) => error.message,
  );
}

test('errors, and answers that are not whole', async () => {
  const refused = new PendingRequest(Command.WRITE, 0, 0, 4, Buffer.alloc(4));
  const failed = new PendingRequest(Command.READ, 0, 0, 4);
  const half = new PendingRequest(Command.READ, 0, 0, 4);
  const { parser } = world(refused, failed, half);
  parser.feed(hex('67446698 0000001c 0000000000000001'));
  parser.feed(chunk('0001', '8001', '02', '00000005 0002 6e6f'));
  parser.feed(chunk('0001', '0001', '03', '0000000000000000 6161'));
  assert.match(await outcome(refused), 'ENOSPC');
  assert.match(await outcome(failed), 'EIO');
  assert.match(await outcome(half), 'half an answer');
  const twice = new PendingRequest(Command.READ, 0, 0, 4);
  const again = world(twice);
  again.parser.feed(chunk('0000', '0001', '01', '0000000000000000 6161'));
  again.parser.feed(chunk('0001', '0001', '01', '0000000000000000 6262'));
  await twice.settled;
  assert.throws(() => twice.dataParts(), /overlap/);
});

test('a stream that is no NBD, or lies about lengths, is given up', () => {
  const bad: Record<string, Buffer> = {
    'other magic': Buffer.alloc(16, 1),
    'unknown cookie': hex('67446698 00000000 0000000000000009'),
    'simple answer to a read': hex('67446698 00000000 0000000000000001'),
    'more than asked for': chunk('0001', '0001', '01', `0000000000001000 ${'00'.repeat(9)}`),
    'data from elsewhere': chunk('0001', '0001', '01', '0000000000000ffc 61616161 61616161'),
    'hole beyond the end': chunk('0001', '0002', '01', '0000000000001004 00000005'),
    'absurd length': hex('668e33ef 0001 0005 0000000000000001 ffffffff'),
    'extents cut short': chunk('0001', '0005', '01', '00000001 00001000'),
    'unknown chunk': chunk('0001', '0009', '01', '00'),
  };
  for (const [name, bytes] of Object.entries(bad)) {
    const { parser } = world(new PendingRequest(Command.READ, 0, 0x1000, 8));
    assert.throws(
      () => parser.feed(bytes),
      (error: unknown) => error instanceof BrokenStream,
      name,
    );
  }
});

test.run();
