/**
 * Reading blocks from a device that has lost some of them. One sector that cannot be read must not take its neighbours
 * with it: what fails as a whole is read again block by block. A block that cannot be read counts as one that does not
 * verify, so it is repaired like that: by writing it anew, upon which disks put the sector elsewhere.
 */
import { BLOCK_SIZE } from '../base/bytes.js';
import { DiskError, type DiskFile } from './disk.js';

/** Fills `bytes` (whole blocks) through a thread. Resolves with the places in it of blocks that cannot be read. */
export async function readBlocks(file: DiskFile, bytes: Uint8Array, offset: number): Promise<number[]> {
  try {
    blankRest(bytes, await file.readAsync(bytes, offset));
    return [];
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return salvage(file, bytes, offset);
  }
}

/** The same at once: nothing can come between. */
export function readBlocksNow(file: DiskFile, bytes: Uint8Array, offset: number): number[] {
  try {
    blankRest(bytes, file.read(bytes, offset));
    return [];
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return salvage(file, bytes, offset);
  }
}

/** Fills `bytes` if all of it is in memory; false: ask the device, which may also be what fails here. */
export function readCached(file: DiskFile, bytes: Uint8Array, offset: number): boolean {
  try {
    return file.tryRead(bytes, offset) === bytes.length;
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return false;
  }
}

function salvage(file: DiskFile, bytes: Uint8Array, offset: number): number[] {
  const lost: number[] = [];
  for (let at = 0; at < bytes.length; at += BLOCK_SIZE) {
    const block = bytes.subarray(at, at + BLOCK_SIZE);
    try {
      blankRest(block, file.read(block, offset + at));
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      block.fill(0);
      lost.push(at / BLOCK_SIZE);
    }
  }
  return lost;
}

/** A file that is too short: what was in the buffer before must not pass for its content. */
function blankRest(bytes: Uint8Array, count: number): void {
  if (count < bytes.length) bytes.fill(0, Math.max(0, count));
}

function isUnreadable(error: unknown): boolean {
  return error instanceof DiskError && error.code === 'io';
}
