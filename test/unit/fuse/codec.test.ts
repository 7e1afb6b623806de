/** The kernel's protocol byte for byte, as its public header lays it out. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { negotiate } from '../../../src/fuse/init.js';
import { attr, InitFlag, inHeader, Op, outHeader, record, reply } from '../../../src/fuse/protocol.js';
import {
  encodeAttr,
  encodeDirectory,
  encodeEntry,
  encodeOpen,
  encodeOutHeader,
  encodeXattr,
} from '../../../src/fuse/replies.js';
import { isMalformed, parseRequest, type Request } from '../../../src/fuse/request.js';

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

/** A message as the kernel sends it; `length` is what its header claims. */
function message(opcode: number, body: Buffer, length = inHeader.bytes + body.length): Buffer {
  const header = inHeader.encode({ len: length, opcode, unique: 0x1122, nodeid: 7, uid: 1, gid: 2, pid: 3 });
  return Buffer.concat([header, body]);
}

function parsed(opcode: number, body: Buffer): Request {
  const request = parseRequest(message(opcode, body));
  if (request === undefined || isMalformed(request)) throw new Error('malformed');
  return request;
}

function refusal(bytes: Buffer): string | undefined {
  const request = parseRequest(bytes);
  return request !== undefined && isMalformed(request) ? request.refusal : undefined;
}

test('records have the sizes of the header', () => {
  const sizes = { in: inHeader.bytes, out: outHeader.bytes, attr: attr.bytes };
  assert.equal(sizes, { in: 40, out: 16, attr: 88 });
  assert.equal(Object.fromEntries(Object.entries(reply).map(([name, layout]) => [name, layout.bytes])), {
    entry: 128,
    attr: 104,
    open: 16,
    count: 8,
    wide: 8,
    statfs: 80,
    init: 64,
    dirent: 24,
  });
  const { SETATTR, READ, WRITE, CREATE, RELEASE, FSYNC, FALLOCATE, LSEEK, COPY_FILE_RANGE, RENAME2 } = record;
  const found = [SETATTR, READ, WRITE, CREATE, RELEASE, FSYNC, FALLOCATE, LSEEK, COPY_FILE_RANGE, RENAME2];
  assert.equal(
    found.map((layout) => layout.bytes),
    [88, 40, 40, 16, 24, 16, 32, 24, 56, 16],
  );
});

test('a write as the kernel sends it', () => {
  const bytes = hex(`
    55000000 10000000 2211000000000000 0700000000000000 01000000 02000000 03000000 0000 0000
    0500000000000000 0010000001000000 05000000 00000000 0900000000000000 01900000 00000000
    68656c6c6f`);
  const request = parseRequest(bytes) as Request;
  assert.is(request.op, 'WRITE');
  assert.equal([request.unique, request.nodeid, request.uid, request.gid, request.pid], [0x1122, 7, 1, 2, 3]);
  assert.is(request.body.fh, 5);
  assert.is(request.body.offset, 0x1_0000_1000);
  assert.is(request.body.size, 5);
  assert.is(request.body.flags, 0x9001);
  assert.is(request.payload.toString(), 'hello');
});

test('names and what follows them', () => {
  const rename = parsed(Op.RENAME2, Buffer.concat([Buffer.alloc(16), Buffer.from('old\0n\u00e9w\0')]));
  assert.equal(rename.names, ['old', 'n\u00e9w']);
  const setxattr = Buffer.concat([hex('03000000 01000000'), Buffer.from('user.a\0xyz')]);
  const request = parsed(Op.SETXATTR, setxattr);
  assert.equal([request.names[0], request.payload.toString()], ['user.a', 'xyz']);
});

test('lengths that do not hold are refused before anything is read', () => {
  assert.is(parseRequest(Buffer.alloc(39)), undefined);
  assert.is(refusal(message(Op.WRITE, Buffer.alloc(39))), 'EINVAL', 'half a record');
  const long = record.WRITE.encode({ fh: 1, size: 100 });
  assert.is(refusal(message(Op.WRITE, Buffer.concat([long, Buffer.alloc(99)]))), 'EINVAL', 'half a payload');
  assert.is(refusal(message(Op.LOOKUP, Buffer.from('no end'))), 'EINVAL');
  assert.is(refusal(message(Op.LOOKUP, hex('ff00'))), 'EINVAL', 'not UTF-8');
  assert.is(refusal(message(Op.BATCH_FORGET, hex('ffffffff00000000'))), 'EINVAL', 'four billion of them');
  assert.is(refusal(message(Op.GETATTR, Buffer.alloc(16), 4096)), 'EIO', 'another length than came');
  assert.is(refusal(message(4096, Buffer.alloc(0))), 'ENOSYS');
  const extended = message(Op.LOOKUP, Buffer.from('name\0'));
  extended.writeUInt16LE(0xffff, inHeader.offsetOf('extensionWords'));
  assert.is(refusal(extended), 'EINVAL', 'extensions longer than the message');
});

test('answers byte for byte', () => {
  const header = Buffer.alloc(16);
  encodeOutHeader(header, 0x1122, 2, 0);
  assert.equal(header.toString('hex'), '10000000feffffff2211000000000000');
  assert.equal(encodeOpen(5, 3).toString('hex'), '05000000000000000300000000000000');
  const attributes = {
    ino: 9,
    size: 0x1_0000_0001,
    blocks: 8,
    mtime: 2,
    mtimensec: 3,
    mode: 0o100644,
    nlink: 1,
  };
  const expected = hex(`
    0900000000000000 0100000001000000 0800000000000000 0000000000000000 0200000000000000 0000000000000000
    00000000 03000000 00000000 a4810000 01000000 00000000 00000000 00000000 00000000 00000000`);
  assert.ok(
    encodeAttr(attributes, 60).equals(Buffer.concat([hex('3c00000000000000 00000000 00000000'), expected])),
  );
  const entry = encodeEntry(7, attributes, { entryS: 1, attrS: 2 });
  const start = hex('0700000000000000 0000000000000000 0100000000000000 0200000000000000 00000000 00000000');
  assert.ok(entry.equals(Buffer.concat([start, expected])));
});

test('a listing goes on where there was no more room', () => {
  const entries = ['.', 'volume', 'eight888'].map((name, i) => ({ name, ino: i + 1, type: 8 }));
  const first = encodeDirectory(entries, 0, 70);
  assert.ok(
    first.equals(
      hex(`0100000000000000 0100000000000000 01000000 08000000 2e00000000000000
           0200000000000000 0200000000000000 06000000 08000000 766f6c756d650000`),
    ),
  );
  const second = encodeDirectory(entries, 2, 4096);
  assert.is(second.length, 32, 'no padding behind a name of eight bytes');
  assert.is(encodeDirectory(entries, 3, 4096).length, 0);
});

test('the size of an attribute, and then the attribute', () => {
  assert.equal(encodeXattr(Buffer.from('value'), 0).toString('hex'), '0500000000000000');
  assert.is(encodeXattr(Buffer.from('value'), 100).toString(), 'value');
});

test('only what the kernel offers is asked of it', () => {
  const offered = {
    major: 7,
    minor: 45,
    maxReadahead: 131072,
    flags: InitFlag.ASYNC_READ | InitFlag.MAX_PAGES,
  };
  const answer = reply.init.decode(negotiate(offered, hex('ffffffff')));
  assert.is(answer.flags, offered.flags);
  assert.is(answer.flags2, 0, 'no second word without INIT_EXT');
  assert.equal([answer.maxWrite, answer.maxPages], [2 ** 20, 256]);
  const newer = reply.init.decode(negotiate({ ...offered, flags: 0xffffffff | 0 }, hex('ffffffff')));
  assert.is(newer.flags2, 1 << 4);
  assert.is(newer.flags & ((1 << 1) | (1 << 10)), 0, 'locks are the kernel\u2019s own');
  assert.throws(() => negotiate({ ...offered, minor: 30 }, Buffer.alloc(0)), /7\.31/);
});

test.run();
