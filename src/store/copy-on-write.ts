/**
 * Copies an object's blocks to a new object and lays a write over them. The copy is made in `tmp/`, synced, and then
 * renamed, so it appears complete or not at all. Blocks are verified on the way; holes stay holes.
 */
import { BLOCK_SIZE } from '../base/bytes.js';
import { AppError } from '../base/errors.js';
import { dropBases, forgetObject, usedBlocks } from './apply.js';
import { BAD, blockChecksum, HOLE } from './checksum.js';
import type { StoreContext } from './context.js';
import type { DirectFlusher } from './direct-flusher.js';
import { recordTypes } from './journal-record.js';
import { createObject, type StoredObject } from './object-file.js';
import { objectFolder, objectPath } from './object-path.js';
import { BadBlocksError } from './object-store.js';
import type { Operation } from './operation.js';
import { planWrite, planZero } from './planner.js';
import { readBlocks, readCached } from './salvage.js';

export const TMP_FOLDER = 'tmp';
const CHUNK_BLOCKS = 64;

/** Durable when it resolves; `op.oid` is then the copy. AppError 'checksum' when the parent has bad blocks. */
export async function copyObject(
  context: StoreContext,
  direct: DirectFlusher,
  op: Operation,
  parent: StoredObject,
): Promise<void> {
  const { disk, cache } = context;
  const instance = context.nextInstance();
  const tmp = `${TMP_FOLDER}/${op.oid.toString(16).padStart(16, '0')}-${instance.toString(16)}`;
  const copy = createObject(disk, op.oid, op.objectBytes, instance, op.epoch, tmp);
  try {
    await copyBlocks(context, parent, copy, parent.oid === op.oid);
    overlay(op, copy);
    copy.writeTail();
    await copy.sync();
    disk.mkdir(objectFolder(op.oid));
  } catch (error) {
    copy.close();
    if (!context.failure()) disk.unlink(tmp);
    throw error;
  }
  const before = cache.get(op.oid);
  if (before) {
    forgetObject(context, before);
    direct.take(before);
  }
  disk.rename(tmp, objectPath(op.oid));
  // Same bytes under the final name; the descriptor follows the rename.
  cache.put(copy);
  copy.nameDurable = true;
  context.usedBytes += usedBlocks(copy) * BLOCK_SIZE;
  await disk.syncDir(objectFolder(op.oid));
  // The folder may be new too, made by this copy or by something since the last checkpoint.
  await disk.syncDir('obj');
  if (before) dropBases(context, before);
}

/** Copies all blocks that have content. AppError 'checksum' when one does not verify; `withBad`: it stays bad. */
export async function copyBlocks(
  context: StoreContext,
  parent: StoredObject,
  copy: StoredObject,
  withBad = false,
): Promise<void> {
  let block = 0;
  while (block < parent.blocks) {
    if (parent.table[block] === HOLE) {
      block++;
      continue;
    }
    let end = block + 1;
    while (end < parent.blocks && end - block < CHUNK_BLOCKS && parent.table[end] !== HOLE) end++;
    const bytes = new Uint8Array((end - block) * BLOCK_SIZE);
    const lost = await readWhole(context, parent, bytes, block * BLOCK_SIZE);
    for (let index = block; index < end; index++) {
      const at = (index - block) * BLOCK_SIZE;
      const image = bytes.subarray(at, at + BLOCK_SIZE);
      const sum = parent.table[index]!;
      const isGood =
        sum !== BAD && !lost.includes(index - block) && blockChecksum(image, parent.seed, index) === sum;
      if (!isGood && !withBad) {
        const cause = new BadBlocksError(parent.oid, [index]);
        throw new AppError('checksum', cause.message, { cause });
      }
      // The seeds of one object's lives are the same: a sum that nothing matches stays one.
      copy.table[index] = isGood ? blockChecksum(image, copy.seed, index) : sum;
    }
    copy.file.write([bytes], block * BLOCK_SIZE);
    block = end;
  }
}

async function readWhole(
  context: StoreContext,
  parent: StoredObject,
  bytes: Uint8Array,
  offset: number,
): Promise<number[]> {
  if (readCached(parent.file, bytes, offset)) {
    // One chunk per turn, so that a large copy does not hold up everybody else.
    await new Promise<void>((resolve) => context.clock.defer(resolve));
    return [];
  }
  return readBlocks(parent.file, bytes, offset);
}

function overlay(op: Operation, copy: StoredObject): void {
  const parts = op.kind === 'zero' ? planZero(op, copy) : planWrite(op, copy, Number.POSITIVE_INFINITY);
  for (const { type, firstBlock, blockCount, checksums, buffers } of parts) {
    const offset = firstBlock * BLOCK_SIZE;
    if (buffers.length > 0) copy.file.write(buffers, offset);
    else copy.file.punch(offset, blockCount * BLOCK_SIZE);
    if (type === recordTypes.zeros) copy.file.allocate(offset, blockCount * BLOCK_SIZE);
    if (type === recordTypes.hole) copy.table.fill(HOLE, firstBlock, firstBlock + blockCount);
    else copy.table.set(checksums, firstBlock);
  }
}
