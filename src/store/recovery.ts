/**
 * Reading the journal after a crash. For every position: what stands there, and what follows later, decide by one
 * table what is done. A test walks all combinations and finds exactly one row for each.
 *
 * What may legitimately be missing is the end: a kill can tear the last batch, a power cut can lose batches that
 * were never synced, in any order. A batch that later ones call synced must be there: if not, the disk lost it.
 *
 * A last batch that has begun and is not whole was torn by the kill, and acknowledged to nobody; or it was whole, and
 * has rotted since. That cannot be told apart, so what was not synced counts as lost then (`cut`).
 */
import { BLOCK_SIZE } from '../base/bytes.js';
import { blockChecksum, objectSeed } from './checksum.js';
import type { DiskFile } from './disk.js';
import { decodeSegmentHeader, SEGMENT_START } from './journal.js';
import {
  BATCH_HEADER_BYTES,
  type BatchHeader,
  decodeBatchHeader,
  decodeRecords,
  headerFields,
  type JournalRecord,
  recordTypes,
} from './journal-record.js';

export const headerStates = [
  'valid',
  /** All zeros: never written. */
  'zero',
  /** Garbage, torn, or records that do not match. */
  'bad-crc',
  /** An intact header that belongs elsewhere. */
  'wrong-position',
  /** Left from an earlier use of the segment. */
  'old-generation',
  /** Of this generation, but not the next batch. */
  'wrong-sequence',
] as const;
export const bodyStates = ['intact', 'damaged'] as const;
export const laterStates = [
  'none',
  /** Batches of this journal follow, none of which calls this one synced. */
  'unsynced',
  /** A later batch says that this one was durable. */
  'synced',
] as const;
export const crashKinds = ['kill', 'power-cut'] as const;

export type HeaderState = (typeof headerStates)[number];
export type BodyState = (typeof bodyStates)[number];
export type LaterState = (typeof laterStates)[number];
export type CrashKind = (typeof crashKinds)[number];

export interface Finding {
  readonly header: HeaderState;
  /** Of the images; 'damaged' whenever the header is not valid. */
  readonly body: BodyState;
  readonly later: LaterState;
  readonly crash: CrashKind;
}

export type Action =
  /** Carry it out. */
  | 'replay'
  /** The log ends here, as it should after a crash. */
  | 'end'
  /** Later batches exist but none was promised: they are dropped with this one. */
  | 'end-and-drop'
  /** A durable batch has lost images: carry out what is there; what is not shows as bad blocks. */
  | 'replay-damaged'
  /** A durable batch is gone: go on with the later ones, and say so loudly. */
  | 'skip-damaged';

export interface Rule {
  readonly when: { readonly [K in keyof Finding]?: readonly Finding[K][] };
  readonly action: Action;
  readonly why: string;
}

const invalid: readonly HeaderState[] = [
  'zero',
  'bad-crc',
  'wrong-position',
  'old-generation',
  'wrong-sequence',
];

export const recoveryTable: readonly Rule[] = [
  {
    when: { header: ['valid'], body: ['intact'] },
    action: 'replay',
    why: 'a whole batch',
  },
  {
    when: { header: ['valid'], body: ['damaged'], later: ['none'] },
    action: 'end',
    why: 'the last batch was torn; it was not acknowledged as durable',
  },
  {
    when: { header: invalid, later: ['none'] },
    action: 'end',
    why: 'nothing was written here since the segment began, or it was torn',
  },
  {
    when: { header: ['valid'], body: ['damaged'], later: ['unsynced'], crash: ['power-cut'] },
    action: 'end-and-drop',
    why: 'unsynced batches survive in any order',
  },
  {
    when: { header: invalid, later: ['unsynced'], crash: ['power-cut'] },
    action: 'end-and-drop',
    why: 'unsynced batches survive in any order',
  },
  {
    when: { header: ['valid'], body: ['damaged'], later: ['unsynced'], crash: ['kill'] },
    action: 'replay-damaged',
    why: 'a kill tears only the last batch: the disk lost bytes',
  },
  {
    when: { header: invalid, later: ['unsynced'], crash: ['kill'] },
    action: 'skip-damaged',
    why: 'a kill tears only the last batch: the disk lost it',
  },
  {
    when: { header: ['valid'], body: ['damaged'], later: ['synced'] },
    action: 'replay-damaged',
    why: 'the batch was durable: the disk lost bytes',
  },
  {
    when: { header: invalid, later: ['synced'] },
    action: 'skip-damaged',
    why: 'the batch was durable: the disk lost it',
  },
];

export function matches(rule: Rule, finding: Finding): boolean {
  const { header, body, later, crash } = rule.when;
  return (
    (!header || header.includes(finding.header)) &&
    (!body || body.includes(finding.body)) &&
    (!later || later.includes(finding.later)) &&
    (!crash || crash.includes(finding.crash))
  );
}

export function decide(finding: Finding): Action {
  const rule = recoveryTable.find((each) => matches(each, finding));
  // The table is total; a test proves it.
  return rule!.action;
}

// Scanning ------------------------------------------------------------------------------------------------------

export interface FoundBatch {
  readonly header: BatchHeader;
  readonly file: DiskFile;
  readonly uncommitted: readonly bigint[];
  readonly records: readonly JournalRecord[];
  /** Indexes (of image blocks, over the whole batch) that do not verify. */
  readonly badImages: ReadonlySet<number>;
}

export interface JournalScan {
  readonly batches: FoundBatch[];
  /** Places where durable batches were lost. */
  readonly damaged: number;
  readonly dropped: boolean;
  /** The last batch has begun, and is not whole. */
  readonly cut: boolean;
}

interface SegmentView {
  readonly file: DiskFile;
  readonly size: number;
  readonly generation: number;
  /** Intact headers of this generation in their own places, by position. */
  readonly headers: readonly BatchHeader[];
}

/** Reads both segments, older generation first, and decides about every position. */
export function scanJournal(files: readonly DiskFile[], crash: CrashKind): JournalScan {
  const views = files
    .map(viewSegment)
    .filter((view) => view !== undefined)
    .sort((a, b) => a.generation - b.generation);
  const batches: FoundBatch[] = [];
  let damaged = 0;
  let expected = -1;
  let cut = false;
  for (let index = 0; index < views.length; index++) {
    const view = views[index]!;
    const newer = views.slice(index + 1).flatMap((each) => each.headers);
    const result = scanSegment(view, newer, expected, crash, batches);
    damaged += result.damaged;
    if (result.dropped) return { batches, damaged, dropped: true, cut: true };
    expected = result.expected;
    cut ||= result.cut;
  }
  return { batches, damaged, dropped: false, cut };
}

function viewSegment(file: DiskFile): SegmentView | undefined {
  const size = file.size();
  const block = Buffer.alloc(BLOCK_SIZE);
  file.read(block, 0);
  let generation = decodeSegmentHeader(block);
  if (generation === undefined) {
    // The header is only rewritten while the segment is free. What its first batch says decides whether it is.
    file.read(block, SEGMENT_START);
    const first = decodeBatchHeader(block);
    if (first?.position !== SEGMENT_START) return undefined;
    generation = first.generation;
  }
  return { file, size, generation, headers: findHeaders(file, size, generation) };
}

function findHeaders(file: DiskFile, size: number, generation: number): BatchHeader[] {
  const headers: BatchHeader[] = [];
  const chunk = Buffer.alloc(Math.min(size, 1 << 20));
  for (let start = 0; start < size; start += chunk.length) {
    const count = file.read(chunk, start);
    for (let at = start === 0 ? SEGMENT_START : 0; at + BATCH_HEADER_BYTES <= count; at += BLOCK_SIZE) {
      const header = decodeBatchHeader(chunk.subarray(at, at + BATCH_HEADER_BYTES));
      if (header?.generation !== generation || header.position !== start + at) continue;
      if (header.position + header.totalBytes <= size) headers.push(header);
    }
  }
  return headers;
}

interface SegmentResult {
  readonly damaged: number;
  readonly dropped: boolean;
  readonly cut: boolean;
  /** Sequence that the next segment has to begin with; -1 when nothing was found yet. */
  readonly expected: number;
}

function scanSegment(
  view: SegmentView,
  newer: readonly BatchHeader[],
  expectedAtStart: number,
  crash: CrashKind,
  out: FoundBatch[],
): SegmentResult {
  let position = SEGMENT_START;
  let expected = expectedAtStart;
  let damaged = 0;
  while (position + BATCH_HEADER_BYTES <= view.size) {
    const { header, state } = headerAt(view, position, expected);
    const content = header && state === 'valid' ? readBatch(view, header) : undefined;
    const intact = content !== undefined && content.badImages.size === 0;
    // Looking ahead is only worth its time where something is wrong.
    const following = intact ? [] : [...after(view.headers, position), ...newer];
    const next = following[0];
    // The end of a full segment is no gap: the newer one goes on with the next number.
    if (!content && next && next === newer[0] && (expected < 0 || next.sequence === expected)) break;
    const finding: Finding = {
      header: state === 'valid' && !content ? 'bad-crc' : state,
      body: intact ? 'intact' : 'damaged',
      later: laterState(following, expected),
      crash,
    };
    const action = decide(finding);
    if (action === 'end') {
      const cut = state === 'valid' || (state === 'bad-crc' && hasBegun(view, position, expected));
      return { damaged, dropped: false, cut, expected };
    }
    if (action === 'end-and-drop') return { damaged, dropped: true, cut: true, expected };
    if (action !== 'replay') damaged++;
    if (action === 'skip-damaged') {
      if (!next || next === newer[0]) {
        // The rest of this segment is gone; the newer one goes on.
        return { damaged, dropped: false, cut: false, expected: -1 };
      }
      position = next.position;
      expected = next.sequence;
      continue;
    }
    out.push(content!);
    position += content!.header.totalBytes;
    expected = content!.header.sequence + 1;
  }
  return { damaged, dropped: false, cut: false, expected };
}

/** What is left of a header there is one of the batch that would come next, and of nothing older. */
function hasBegun({ file, generation }: SegmentView, position: number, expected: number): boolean {
  const bytes = Buffer.alloc(BATCH_HEADER_BYTES);
  file.read(bytes, position);
  const fields = headerFields(bytes);
  const same = [fields.isBatch, fields.generation === generation, fields.position === position];
  return [...same, fields.sequence === expected].filter(Boolean).length >= 2;
}

function after(headers: readonly BatchHeader[], position: number): BatchHeader[] {
  return headers.filter((header) => header.position > position);
}

function laterState(following: readonly BatchHeader[], expected: number): LaterState {
  const later = expected < 0 ? following : following.filter((header) => header.sequence > expected);
  if (later.length === 0) return 'none';
  // Without a number to compare with, the first that follows tells which one is missing.
  const missing = expected < 0 ? later[0]!.sequence - 1 : expected;
  return later.some((header) => header.syncedSequence >= missing) ? 'synced' : 'unsynced';
}

function headerAt(
  view: SegmentView,
  position: number,
  expected: number,
): { header: BatchHeader | undefined; state: HeaderState } {
  const bytes = Buffer.alloc(BATCH_HEADER_BYTES);
  view.file.read(bytes, position);
  const header = decodeBatchHeader(bytes);
  if (!header) return { header, state: bytes.every((byte) => byte === 0) ? 'zero' : 'bad-crc' };
  if (header.generation !== view.generation) return { header, state: 'old-generation' };
  if (header.position !== position) return { header, state: 'wrong-position' };
  if (position + header.totalBytes > view.size) return { header, state: 'bad-crc' };
  if (expected >= 0 && header.sequence !== expected) return { header, state: 'wrong-sequence' };
  return { header, state: 'valid' };
}

/** Undefined when the records do not match the header. */
function readBatch(view: SegmentView, header: BatchHeader): FoundBatch | undefined {
  const bytes = Buffer.alloc(header.totalBytes);
  view.file.read(bytes, header.position);
  const decoded = decodeRecords(bytes.subarray(0, header.headerBytes), header);
  if (!decoded) return undefined;
  const badImages = new Set<number>();
  let at = header.headerBytes;
  let index = 0;
  for (const record of decoded.records) {
    if (record.type !== recordTypes.image) continue;
    const seed = objectSeed(record.oid);
    for (let block = 0; block < record.blockCount; block++, index++, at += BLOCK_SIZE) {
      const image = bytes.subarray(at, at + BLOCK_SIZE);
      const good =
        image.length === BLOCK_SIZE &&
        blockChecksum(image, seed, record.firstBlock + block) === record.checksums[block];
      if (!good) badImages.add(index);
    }
  }
  return { header, file: view.file, ...decoded, badImages };
}
