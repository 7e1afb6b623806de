/** Planning of the operations that change blocks: is it allowed, is there room, what does it wait for. */
import { BLOCK_SIZE } from '../base/bytes.js';
import { AppError } from '../base/errors.js';
import type { StoreContext } from './context.js';
import type { Heritage } from './inherit.js';
import { recordTypes } from './journal-record.js';
import type { StoredObject } from './object-file.js';
import type { Operation } from './operation.js';
import { growthBlocks, planWrite, planZero } from './planner.js';

/** Plans a write or a zero: parts, and whether the object is made anew. Throws AppError; changes no content. */
export function planChange(context: StoreContext, op: Operation, object: StoredObject | undefined): void {
  if (!object && op.mode === 'update') throw new AppError('no-object', 'no such object');
  if (object && op.mode !== 'create' && !object.learnBytes(op.objectBytes)) {
    const sizes = `${object.objectBytes} bytes, not ${op.objectBytes}`;
    throw new AppError('invalid', `object ${op.oid.toString(16)} has ${sizes}`);
  }
  op.creates = !object || op.mode === 'create';
  const base = op.creates ? undefined : object;
  op.parts = op.kind === 'zero' ? planZero(op, base) : planWrite(op, base, directBytes(context, op, base));
  op.waits = op.creates || object!.activeGeneration !== context.journal.current.generation;
  const growth = growthBlocks(op.parts, base) + (op.creates ? 4 : 0);
  if (growth === 0) return;
  context.space.need(growth * BLOCK_SIZE);
  if (context.space.scarce && base) reserve(op, base);
}

/**
 * From which length on a write may go straight to the object. Never over blocks whose content is durable only in the
 * journal: a power cut could leave half of the write over bytes that are older than that, and nothing would tell. Nor
 * over inherited blocks: what a power cut left out of the write would be zeros in the object's own file.
 */
function directBytes(context: StoreContext, op: Operation, object: StoredObject | undefined): number {
  const { directBytes } = context.limits;
  if (object === undefined || op.length < directBytes) return directBytes;
  const first = Math.floor(op.offset / BLOCK_SIZE);
  const last = Math.ceil((op.offset + op.length) / BLOCK_SIZE);
  const isOnlyElsewhere = object.hasJournaled(first, last - first) || object.inherits(first, last - first);
  return isOnlyElsewhere ? Number.POSITIVE_INFINITY : directBytes;
}

/** True for what makes or destroys a file, or may. */
export function isStructural(op: Operation, object: StoredObject | undefined): boolean {
  return op.kind === 'remove' || op.mode === 'cow' || op.mode === 'create' || !object;
}

/** With little room left, space is claimed before the journal promises the write: the refusal damages nothing. */
function reserve(op: Operation, object: StoredObject): void {
  for (const { type, firstBlock, blockCount } of op.parts) {
    if (type !== recordTypes.hole) object.file.allocate(firstBlock * BLOCK_SIZE, blockCount * BLOCK_SIZE);
  }
}

/** It leaves the content of an object's file as it is, and its name: those who inherit from it need not mind. */
export function keepsLent(op: Operation, object: StoredObject): boolean {
  switch (op.kind) {
    case 'remove':
      return false;
    case 'write':
      return op.mode !== 'create' && (op.length === 0 || repairs(op, object));
    case 'zero':
      return op.mode !== 'create' && op.length === 0;
    default:
      // `adopt` writes the bytes that are there.
      return true;
  }
}

/** The blocks get the content that their checksums stand for: a repair, which serves the heirs as well. */
function repairs(op: Operation, object: StoredObject): boolean {
  const { offset, length, objectBytes } = op;
  const isWhole = offset % BLOCK_SIZE === 0 && (length % BLOCK_SIZE === 0 || offset + length === objectBytes);
  if (!isWhole || objectBytes !== object.objectBytes) return false;
  return planWrite(op, object, Number.POSITIVE_INFINITY).every(({ firstBlock, checksums }) =>
    checksums.every((sum, index) => sum === object.table[firstBlock + index]),
  );
}

/** Plans a copy on write that inherits what it does not change. Throws AppError; changes no content. */
export function planThin(
  context: StoreContext,
  op: Operation,
  parent: StoredObject,
  heritage: Heritage,
): void {
  op.heritage = heritage;
  op.creates = true;
  op.waits = true;
  op.parts = op.kind === 'zero' ? planZero(op, parent) : planWrite(op, parent, Number.POSITIVE_INFINITY);
  context.space.need((growthBlocks(op.parts, undefined) + 4) * BLOCK_SIZE);
  op.instance = context.nextInstance();
}
