/** Carries out a journaled operation on the object files. Synchronous; throws DiskError. */
import { BLOCK_SIZE } from '../base/bytes.js';
import { BAD, HOLE } from './checksum.js';
import type { StoreContext } from './context.js';
import type { DirectFlusher } from './direct-flusher.js';
import type { Segment } from './journal.js';
import { recordTypes } from './journal-record.js';
import { createObject, objectFolder, objectPath, type StoredObject } from './object-file.js';
import type { Operation, Part } from './operation.js';

export function applyOperation(
  context: StoreContext,
  direct: DirectFlusher,
  op: Operation,
  segment: Segment,
): void {
  if (op.kind === 'remove') {
    if (op.object) removeObject(context, op.object, segment);
    touch(context, segment, op, undefined);
    return;
  }
  const object = op.creates ? replaceObject(context, op, segment) : op.object;
  if (object) {
    if (op.waits) object.activeGeneration = segment.generation;
    object.plannedBatch = -1;
    markDirty(segment, object);
    for (const part of op.parts) {
      applyPart(context, object, part);
      if (part.type === recordTypes.direct) direct.add(object);
    }
  }
  touch(context, segment, op, object);
}

export function markDirty(segment: Segment, object: StoredObject): void {
  if (segment.dirty.has(object)) return;
  segment.dirty.add(object);
  object.dirtyIn++;
  object.tailsOwed++;
}

function removeObject(context: StoreContext, object: StoredObject, segment: Segment): void {
  context.usedBytes -= usedBlocks(object) * BLOCK_SIZE;
  context.cache.drop(object);
  context.disk.unlink(objectPath(object.oid));
  segment.folders.add(objectFolder(object.oid));
}

/** The create record is on the platter: whatever a crash leaves of this, replay makes the object anew. */
function replaceObject(context: StoreContext, op: Operation, segment: Segment): StoredObject {
  if (op.object) removeObject(context, op.object, segment);
  const object = createObject(context.disk, op.oid, op.objectBytes, op.instance, op.epoch);
  segment.folders.add(objectFolder(op.oid));
  segment.folders.add('obj');
  context.cache.put(object);
  // It is a new object in this epoch, whatever its first slot says.
  object.epoch = 0;
  return object;
}

function applyPart(context: StoreContext, object: StoredObject, part: Part): void {
  const { type, firstBlock, blockCount, checksums } = part;
  const offset = firstBlock * BLOCK_SIZE;
  const before = countUsed(object.table, firstBlock, blockCount);
  if (type !== recordTypes.direct) object.noteJournaled(firstBlock, blockCount);
  if (type === recordTypes.image || type === recordTypes.direct) {
    object.file.write(part.buffers, offset);
  } else if (type !== recordTypes.spoiled && !isHole(object.table, firstBlock, blockCount)) {
    object.file.punch(offset, blockCount * BLOCK_SIZE);
  }
  if (type === recordTypes.zeros) object.file.allocate(offset, blockCount * BLOCK_SIZE);
  if (type === recordTypes.hole) {
    object.table.fill(HOLE, firstBlock, firstBlock + blockCount);
    context.usedBytes -= before * BLOCK_SIZE;
  } else {
    object.table.set(checksums, firstBlock);
    const after = type === recordTypes.spoiled ? countUsed(checksums, 0, blockCount) : blockCount;
    context.usedBytes += (after - before) * BLOCK_SIZE;
  }
}

function isHole(table: Uint32Array, first: number, count: number): boolean {
  return table.subarray(first, first + count).every((sum) => sum === HOLE);
}

/** D-5: the first change of an object in an epoch is noted once. */
function touch(
  context: StoreContext,
  segment: Segment,
  op: Operation,
  object: StoredObject | undefined,
): void {
  if (object && op.epoch === object.epoch) return;
  // A full disk must not fail a removal; the journal's record stands until the next checkpoint.
  if (!context.touched.add(op.oid, op.epoch))
    context.log.warn({ oid: op.oid.toString(16), epoch: op.epoch }, 'no room to note a touched object');
  segment.epochs.add(op.epoch);
  if (object && op.epoch > object.epoch) object.epoch = op.epoch;
}

export function usedBlocks(object: StoredObject): number {
  return countUsed(object.table, 0, object.blocks);
}

/** A bad block does not count: it may have been a hole before its checksum was lost, and counts when it is mended. */
function countUsed(table: Uint32Array, first: number, count: number): number {
  let used = 0;
  for (let block = first; block < first + count; block++) if (isUsed(table[block]!)) used++;
  return used;
}

/** The block with this checksum has content. */
export function isUsed(sum: number): boolean {
  return sum !== HOLE && sum !== BAD;
}
