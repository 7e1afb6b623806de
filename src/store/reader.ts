/**
 * Reads. Every block is verified before it is handed out (I-7). Bytes in memory are returned at once, without a
 * promise; others come through a thread, and a write may overtake that: what does not verify then is read again.
 */
import { BLOCK_SIZE } from '../base/bytes.js';
import { AppError } from '../base/errors.js';
import { BAD, blockChecksum, HOLE } from './checksum.js';
import { type StoreContext, toStoreError } from './context.js';
import type { StoredObject } from './object-file.js';
import { slotBytes } from './object-slot.js';
import { BadBlocksError, type BlockRun } from './object-store.js';
import { readBlocks, readBlocksNow, readCached } from './salvage.js';

/** Read and summed at a time: a scrub must not hold up everybody else. */
const VERIFY_BLOCKS = 32;

export function readObject(
  context: StoreContext,
  oid: bigint,
  offset: number,
  length: number,
): Uint8Array | Promise<Uint8Array> {
  const object = context.cache.get(oid);
  if (!object) throw new AppError('no-object', `no object ${oid.toString(16)}`);
  checkRange(object, offset, length);
  if (length === 0) return new Uint8Array(0);
  const first = Math.floor(offset / BLOCK_SIZE);
  const end = Math.ceil((offset + length) / BLOCK_SIZE);
  if (allHoles(object.table, first, end)) return new Uint8Array(length);
  const bytes = Buffer.allocUnsafeSlow((end - first) * BLOCK_SIZE);
  const start = offset - first * BLOCK_SIZE;
  if (!readCached(object.file, bytes, first * BLOCK_SIZE)) {
    return readCold(context, object, bytes, first, start, length);
  }
  const bad = verifyBlocks(object, bytes, first);
  if (bad) throw badBlocks(context, object, bad);
  return length === bytes.length ? bytes : bytes.subarray(start, start + length);
}

async function readCold(
  context: StoreContext,
  object: StoredObject,
  bytes: Buffer,
  first: number,
  start: number,
  length: number,
): Promise<Uint8Array> {
  const { cache } = context;
  cache.pin(object);
  try {
    const bad = await readVerified(object, bytes, first);
    if (bad) throw badBlocks(context, object, bad);
    return bytes.subarray(start, start + length);
  } catch (error) {
    throw toStoreError(error);
  } finally {
    cache.unpin(object);
  }
}

/** Through a thread, which a write may overtake: what does not verify is read once more, at once. */
async function readVerified(
  object: StoredObject,
  bytes: Uint8Array,
  first: number,
): Promise<number[] | undefined> {
  let lost = await readBlocks(object.file, bytes, first * BLOCK_SIZE);
  const bad = badOf(object, bytes, first, lost);
  if (!bad) return undefined;
  lost = readBlocksNow(object.file, bytes, first * BLOCK_SIZE);
  return badOf(object, bytes, first, lost);
}

/** Blocks that do not verify or could not be read. A hole is one whatever the device says. */
function badOf(
  object: StoredObject,
  bytes: Uint8Array,
  first: number,
  lost: readonly number[],
): number[] | undefined {
  const bad = verifyBlocks(object, bytes, first);
  if (lost.length === 0) return bad;
  const data = lost.map((place) => first + place).filter((block) => object.table[block] !== HOLE);
  return data.length === 0 ? bad : [...new Set([...(bad ?? []), ...data])].sort((a, b) => a - b);
}

export interface Verified {
  /** Blocks that do not match their checksums or cannot be read. */
  readonly bad: number[];
  /** A table of checksums on the device is not what it should be; the one in memory is right. */
  readonly tailDamaged: boolean;
}

/**
 * Reads all of the object, a slice at a time. `fromDevice`: what is in memory is dropped first, and afterwards too
 * where nobody had it in memory before, so that a scrub sees what is on the device and leaves the cache as it was.
 */
export async function verifyObject(
  context: StoreContext,
  oid: bigint,
  fromDevice = false,
): Promise<Verified> {
  const { cache } = context;
  const object = cache.get(oid);
  if (!object) throw new AppError('no-object', `no object ${oid.toString(16)}`);
  cache.pin(object);
  const bad: number[] = [];
  let tailDamaged = false;
  try {
    for (let first = 0; first < object.blocks && !object.gone; first += VERIFY_BLOCKS) {
      const end = Math.min(object.blocks, first + VERIFY_BLOCKS);
      if (allHoles(object.table, first, end)) continue;
      const bytes = Buffer.allocUnsafe((end - first) * BLOCK_SIZE);
      const wasCached = fromDevice && readCached(object.file, bytes, first * BLOCK_SIZE);
      if (fromDevice) object.file.evict?.(first * BLOCK_SIZE, bytes.length);
      for (const block of (await readVerified(object, bytes, first)) ?? []) bad.push(block);
      if (fromDevice && !wasCached) object.file.evict?.(first * BLOCK_SIZE, bytes.length);
    }
    tailDamaged = fromDevice && !(await isTailIntact(object));
  } catch (error) {
    throw toStoreError(error);
  } finally {
    cache.unpin(object);
  }
  context.checksumErrors += bad.length;
  return { bad, tailDamaged };
}

async function isTailIntact(object: StoredObject): Promise<boolean> {
  if (!object.tailSettled) return true;
  const { file, blocks, tailSequence } = object;
  const slots = Buffer.alloc(2 * slotBytes(blocks));
  file.evict?.(blocks * BLOCK_SIZE, slots.length);
  await readBlocks(file, slots, blocks * BLOCK_SIZE);
  // A checkpoint may have come between.
  return !object.tailSettled || object.tailSequence !== tailSequence || object.isIntactTail(slots);
}

export function blockRuns(object: StoredObject): BlockRun[] {
  const runs: BlockRun[] = [];
  let start = 0;
  while (start < object.blocks) {
    const hole = object.table[start] === HOLE;
    let end = start + 1;
    while (end < object.blocks && (object.table[end] === HOLE) === hole) end++;
    const endBytes = Math.min(end * BLOCK_SIZE, object.objectBytes);
    runs.push({ lengthBytes: endBytes - start * BLOCK_SIZE, hole });
    start = end;
  }
  return runs;
}

export function checkRange(object: { objectBytes: number }, offset: number, length: number): void {
  const ok = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (!ok || offset + length > object.objectBytes) {
    throw new AppError(
      'invalid',
      `range ${offset}+${length} is outside the object (${object.objectBytes} bytes)`,
    );
  }
}

function allHoles(table: Uint32Array, first: number, end: number): boolean {
  for (let block = first; block < end; block++) if (table[block] !== HOLE) return false;
  return true;
}

/** Checks whole blocks in `bytes` and blanks holes; the bad ones, or undefined when all is well. */
function verifyBlocks(object: StoredObject, bytes: Uint8Array, first: number): number[] | undefined {
  const { table, seed } = object;
  if (bytes.length === BLOCK_SIZE)
    return blockChecksum(bytes, seed, first) === table[first] ? undefined : [first];
  let bad: number[] | undefined;
  for (let at = 0, block = first; at < bytes.length; at += BLOCK_SIZE, block++) {
    const sum = table[block]!;
    if (sum === HOLE) {
      bytes.fill(0, at, at + BLOCK_SIZE);
    } else if (sum === BAD || blockChecksum(bytes.subarray(at, at + BLOCK_SIZE), seed, block) !== sum) {
      bad ??= [];
      bad.push(block);
    }
  }
  return bad;
}

function badBlocks(context: StoreContext, object: StoredObject, blocks: number[]): AppError {
  context.checksumErrors += blocks.length;
  const cause = new BadBlocksError(object.oid, blocks);
  context.log.warn({ oid: object.oid.toString(16), blocks: blocks.slice(0, 16) }, cause.message);
  return new AppError('checksum', cause.message, { cause });
}
