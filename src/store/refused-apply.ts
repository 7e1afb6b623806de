/**
 * A change that the journal has and the object could not take, for want of room. It is refused, and part of it may be
 * in the object. The blocks are what the disk says they are, all old or all new; and the journal learns that, so that
 * no replay brings the rest of a change which nobody was told of (I-8).
 */
import { BLOCK_SIZE, isZero } from '../base/bytes.js';
import { isUsed } from './apply.js';
import { blockChecksum, HOLE } from './checksum.js';
import type { StoreContext } from './context.js';
import { recordTypes } from './journal-record.js';
import type { StoredObject } from './object-file.js';
import { newOperation, type Operation, type Part } from './operation.js';
import { zeroChecksum } from './planner.js';
import { readBlocksNow } from './salvage.js';

const noSums = new Uint32Array(0);
const noBuffers: readonly Uint8Array[] = [];

/**
 * Makes the checksums of the refused operation's blocks fit what is there. A block that is neither as before nor as it
 * should have become stays as it is: bad.
 * @returns what has to go through the journal before the refusal is told
 */
export function reconcile(
  context: StoreContext,
  op: Operation,
  done: () => void,
  failed: () => void,
): Operation {
  const { oid, epoch, objectBytes } = op;
  if (op.creates || !op.object) return newOperation({ kind: 'remove', oid, epoch }, undefined, done, failed);
  const blocks: number[] = [];
  for (const part of op.parts) {
    for (let index = 0; index < part.blockCount; index++) {
      const block = part.firstBlock + index;
      settleBlock(context, op.object, block, wantedSum(op.object, part, index));
      blocks.push(block);
    }
  }
  return newOperation({ kind: 'confirm', oid, epoch, objectBytes, blocks }, undefined, done, failed);
}

/** The blocks as they are: no bytes, their checksums only. */
export function planConfirm(op: Operation, object: StoredObject): Part[] {
  return op.blocks.map((firstBlock) => {
    const sum = object.table[firstBlock]!;
    const isHole = sum === HOLE;
    return {
      type: isHole ? recordTypes.hole : recordTypes.direct,
      firstBlock,
      blockCount: 1,
      checksums: isHole ? noSums : Uint32Array.of(sum),
      buffers: noBuffers,
    };
  });
}

function wantedSum(object: StoredObject, part: Part, index: number): number {
  if (part.type === recordTypes.hole) return HOLE;
  return part.checksums[index] ?? zeroChecksum(object.seed, part.firstBlock + index);
}

function settleBlock(context: StoreContext, object: StoredObject, block: number, wanted: number): void {
  const before = object.table[block]!;
  // What may have arrived of it in the own file is not the block's content while that is inherited.
  if (object.thin?.isInherited(block)) object.thin.discardOwn(block);
  if (before === wanted) return;
  const bytes = new Uint8Array(BLOCK_SIZE);
  if (readBlocksNow(object.file, bytes, block * BLOCK_SIZE).length > 0) return;
  const fits = (sum: number) =>
    sum === HOLE ? isZero(bytes) : blockChecksum(bytes, object.seed, block) === sum;
  if (fits(before) || !fits(wanted)) return;
  object.table[block] = wanted;
  context.usedBytes += (Number(isUsed(wanted)) - Number(isUsed(before))) * BLOCK_SIZE;
}
