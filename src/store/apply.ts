/** Carries out a journaled operation on the object files. Synchronous; throws DiskError. */
import { BLOCK_SIZE } from '../base/bytes.js';
import { BASE_FOLDER, baseFolder, linkBases, unlinkBases } from './bases.js';
import { BAD, HOLE } from './checksum.js';
import type { StoreContext } from './context.js';
import type { DirectFlusher } from './direct-flusher.js';
import type { Segment } from './journal.js';
import { recordTypes } from './journal-record.js';
import { createObject, type StoredObject } from './object-file.js';
import { objectFolder, objectPath } from './object-path.js';
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
  forgetObject(context, object);
  context.disk.unlink(objectPath(object.oid));
  dropBases(context, object);
  segment.folders.add(objectFolder(object.oid));
}

/** Its name is about to go: what nobody inherits of it will be room again. */
export function forgetObject(context: StoreContext, object: StoredObject): void {
  if (object.file.links() <= 1) context.usedBytes -= usedBlocks(object) * BLOCK_SIZE;
  else context.trimmer.soon();
  context.cache.drop(object);
}

/** Of an object that is gone for good: no power cut may bring its name back. */
export function dropBases(context: StoreContext, object: StoredObject): void {
  if (object.thin) context.usedBytes -= unlinkBases(context.disk, object, object.thin.baseCount);
}

/** The create record is on the platter: whatever a crash leaves of this, replay makes the object anew. */
function replaceObject(context: StoreContext, op: Operation, segment: Segment): StoredObject {
  if (op.object) removeObject(context, op.object, segment);
  const object = makeObject(context, op, segment);
  segment.folders.add(objectFolder(op.oid));
  segment.folders.add('obj');
  context.cache.put(object);
  // It is a new object in this epoch, whatever its first slot says.
  object.epoch = 0;
  return object;
}

/** Gives the new object its bases, if it is to have some, before it is there: all of this or nothing. */
function makeObject(context: StoreContext, op: Operation, segment: Segment): StoredObject {
  const { disk, cache } = context;
  const { oid, objectBytes, instance, epoch, heritage } = op;
  const create = () => createObject(disk, oid, objectBytes, instance, epoch, objectPath(oid), heritage);
  if (heritage === undefined) return create();
  const heir = { oid, instance };
  const folder = baseFolder(oid);
  context.newBases.add(folder, segment.generation);
  segment.folders.add(folder);
  segment.folders.add(BASE_FOLDER);
  try {
    linkBases(disk, heir, heritage.parent, heritage.origins);
    const parent = cache.get(heritage.parent.oid);
    if (parent) parent.lent = true;
    return create();
  } catch (error) {
    unlinkBases(disk, heir, heritage.baseCount);
    throw error;
  }
}

function applyPart(context: StoreContext, object: StoredObject, part: Part): void {
  const { type, firstBlock, blockCount, checksums } = part;
  const offset = firstBlock * BLOCK_SIZE;
  const before = countOwn(object, firstBlock, blockCount);
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
    const after = countOwn(object, firstBlock, blockCount);
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

/** Blocks with content in the object's own file. */
export function usedBlocks(object: StoredObject): number {
  return countOwn(object, 0, object.blocks);
}

function countOwn({ table, thin }: StoredObject, first: number, count: number): number {
  if (thin === undefined) return countUsed(table, first, count);
  let used = 0;
  for (let block = first; block < first + count; block++) {
    if (isUsed(table[block]!) && !thin.isInherited(block)) used++;
  }
  return used;
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
