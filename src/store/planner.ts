/**
 * Turns a request into whole blocks with checksums. Partial blocks are read, verified and filled up here, so that
 * journal and object only ever see whole blocks. Nothing is changed yet, and all of it is synchronous: no other
 * write can come between the reading and the journal.
 */
import { BLOCK_SIZE } from '../base/bytes.js';
import { AppError } from '../base/errors.js';
import { BAD, blockChecksum, checksumFrom, HOLE, objectSeed } from './checksum.js';
import { recordTypes } from './journal-record.js';
import type { StoredObject } from './object-file.js';
import { BadBlocksError } from './object-store.js';
import type { Operation, Part } from './operation.js';
import { readBlocksNow } from './salvage.js';

const noSums = new Uint32Array(0);
const noBuffers: readonly Uint8Array[] = [];
const zeroBlock = new Uint8Array(BLOCK_SIZE);

/** The object as planning sees it; without `object` it is new, all holes. */
interface Target {
  readonly oid: bigint;
  readonly objectBytes: number;
  readonly seed: number;
  readonly object: StoredObject | undefined;
}

/** The parts of a write. AppError 'checksum' when a block that is only partly written does not verify. */
export function planWrite(op: Operation, object: StoredObject | undefined, directBytes: number): Part[] {
  const target = targetOf(op, object);
  const { offset, length } = op;
  const data = op.data!;
  const first = Math.floor(offset / BLOCK_SIZE);
  if (offset % BLOCK_SIZE === 0 && length % BLOCK_SIZE === 0) {
    if (length === 0) return [];
    const checksums = op.dataSums && knownChecksums(op.dataSums, target, first);
    return [wholePart(target, first, [data], length / BLOCK_SIZE, length >= directBytes, checksums)];
  }
  const end = offset + length;
  const last = Math.ceil(end / BLOCK_SIZE) - 1;
  const head = filledBlock(target, first, data.subarray(0, (first + 1) * BLOCK_SIZE - offset), offset);
  if (first === last) return [wholePart(target, first, [head], 1, false)];
  const middle = data.subarray((first + 1) * BLOCK_SIZE - offset, last * BLOCK_SIZE - offset);
  const tail = filledBlock(target, last, data.subarray(last * BLOCK_SIZE - offset), last * BLOCK_SIZE);
  if (middle.length < directBytes) {
    const buffers = middle.length > 0 ? [head, middle, tail] : [head, tail];
    return [wholePart(target, first, buffers, last - first + 1, false)];
  }
  return [
    wholePart(target, first, [head], 1, false),
    wholePart(target, first + 1, [middle], middle.length / BLOCK_SIZE, true),
    wholePart(target, last, [tail], 1, false),
  ];
}

/** The parts of a discard or of zeroes. */
export function planZero(op: Operation, object: StoredObject | undefined): Part[] {
  const target = targetOf(op, object);
  const { offset, length, objectBytes, allocate } = op;
  if (length === 0) return [];
  const end = offset + length;
  const blocks = Math.ceil(objectBytes / BLOCK_SIZE);
  const first = Math.ceil(offset / BLOCK_SIZE);
  // The last block of an object may be short: its padding is zero already.
  const last = end === objectBytes ? blocks : Math.floor(end / BLOCK_SIZE);
  const parts: Part[] = [];
  const edge = (block: number, from: number, to: number) => {
    const isHole = !target.object || target.object.table[block] === HOLE;
    if (isHole && allocate) parts.push(zeroPart(target, block, 1, true));
    if (isHole) return;
    const image = filledBlock(target, block, zeroBlock.subarray(0, to - from), from);
    parts.push(wholePart(target, block, [image], 1, false));
  };
  if (first > last) {
    edge(first - 1, offset, end);
    return parts;
  }
  if (offset < first * BLOCK_SIZE) edge(first - 1, offset, Math.min(end, first * BLOCK_SIZE));
  if (last > first) parts.push(zeroPart(target, first, last - first, allocate));
  if (end > last * BLOCK_SIZE) edge(last, last * BLOCK_SIZE, end);
  return parts;
}

/** The present bytes of the blocks, with the checksums they have: whatever they are, they become right. */
export function planAdopt(op: Operation, object: StoredObject): Part[] {
  const target = targetOf(op, object);
  return op.blocks.map((block) => {
    const image = new Uint8Array(BLOCK_SIZE);
    object.file.read(image, block * BLOCK_SIZE);
    // Padding behind a short last block is zero by definition.
    image.fill(0, Math.min(BLOCK_SIZE, object.objectBytes - block * BLOCK_SIZE));
    return wholePart(target, block, [image], 1, false);
  });
}

/** Blocks that get the checksum of a content which nobody has: they are read as bad until they are written. */
export function planSpoil(op: Operation): Part[] {
  const type = recordTypes.spoiled;
  return op.blocks.map((firstBlock, i) => {
    const sum = op.sums[i]!;
    const checksums = Uint32Array.of(sum === HOLE ? BAD : sum);
    return { type, firstBlock, blockCount: 1, checksums, buffers: noBuffers };
  });
}

/** Blocks that will take room in the object's own file and do not now: holes, and what it inherits. */
export function growthBlocks(parts: readonly Part[], object: StoredObject | undefined): number {
  let blocks = 0;
  for (const { type, firstBlock, blockCount } of parts) {
    if (type === recordTypes.hole) continue;
    if (!object) {
      blocks += blockCount;
      continue;
    }
    for (let block = firstBlock; block < firstBlock + blockCount; block++) {
      if (object.table[block] === HOLE || object.thin?.isInherited(block)) blocks++;
    }
  }
  return blocks;
}

/** True when planning this operation reads blocks of the object. */
export function isPartial(op: Operation): boolean {
  if (op.kind === 'adopt' || op.kind === 'confirm') return true;
  return (
    (op.kind === 'write' || op.kind === 'zero') &&
    (op.offset % BLOCK_SIZE !== 0 || op.length % BLOCK_SIZE !== 0)
  );
}

/** Checksum of an allocated block of zeros. */
export function zeroChecksum(seed: number, block: number): number {
  return blockChecksum(zeroBlock, seed, block);
}

function targetOf(op: Operation, object: StoredObject | undefined): Target {
  // Of a copy on write the object is the parent, with a salt of its own.
  const seed = object?.oid === op.oid ? object.seed : objectSeed(op.oid);
  return { oid: op.oid, objectBytes: op.objectBytes, seed, object };
}

function wholePart(
  target: Target,
  firstBlock: number,
  buffers: readonly Uint8Array[],
  blockCount: number,
  direct: boolean,
  checksums = checksumsOf(target, firstBlock, buffers, blockCount),
): Part {
  return {
    type: direct ? recordTypes.direct : recordTypes.image,
    firstBlock,
    blockCount,
    checksums,
    buffers,
  };
}

function checksumsOf(
  target: Target,
  firstBlock: number,
  buffers: readonly Uint8Array[],
  blockCount: number,
): Uint32Array {
  const checksums = new Uint32Array(blockCount);
  let block = 0;
  for (const buffer of buffers) {
    if (buffer.length === BLOCK_SIZE) {
      checksums[block] = blockChecksum(buffer, target.seed, firstBlock + block);
      block++;
      continue;
    }
    for (let at = 0; at < buffer.length; at += BLOCK_SIZE, block++) {
      checksums[block] = blockChecksum(buffer.subarray(at, at + BLOCK_SIZE), target.seed, firstBlock + block);
    }
  }
  return checksums;
}

/** Of blocks that were summed before they came here. */
function knownChecksums(sums: Uint32Array, target: Target, firstBlock: number): Uint32Array {
  return sums.map((sum, block) => checksumFrom(sum, target.seed, firstBlock + block));
}

function zeroPart(target: Target, firstBlock: number, blockCount: number, allocate: boolean): Part {
  if (!allocate) {
    return { type: recordTypes.hole, firstBlock, blockCount, checksums: noSums, buffers: noBuffers };
  }
  const checksums = new Uint32Array(blockCount);
  for (let block = 0; block < blockCount; block++) {
    checksums[block] = zeroChecksum(target.seed, firstBlock + block);
  }
  return { type: recordTypes.zeros, firstBlock, blockCount, checksums, buffers: noBuffers };
}

/** A whole block: what is there, with `data` laid over it at `offset` (of the object). */
function filledBlock(target: Target, block: number, data: Uint8Array, offset: number): Uint8Array {
  const image = new Uint8Array(BLOCK_SIZE);
  const start = block * BLOCK_SIZE;
  const validBytes = Math.min(BLOCK_SIZE, target.objectBytes - start);
  const sum = target.object ? target.object.table[block]! : HOLE;
  const covered = offset === start && data.length >= validBytes;
  if (sum !== HOLE && !covered) {
    const lost = readBlocksNow(target.object!.file, image, start);
    if (lost.length > 0 || sum === BAD || blockChecksum(image, target.object!.seed, block) !== sum) {
      const cause = new BadBlocksError(target.object!.oid, [block]);
      throw new AppError('checksum', cause.message, { cause });
    }
  }
  image.set(data, offset - start);
  return image;
}
