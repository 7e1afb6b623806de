import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type BackupPiece,
  CorruptBackup,
  changedRange,
  decodeBackup,
  encodeBackupHeader,
  encodeEndRecord,
  encodeRecordHeader,
} from '../../../src/cli/backup-stream.js';
import { dataRuns } from '../../../src/cli/upload.js';

const OBJECT_BYTES = 4 * 1024 * 1024;

async function decode(bytes: Buffer, cut = 1000): Promise<BackupPiece[]> {
  async function* chunks(): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += cut) yield bytes.subarray(at, at + cut);
  }
  const pieces: BackupPiece[] = [];
  for await (const piece of decodeBackup(chunks(), OBJECT_BYTES)) pieces.push(piece);
  return pieces;
}

async function isCorrupt(bytes: Buffer): Promise<boolean> {
  try {
    await decode(bytes);
    return false;
  } catch (error) {
    if (error instanceof CorruptBackup) return true;
    throw error;
  }
}

const data = Buffer.alloc(512, 'x');
const whole = Buffer.concat([
  encodeBackupHeader(),
  encodeRecordHeader(3, 1024, 512),
  data,
  encodeEndRecord(),
]);

test('the bytes are those of the original', () => {
  assert.is(encodeBackupHeader().toString('hex'), '0100000092119211');
  assert.is(encodeRecordHeader(3, 1024, 512).toString('hex'), '03000000000400000002000000000000');
  assert.is(encodeEndRecord().toString('hex'), 'ffffffff000000000000000000000000');
  assert.is(whole.length, 552, 'as the original writes it for one changed sector');
});

test('a stream is read back, wherever it is cut', async () => {
  for (const cut of [1, 7, 16, 512, 10_000]) {
    assert.equal(await decode(whole, cut), [{ index: 3, offset: 1024, data }]);
  }
});

test('a long record comes in pieces', async () => {
  const long = Buffer.alloc(2.5 * 1024 * 1024, 'y');
  const stream = [encodeBackupHeader(), encodeRecordHeader(0, 512, long.length), long, encodeEndRecord()];
  const pieces = await decode(Buffer.concat(stream), 65536);
  assert.equal(
    pieces.map(({ offset, data }) => [offset, data.length]),
    [
      [512, 1048576],
      [1049088, 1048576],
      [2097664, 524288],
    ],
  );
});

test('whatever is no backup, is cut short or leaves its object is corrupt', async () => {
  assert.ok(await isCorrupt(Buffer.alloc(0)));
  assert.ok(await isCorrupt(Buffer.from('garbage\n')));
  for (let cut = 0; cut < whole.length; cut += 5) {
    assert.ok(await isCorrupt(whole.subarray(0, cut)), `cut at ${cut}`);
  }
  const beyond = encodeRecordHeader(0, OBJECT_BYTES - 511, 512);
  assert.ok(await isCorrupt(Buffer.concat([encodeBackupHeader(), beyond, data, encodeEndRecord()])));
});

test('changes are found from the first to the last sector that differs', () => {
  const from = Buffer.alloc(4096);
  const to = Buffer.from(from);
  assert.is(changedRange(from, to), undefined);
  to[1500] = 1;
  assert.equal(changedRange(from, to), { start: 1024, end: 1536 });
  to[3000] = 1;
  assert.equal(changedRange(from, to), { start: 1024, end: 3072 });
  to[0] = 1;
  to[4095] = 1;
  assert.equal(changedRange(from, to), { start: 0, end: 4096 });
});

test('the last sector of an odd size is a short one', () => {
  const to = Buffer.alloc(1000);
  to[999] = 1;
  assert.equal(changedRange(Buffer.alloc(1000), to), { start: 512, end: 1000 });
});

test('only what is not zero is sent, with short holes', () => {
  const bytes = Buffer.alloc(1024 * 1024);
  assert.equal(dataRuns(bytes), []);
  bytes[5000] = 1;
  bytes[20_000] = 1;
  bytes[500_000] = 1;
  bytes[bytes.length - 1] = 1;
  assert.equal(dataRuns(bytes), [
    [4096, 20480],
    [499712, 503808],
    [1044480, 1048576],
  ]);
  assert.equal(dataRuns(Buffer.from([0, 0, 1])), [[0, 3]]);
});

test.run();
