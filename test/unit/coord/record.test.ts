import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { KeyValueState } from '../../../src/coord/key-value-state.js';
import { decodeLeaseStamp, encodeLeaseStamp } from '../../../src/coord/local/lease-file.js';
import {
  encodeRecord,
  type LogRecord,
  MAX_BODY_BYTES,
  type Proposal,
  scanRecords,
} from '../../../src/coord/local/record.js';
import { decodeHeader, decodeSnapshot, encodeHead } from '../../../src/coord/local/snapshot.js';

const proposals: Proposal[] = [
  {
    kind: 'txn',
    compares: [{ key: 'k', exists: false }],
    ops: [
      { type: 'put', key: 'k', value: 'v', lease: 'l' },
      { type: 'delete-prefix', prefix: 'p/' },
    ],
  },
  { kind: 'grant', lease: 'l', ttlMs: 5000, holder: 'boot/ns/1/2' },
  { kind: 'expire', lease: 'l', reason: 'revoked' },
  { kind: 'rotate' },
];

const NONE = { count: 0, chain: 0 };

function record(proposal: Proposal, sequence = 1): LogRecord {
  return { proposer: '0123456789abcdef', sequence, proposal };
}

test('records of every kind survive a round trip', () => {
  const bytes = Buffer.concat(proposals.map((proposal, i) => encodeRecord(record(proposal, i), 5, NONE)));
  const { records, consumedBytes } = scanRecords(bytes, 5);
  assert.equal(
    records.map((found) => found.record),
    proposals.map((proposal, i) => record(proposal, i)),
  );
  assert.is(consumedBytes, bytes.length);
});

test('an expire record is these bytes', () => {
  const seen = { count: 3, chain: 0x01020304 };
  const bytes = encodeRecord(record({ kind: 'expire', lease: 'a', reason: 'b' }, 258), 1, seen);
  const body = Buffer.from('{"lease":"a","reason":"b"}').toString('hex');
  const head = 'fe534cff1a0000000123456789abcdef0201000000000000030000000300000004030201cfa05849';
  assert.is(bytes.toString('hex'), head + body);
  assert.equal(scanRecords(bytes, 1).records[0]?.seen, seen);
});

test('a record of another generation is not one of this', () => {
  const { records } = scanRecords(encodeRecord(record(proposals[0]!), 4, NONE), 5);
  assert.is(records.length, 0);
});

test('a log cut at any point gives the whole records and waits for the rest', () => {
  const parts = proposals.map((proposal, i) => encodeRecord(record(proposal, i), 5, NONE));
  const bytes = Buffer.concat(parts);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const first = scanRecords(bytes.subarray(0, cut), 5);
    const rest = scanRecords(bytes.subarray(first.consumedBytes), 5);
    assert.is(first.records.length + rest.records.length, parts.length, `cut at ${cut}`);
  }
});

test('whatever is torn, the records found do not depend on when the file is read', () => {
  const [one, two, three] = proposals.map((proposal, i) => encodeRecord(record(proposal, i), 5, NONE));
  for (let torn = 0; torn < one!.length; torn++) {
    const bytes = Buffer.concat([two!, one!.subarray(0, torn), three!, one!.subarray(0, torn), two!]);
    for (const step of [1, 7, 50, 1000]) {
      const found: number[] = [];
      let position = 0;
      for (let size = 0; ; size = Math.min(size + step, bytes.length)) {
        const scan = scanRecords(bytes.subarray(position, size), 5);
        position += scan.consumedBytes;
        found.push(...scan.records.map((entry) => entry.record.sequence));
        if (size === bytes.length) break;
      }
      assert.equal(found, [1, 2, 1], `torn after ${torn} bytes, read in steps of ${step}`);
    }
  }
});

test('a flipped bit anywhere loses that record and no other', () => {
  const [one, two] = proposals.map((proposal, i) => encodeRecord(record(proposal, i), 5, NONE));
  for (let bit = 0; bit < one!.length * 8; bit += 3) {
    const bytes = Buffer.concat([one!, two!]);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    const { records } = scanRecords(bytes, 5);
    assert.equal(
      records.map((found) => found.record.sequence),
      [1],
      `bit ${bit}`,
    );
  }
});

test('a transaction over the limit is refused', () => {
  const ops = [{ type: 'put', key: 'k', value: 'x'.repeat(MAX_BODY_BYTES) } as const];
  try {
    encodeRecord(record({ kind: 'txn', compares: [], ops }), 1, NONE);
    assert.unreachable();
  } catch (error) {
    assert.ok(AppError.isCode(error, 'invalid'));
  }
});

test('text that holds anything never looks like the head of a record', () => {
  const value = '\u00fe\u0000SL\uffff\ud800 \u{10ffff}';
  const wanted = record({ kind: 'txn', compares: [], ops: [{ type: 'put', key: value, value }] });
  const bytes = encodeRecord(wanted, 1, NONE);
  assert.is(bytes.indexOf(Buffer.from('fe534cff', 'hex'), 1), -1);
  assert.equal(scanRecords(bytes, 1).records[0]?.record, wanted);
});

function sampleState(): KeyValueState {
  const state = new KeyValueState();
  state.grant('l', 1000, 'h');
  state.txn([], [{ type: 'put', key: 'b', value: '2', lease: 'l' }]);
  state.txn([], [{ type: 'put', key: 'a', value: '1' }]);
  return state;
}

/** A whole file, and how often making it gave way to others. */
async function headOf(state: KeyValueState, generation: number) {
  let turns = 0;
  const { pieces, header } = await encodeHead(state, generation, async () => void turns++);
  return { bytes: Buffer.concat(pieces), header, turns };
}

test('the head of a log file is these bytes and survives a round trip', async () => {
  const { bytes, header } = await headOf(sampleState(), 258);
  const text =
    '{"revision":2,"entries":[{"key":"a","value":"1","modRevision":2,"createRevision":2},' +
    '{"key":"b","value":"2","modRevision":1,"createRevision":1,"lease":"l"}],' +
    '"leases":[{"id":"l","ttlMs":1000,"holder":"h"}]}';
  assert.is(bytes.toString('utf8', 32), text);
  assert.is(bytes.toString('hex', 0, 32), '53484545504c4f470100000002010000cc0000001f6715db0000000054df8be7');
  assert.equal(decodeHeader(bytes, 'log'), header);
  const state = decodeSnapshot(bytes.subarray(32), header, 'log');
  assert.equal((await headOf(state, 258)).bytes, bytes);
  assert.equal([...state.lease('l')!.keys], ['b']);
});

test('a large state is made text in pieces, and others have their turn in between', async () => {
  const state = new KeyValueState();
  for (let i = 0; i < 2500; i++) state.txn([], [{ type: 'put', key: `key ${i}`, value: 'ä'.repeat(i % 7) }]);
  const { bytes, header, turns } = await headOf(state, 3);
  assert.is(bytes.toString('utf8', 32), JSON.stringify(state.image()));
  assert.equal(decodeSnapshot(bytes.subarray(32), header, 'log').image(), state.image());
  assert.is(turns, 2);
});

test('a damaged head or snapshot is refused', async () => {
  const { bytes, header } = await headOf(sampleState(), 1);
  for (let at = 0; at < bytes.length; at++) {
    const damaged = Buffer.from(bytes);
    damaged[at]! ^= 4;
    const readIt = (): void => {
      decodeHeader(damaged, 'log');
      decodeSnapshot(damaged.subarray(32), header, 'log');
    };
    assert.throws(readIt, (error: unknown) => AppError.isCode(error, 'checksum'), `byte ${at}`);
  }
  assert.throws(() => decodeHeader(bytes.subarray(0, 31), 'log'), /not a log/);
});

test('a lease stamp is these bytes and survives a round trip', () => {
  const stamp = { renewedMs: 1234.567, ttlMs: 5000, holder: 'h' };
  const bytes = encodeLeaseStamp(stamp);
  assert.is(
    bytes.toString('hex'),
    '53484545504c5345010000000100000087d6120000000000404b4c00000000006803900a61',
  );
  assert.equal(decodeLeaseStamp(bytes), stamp);
});

test('a lease stamp with any damage or cut is no stamp', () => {
  const bytes = encodeLeaseStamp({ renewedMs: 1, ttlMs: 2, holder: 'boot/ns/1/2' });
  for (let at = 0; at < bytes.length; at++) {
    const damaged = Buffer.from(bytes);
    damaged[at]! ^= 0x10;
    assert.is(decodeLeaseStamp(damaged), undefined, `byte ${at}`);
    assert.is(decodeLeaseStamp(bytes.subarray(0, at)), undefined, `cut at ${at}`);
  }
});

test.run();
