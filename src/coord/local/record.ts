import { crc32 } from '../../base/bytes.js';
import { AppError } from '../../base/errors.js';
import type { Compare, Op } from '../coordinator.js';

/**
 * A record of the shared log. Numbers are little-endian.
 *
 *   offset  width  field
 *        0      4  magic fe 53 4c ff. No UTF-8 text holds fe or ff, so no body can look like a header
 *        4      4  body length in bytes, at most MAX_BODY_BYTES
 *        8      8  proposer: random, one per handle
 *       16      8  sequence: the proposer's own count
 *       24      1  kind: 1 txn, 2 grant, 3 expire, 4 rotate
 *       25      3  zero
 *       28      4  how many records of this file the proposer had applied
 *       32      4  chain of those: c(0) = 0, c(n) = CRC-32 of record n's checksum field seeded with c(n - 1). A reader
 *                  that has another one lost a record (to a damaged device) which others have seen
 *       36      4  CRC-32 of bytes 4..35 and the body, seeded with the generation of the log file, so that what an
 *                  earlier file left on the device never verifies in this one
 *       40         body: JSON in UTF-8, by kind (rotate: nothing)
 */
export const RECORD_HEADER_BYTES = 40;
const CHECKSUM_OFFSET = 36;
export const MAX_BODY_BYTES = 1 << 20;
const MAGIC = Buffer.from([0xfe, 0x53, 0x4c, 0xff]);
const KINDS = { txn: 1, grant: 2, expire: 3, rotate: 4 } as const;

export type Proposal =
  | { kind: 'txn'; compares: readonly Compare[]; ops: readonly Op[] }
  | { kind: 'grant'; lease: string; ttlMs: number; holder: string }
  /** `reason` is for people who read the log. */
  | { kind: 'expire'; lease: string; reason: string }
  /** The file ends here: what follows in it is void. */
  | { kind: 'rotate' };

export interface LogRecord {
  /** 16 hexadecimal digits. */
  readonly proposer: string;
  readonly sequence: number;
  readonly proposal: Proposal;
}

/** What a proposer had applied of the file when it appended. */
export interface Seen {
  readonly count: number;
  readonly chain: number;
}

/** Throws AppError 'invalid' when the proposal is too large. */
export function encodeRecord(record: LogRecord, generation: number, seen: Seen): Buffer {
  const body = encodeBody(record.proposal);
  if (body.length > MAX_BODY_BYTES) {
    throw new AppError(
      'invalid',
      `a transaction of ${body.length} bytes is over the limit of ${MAX_BODY_BYTES}`,
    );
  }
  const out = Buffer.alloc(RECORD_HEADER_BYTES + body.length);
  MAGIC.copy(out, 0);
  out.writeUInt32LE(body.length, 4);
  out.write(record.proposer, 8, 8, 'hex');
  out.writeBigUInt64LE(BigInt(record.sequence), 16);
  out.writeUInt8(KINDS[record.proposal.kind], 24);
  body.copy(out, RECORD_HEADER_BYTES);
  out.writeUInt32LE(seen.count, 28);
  out.writeUInt32LE(seen.chain, 32);
  out.writeUInt32LE(checksum(out, generation), CHECKSUM_OFFSET);
  return out;
}

/** The chain one record further. */
export function nextChain(chain: number, checksumOfRecord: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(checksumOfRecord);
  return crc32(bytes, chain);
}

export interface ScannedRecord {
  readonly record: LogRecord;
  readonly seen: Seen;
  readonly checksum: number;
}

export interface Scan {
  readonly records: ScannedRecord[];
  /** Everything before is decided; from here on more bytes are needed. */
  readonly consumedBytes: number;
}

/**
 * Finds the records in a piece of the log. Torn and foreign bytes are stepped over; whether bytes are torn depends
 * on what the file holds in the end and not on when they are read, so every reader finds the same records:
 * appends do not interleave, hence an incomplete record with a whole one behind it will never be completed.
 */
export function scanRecords(bytes: Buffer, generation: number): Scan {
  const records: Scan['records'] = [];
  let at = 0;
  for (;;) {
    const start = bytes.indexOf(MAGIC, at);
    // The last three bytes may be the beginning of a magic.
    if (start < 0) return { records, consumedBytes: Math.max(at, bytes.length - MAGIC.length + 1) };
    const end = recordEnd(bytes, start, generation);
    if (end === 'incomplete' && !hasRecordAfter(bytes, start, generation)) {
      return { records, consumedBytes: start };
    }
    if (typeof end !== 'number') {
      at = start + 1;
      continue;
    }
    records.push(decode(bytes.subarray(start, end)));
    at = end;
  }
}

function hasRecordAfter(bytes: Buffer, offset: number, generation: number): boolean {
  for (let at = bytes.indexOf(MAGIC, offset + 1); at >= 0; at = bytes.indexOf(MAGIC, at + 1)) {
    if (typeof recordEnd(bytes, at, generation) === 'number') return true;
  }
  return false;
}

function recordEnd(bytes: Buffer, start: number, generation: number): number | 'incomplete' | 'torn' {
  if (start + RECORD_HEADER_BYTES > bytes.length) return 'incomplete';
  const bodyBytes = bytes.readUInt32LE(start + 4);
  if (bodyBytes > MAX_BODY_BYTES) return 'torn';
  const end = start + RECORD_HEADER_BYTES + bodyBytes;
  if (end > bytes.length) return 'incomplete';
  const stored = bytes.readUInt32LE(start + CHECKSUM_OFFSET);
  return checksum(bytes.subarray(start, end), generation) === stored ? end : 'torn';
}

function checksum(record: Buffer, generation: number): number {
  return crc32(record.subarray(RECORD_HEADER_BYTES), crc32(record.subarray(4, CHECKSUM_OFFSET), generation));
}

function encodeBody(proposal: Proposal): Buffer {
  const { kind, ...body } = proposal;
  return Buffer.from(kind === 'rotate' ? '' : JSON.stringify(body));
}

/** The checksum held: what is not understood was written by a later version. */
function decode(record: Buffer): ScannedRecord {
  const kindNumber = record.readUInt8(24);
  const kind = (Object.keys(KINDS) as Proposal['kind'][]).find((name) => KINDS[name] === kindNumber);
  if (!kind || record.readUIntLE(25, 3) !== 0) {
    throw new AppError('version', `the coordinator's log holds a record of unknown kind ${kindNumber}`);
  }
  const text = record.toString('utf8', RECORD_HEADER_BYTES);
  const body = kind === 'rotate' ? {} : JSON.parse(text);
  return {
    record: {
      proposer: record.toString('hex', 8, 16),
      sequence: Number(record.readBigUInt64LE(16)),
      proposal: { kind, ...body } as Proposal,
    },
    seen: { count: record.readUInt32LE(28), chain: record.readUInt32LE(32) },
    checksum: record.readUInt32LE(CHECKSUM_OFFSET),
  };
}
