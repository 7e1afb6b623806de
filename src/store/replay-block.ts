/**
 * What a block is after a crash. Bytes of direct writes are only in the object. What is found there is matched against
 * the checksums the block had, newest first, back to the last one known to be durable: the first that fits is the
 * block's content, unless an image came after it. When nothing fits the block is bad and says so when it is read.
 */
import { BLOCK_SIZE, isZero } from '../base/bytes.js';
import type { Logger } from '../base/log.js';
import { blockChecksum, HOLE } from './checksum.js';
import { DiskError, type DiskFile } from './disk.js';
import type { StoredObject } from './object-file.js';
import { zeroChecksum } from './planner.js';

/** One possible content of a block. */
export type Version =
  | { readonly kind: 'image'; readonly sum: number; readonly file: DiskFile; readonly offset: number }
  | { readonly kind: 'direct'; readonly sum: number; readonly durable: boolean }
  | { readonly kind: 'hole' }
  | { readonly kind: 'zeros' }
  | { readonly kind: 'spoiled'; readonly sum: number };

/**
 * Brings a block to what its versions, newest last, say it is. Throws DiskError 'no-space' after a power cut, when
 * there is no room for what the journal alone may have.
 */
export function replayBlock(
  log: Logger,
  object: StoredObject,
  block: number,
  versions: readonly Version[],
  afterPowerCut: boolean,
): void {
  const { fits, isHole } = contentOf(object, block);
  const newest = versions.at(-1)!;
  const before = object.table[block]!;
  if (newest.kind !== 'direct') {
    if (restore(log, object, block, newest, afterPowerCut)) return;
    // Without a power cut, what is not in the object was refused for want of room, and acknowledged to nobody.
    const sums = [before, ...versions.map((version) => sumOf(object, block, version))];
    const present = sums.findLast((sum) => (sum === HOLE ? isHole() : fits(sum)));
    if (present !== undefined) object.table[block] = present;
    return;
  }
  // Undefined after the loop over all versions stands for what was there before the journal began.
  let restorable: Version | undefined;
  for (let index = versions.length - 1; index >= -1; index--) {
    const version = index < 0 ? undefined : versions[index]!;
    const sum = version ? sumOf(object, block, version) : object.table[block]!;
    if (sum === HOLE ? isHole() : fits(sum)) {
      // Nothing newer reached the object. So no newer direct write was durable; a newer image may have been.
      if (restorable) restore(log, object, block, restorable, afterPowerCut);
      else object.table[block] = sum;
      return;
    }
    if (version?.kind === 'direct' && version.durable) {
      object.table[block] = sum;
      object.thin?.claim(block, 1);
      return;
    }
    if (version && version.kind !== 'direct') restorable ??= version;
  }
  // Torn by the power cut, or rotted since, or newer than what is left of the journal. An older image is no answer: the
  // direct write after it may have been durable. It reads as bad; by the checksum of the newest write the replica that
  // has that is known. When none has it, the bytes are taken as they are (`adopt`).
  object.table[block] = sumOf(object, block, newest);
  object.thin?.claim(block, 1);
}

/**
 * What lies where the block's bytes are. A thin object has two such places: its own file, where every write goes, and
 * the base it inherits from until then. A checksum that fits the first makes the block the object's own; the second
 * counts only when nothing arrived in the first, as a hole does: half of a direct write must not pass for what was
 * there before it.
 */
function contentOf(object: StoredObject, block: number) {
  const { thin, seed } = object;
  const offset = block * BLOCK_SIZE;
  const own = new Uint8Array(BLOCK_SIZE);
  if (thin) thin.readOwn(own, offset);
  else object.file.read(own, offset);
  let inherited: Uint8Array | undefined;
  if (thin?.isInherited(block) && isZero(own)) {
    inherited = new Uint8Array(BLOCK_SIZE);
    thin.read(inherited, offset);
  }
  const fits = (sum: number): boolean => {
    if (blockChecksum(own, seed, block) === sum) {
      thin?.claim(block, 1);
      return true;
    }
    return inherited !== undefined && blockChecksum(inherited, seed, block) === sum;
  };
  return { fits, isHole: () => isZero(own) };
}

function sumOf(object: StoredObject, block: number, version: Version): number {
  if (version.kind === 'hole') return HOLE;
  return version.kind === 'zeros' ? zeroChecksum(object.seed, block) : version.sum;
}

/**
 * False: there was no room, and the block reads as bad, not as something old. After a power cut the store does not open
 * then: the journal may be the only place where this is.
 */
function restore(
  log: Logger,
  object: StoredObject,
  block: number,
  version: Version,
  afterPowerCut: boolean,
): boolean {
  const offset = block * BLOCK_SIZE;
  try {
    if (version.kind === 'image') {
      const image = new Uint8Array(BLOCK_SIZE);
      version.file.read(image, version.offset);
      object.table[block] = version.sum;
      object.file.write([image], offset);
    } else if (version.kind === 'zeros') {
      object.table[block] = zeroChecksum(object.seed, block);
      object.file.write([new Uint8Array(BLOCK_SIZE)], offset);
    } else if (version.kind === 'spoiled') {
      object.table[block] = version.sum;
    } else {
      object.table[block] = HOLE;
    }
  } catch (error) {
    if (afterPowerCut || !(error instanceof DiskError && error.code === 'no-space')) throw error;
    log.error({ oid: object.oid.toString(16), block }, 'no room to restore a block');
    return false;
  }
  return true;
}
