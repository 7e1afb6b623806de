/**
 * An object moves between the disks of a node in four steps, each durable before the next:
 *
 *     1. a copy of it, complete and verified, appears on the new disk as `moving/<oid>`
 *     2. the object is removed from the old disk
 *     3. the copy takes its name under `obj/`
 *     4. it may be changed again
 *
 * A crash leaves at most one file that counts: while the old disk has the object, what is in `moving` is rubbish;
 * once it has not, that is the object. Nothing changed meanwhile, so neither is ever older than the other.
 */
import { BLOCK_SIZE } from '../../base/bytes.js';
import { AppError } from '../../base/errors.js';
import { usedBlocks } from '../apply.js';
import type { StoreContext } from '../context.js';
import { copyBlocks, TMP_FOLDER } from '../copy-on-write.js';
import type { Disk } from '../disk.js';
import { createObject, type StoredObject } from '../object-file.js';
import { objectFolder, objectPath } from '../object-path.js';

export const MOVING_FOLDER = 'moving';

export function movingPath(oid: bigint): string {
  return `${MOVING_FOLDER}/${oid.toString(16).padStart(16, '0')}`;
}

/** Makes a disk ready to take objects from others. */
export async function prepareMoving(disk: Disk): Promise<void> {
  disk.mkdir(MOVING_FOLDER);
  await disk.syncDir('.');
}

/**
 * Step 1; nobody may change the object meanwhile. The copy is part of the new store's memory already, pinned, so that
 * it can be read. AppError 'no-object' | 'no-space' | 'checksum' (bad blocks: it stays where it is) | 'io'.
 */
export async function copyObjectTo(from: StoreContext, to: StoreContext, oid: bigint): Promise<StoredObject> {
  const original = from.cache.get(oid);
  if (!original) throw new AppError('no-object', `no object ${oid.toString(16)}`);
  const { objectBytes, epoch } = original;
  to.space.need((usedBlocks(original) + 4) * BLOCK_SIZE);
  const tmp = `${TMP_FOLDER}/${oid.toString(16)}-move`;
  from.cache.pin(original);
  let copy: StoredObject | undefined;
  try {
    copy = createObject(to.disk, oid, objectBytes, to.nextInstance(), epoch, tmp);
    await copyBlocks(to, original, copy);
    copy.writeTail();
    await copy.sync();
    to.disk.rename(tmp, movingPath(oid));
    await to.disk.syncDir(MOVING_FOLDER);
  } catch (error) {
    copy?.close();
    discard(to.disk, tmp);
    discard(to.disk, movingPath(oid));
    throw error;
  } finally {
    from.cache.unpin(original);
  }
  copy.nameDurable = true;
  return copy;
}

/** Takes back step 1. */
export function dropCopy(to: StoreContext, copy: StoredObject): void {
  discard(to.disk, movingPath(copy.oid));
  copy.close();
}

/** From here on the new store answers for the object; it must not be changed before `nameCopy` is done. */
export function showCopy(to: StoreContext, copy: StoredObject): void {
  to.cache.put(copy);
  to.cache.pin(copy);
  to.usedBytes += usedBlocks(copy) * BLOCK_SIZE;
}

/** Step 3. */
export async function nameCopy(to: StoreContext, copy: StoredObject): Promise<void> {
  await adoptFile(to.disk, copy.oid);
  to.cache.unpin(copy);
}

async function adoptFile(disk: Disk, oid: bigint): Promise<void> {
  const folder = objectFolder(oid);
  if (!disk.exists(folder)) disk.mkdir(folder);
  // A name that outlives a power cut in a folder that does not is lost, and its old name with it.
  await disk.syncDir('obj');
  disk.rename(movingPath(oid), objectPath(oid));
  await disk.syncDir(folder);
  await disk.syncDir(MOVING_FOLDER);
}

function discard(disk: Disk, path: string): void {
  try {
    if (disk.exists(path)) disk.unlink(path);
  } catch {
    // The disk is failing; what is left in these folders never counts as an object by itself.
  }
}

/** What becomes of an unfinished move when the node starts. Pure and total: see the test. */
export function judgeCopy(found: {
  readonly onOtherDisk: boolean;
  readonly onSameDisk: boolean;
}): 'drop' | 'adopt' {
  return found.onOtherDisk || found.onSameDisk ? 'drop' : 'adopt';
}

/** Ends the moves that a crash cut short. All disks' journals must have been replayed. Returns how many were ended. */
export async function endMoves(disks: readonly Disk[]): Promise<{ adopted: number; dropped: number }> {
  const result = { adopted: 0, dropped: 0 };
  for (const disk of disks) {
    for (const name of disk.list(MOVING_FOLDER)) {
      if (!/^[0-9a-f]{16}$/.test(name)) continue;
      const oid = BigInt(`0x${name}`);
      const path = objectPath(oid);
      const onOtherDisk = disks.some((other) => other !== disk && other.exists(path));
      if (judgeCopy({ onOtherDisk, onSameDisk: disk.exists(path) }) === 'drop') {
        disk.unlink(movingPath(oid));
        result.dropped++;
      } else {
        await adoptFile(disk, oid);
        result.adopted++;
      }
    }
  }
  return result;
}
