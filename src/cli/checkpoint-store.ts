import { AppError } from '../base/errors.js';
import {
  type Checkpoint,
  type FoundState,
  type Inventory,
  type Orphans,
  takeInventory,
} from '../vm/checkpoint/inventory.js';
import { imageNameOf, parseImageName } from '../vm/checkpoint/names.js';
import { HEAD_BYTES_MAX, headBytesOf } from '../vm/checkpoint/save-image.js';
import { CLAIM_DEAD_MS, dropClaim, isAlive } from './checkpoint-claim.js';
import { fetchVdis } from './commands/vdi-list.js';
import type { Context } from './context.js';
import { Exit, exitCodes } from './exit.js';
import { readVersion } from './version-reader.js';

/** Checkpoints in the cluster: found, removed, and what is left of unfinished ones. */

/** Enough for the head of most states; the rest of a longer one is read after it. */
const HEAD_BYTES_USUAL = 64 * 1024;

export async function fetchInventory(context: Context): Promise<Inventory> {
  const vdis = await fetchVdis(context);
  const states: FoundState[] = [];
  for (const image of vdis) {
    if (image.image === undefined || parseImageName(image.name) === undefined) continue;
    states.push({ image, head: await readHead(context, image.name, image.sizeBytes) });
  }
  return takeInventory(vdis, states);
}

/** Rejects with Exit 'missing'. */
export async function findCheckpoint(context: Context, domain: string, name: string): Promise<Checkpoint> {
  const wanted = imageNameOf({ domain, name });
  const found = (await fetchInventory(context)).checkpoints.find(({ image }) => image.name === wanted);
  if (found !== undefined) return found;
  throw new Exit(exitCodes.missing, `There is no checkpoint ${name} of ${domain}`, {
    hint: `'dog vm listvm ${domain}' shows the checkpoints there are.`,
  });
}

/** The state's first bytes, up to where QEMU's stream begins; an AppError when there are none. */
export async function readHead(
  context: Context,
  name: string,
  sizeBytes: number,
): Promise<Buffer | AppError> {
  const read = async (from: number, end: number) => {
    const parts: Buffer[] = [];
    for await (const part of readVersion(context, { name }, from, end)) parts.push(part);
    return Buffer.concat(parts);
  };
  try {
    const begin = await read(0, Math.min(sizeBytes, HEAD_BYTES_USUAL));
    const length = Math.min(headBytesOf(begin), sizeBytes, HEAD_BYTES_MAX);
    if (length <= begin.length) return begin.subarray(0, length);
    return Buffer.concat([begin, await read(begin.length, length)]);
  } catch (error) {
    const known = error instanceof Exit ? error.cause : error;
    // It was deleted while we looked, or cannot be read; a sheep that does not answer is another thing.
    if (AppError.isCode(known, 'invalid', 'no-vdi', 'io', 'checksum')) {
      return new AppError('invalid', known.message);
    }
    throw error;
  }
}

/** First what makes it one, then its snapshots: a run that ends in between leaves debris, which the next one sweeps. */
export async function removeCheckpoint(context: Context, { image, snapshots }: Checkpoint): Promise<void> {
  await context.call('vdi.delete', { name: image.name });
  await removeSnapshots(context, snapshots);
}

export async function removeSnapshots(
  context: Context,
  snapshots: readonly { name: string; tag: string }[],
): Promise<void> {
  for (const { name, tag } of snapshots) {
    await context.call('vdi.delete', { name, tag }).catch((error: unknown) => {
      if (!AppError.isCode(error, 'no-tag', 'no-vdi', 'missing')) throw error;
    });
  }
}

/**
 * Removes what runs that were killed have left behind. A run that is at work is told by its claim, which takes some
 * seconds when there is debris, and no time when there is none. Resolves with the number of snapshots removed.
 */
export async function sweepCheckpoints(context: Context, deadMs = CLAIM_DEAD_MS): Promise<number> {
  let removed = 0;
  for (const orphans of (await fetchInventory(context)).orphans) {
    if (await isAtWork(context, orphans, deadMs)) continue;
    // It may have been completed meanwhile: its image came before its claims went.
    const now = (await fetchInventory(context)).orphans.find(({ id }) => id === orphans.id);
    if (now === undefined) continue;
    await removeSnapshots(context, now.snapshots);
    for (const { name } of now.snapshots) await dropClaim(context, name, now.id);
    removed += now.snapshots.length;
  }
  return removed;
}

async function isAtWork(context: Context, { id, snapshots }: Orphans, deadMs: number): Promise<boolean> {
  const found = await Promise.all(snapshots.map(({ name }) => isAlive(context, name, id, deadMs)));
  return found.includes(true);
}
