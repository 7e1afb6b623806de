/** What an operation looks like in the journal. */
import { BLOCK_SIZE } from '../base/bytes.js';
import { type BatchBuilder, type JournalRecord, RECORD_BYTES, recordTypes } from './journal-record.js';
import type { Operation } from './operation.js';

const noSums = new Uint32Array(0);

/** Journal bytes that the operation adds, rounded up. */
export function journalBytes(op: Operation): number {
  let bytes = RECORD_BYTES + BLOCK_SIZE;
  for (const part of op.parts) {
    bytes += RECORD_BYTES + 4 * part.checksums.length;
    if (part.type === recordTypes.image) bytes += part.blockCount * BLOCK_SIZE;
  }
  return bytes;
}

/** Adds the operation's records, and the images of its blocks, to the batch. */
export function recordOperation(builder: BatchBuilder, op: Operation): void {
  const base = {
    epoch: op.epoch,
    oid: op.oid,
    objectBytes: op.objectBytes,
    instance: op.instance,
    firstBlock: 0,
    blockCount: 0,
    checksums: noSums,
  };
  const add = (type: JournalRecord['type']) => builder.add({ ...base, type });
  if (op.kind === 'remove') add(recordTypes.remove);
  else if (op.kind === 'touch') add(recordTypes.touch);
  else if (op.creates) add(recordTypes.create);
  else if (op.parts.length === 0) add(recordTypes.touch);
  for (const part of op.parts) {
    const { type, firstBlock, blockCount } = part;
    const summed = type === recordTypes.image || type === recordTypes.direct;
    const checksums = summed ? part.checksums : noSums;
    const images = type === recordTypes.image ? part.buffers : undefined;
    builder.add({ ...base, type, firstBlock, blockCount, checksums }, images);
  }
}
