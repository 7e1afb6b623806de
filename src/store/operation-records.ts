/** What an operation looks like in the journal. */
import { BLOCK_SIZE } from '../base/bytes.js';
import { encodeHeritage, type Heritage } from './inherit.js';
import type { Segment } from './journal.js';
import {
  type BatchBuilder,
  hasSums,
  type JournalRecord,
  RECORD_BYTES,
  recordTypes,
} from './journal-record.js';
import type { Operation } from './operation.js';
import { NO_MARK, tailMark } from './tail-mark.js';

const noSums = new Uint32Array(0);

/** Journal bytes that the operation adds, rounded up. */
export function journalBytes(op: Operation): number {
  let bytes = RECORD_BYTES + BLOCK_SIZE;
  if (op.heritage) bytes += encodeHeritage(op.heritage).byteLength;
  for (const part of op.parts) {
    bytes += RECORD_BYTES + 4 * part.checksums.length;
    if (part.type === recordTypes.image) bytes += part.blockCount * BLOCK_SIZE;
  }
  return bytes;
}

/** Adds the operation's records, and the images of its blocks, to the batch, which is for this segment. */
export function recordOperation(builder: BatchBuilder, op: Operation, segment: Segment): void {
  const mark = markOf(op, segment);
  if (op.kind === 'remove') builder.add(recordOf(op, mark, recordTypes.remove, 0, 0, noSums));
  else if (op.kind === 'touch') builder.add(recordOf(op, mark, recordTypes.touch, 0, 0, noSums));
  else if (op.heritage) builder.add(inheritRecord(op, mark, op.heritage));
  else if (op.creates) builder.add(recordOf(op, mark, recordTypes.create, 0, 0, noSums));
  else if (op.parts.length === 0) builder.add(recordOf(op, mark, recordTypes.touch, 0, 0, noSums));
  for (const part of op.parts) {
    const { type, firstBlock, blockCount } = part;
    const checksums = hasSums(type) ? part.checksums : noSums;
    const images = type === recordTypes.image ? part.buffers : undefined;
    builder.add(recordOf(op, mark, type, firstBlock, blockCount, checksums), images);
  }
}

function inheritRecord(op: Operation, mark: number, heritage: Heritage): JournalRecord {
  const words = encodeHeritage(heritage);
  return recordOf(op, mark, recordTypes.inherit, 0, words.length, words);
}

function markOf({ object, creates }: Operation, segment: Segment): number {
  if (object === undefined || creates || object.activeGeneration === segment.generation) return NO_MARK;
  return tailMark(object.tailBefore(segment.dirty.has(object)));
}

/** Field by field, as this runs for each write: a spread costs more than all of the encoding. */
function recordOf(
  { epoch, oid, objectBytes, instance }: Operation,
  mark: number,
  type: JournalRecord['type'],
  firstBlock: number,
  blockCount: number,
  checksums: Uint32Array,
): JournalRecord {
  return { type, tailMark: mark, epoch, oid, objectBytes, instance, firstBlock, blockCount, checksums };
}
