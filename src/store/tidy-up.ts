/** What is put right behind an unclean end of the store, while it is in use. */
import { basePaths, heirOf, unlinkBase } from './bases.js';
import type { StoreContext } from './context.js';
import { objectPath } from './object-path.js';

/** `firstInstance`: lives of objects from there on began since the store was opened. Never rejects. */
export async function tidyUp(
  context: StoreContext,
  objects: AsyncIterable<bigint>,
  firstInstance: number,
): Promise<void> {
  try {
    await sweepBases(context, firstInstance);
    await recountUsed(context, objects);
    context.trimmer.soon();
  } catch (error) {
    // Only room and a figure are at stake.
    context.log.warn({ err: String(error) }, 'the room used by objects could not be counted');
  }
}

/** Takes away names of bases whose heirs are not there any more. */
async function sweepBases(context: StoreContext, firstInstance: number): Promise<void> {
  const { disk, cache } = context;
  for (const path of basePaths(disk)) {
    if (context.failure()) return;
    const heir = heirOf(path)?.life;
    if (heir === undefined || heir.instance >= firstInstance) continue;
    const instance = cache.get(heir.oid)?.instance;
    // Zero: it has lost its tables, and cannot tell.
    if (instance !== heir.instance && instance !== 0) unlinkBase(disk, path);
    await turn(context);
  }
}

/** A file of several names, because others inherit from it, counts once; what changes meanwhile counts, too. */
async function recountUsed(context: StoreContext, objects: AsyncIterable<bigint>): Promise<void> {
  const { disk } = context;
  const before = context.usedBytes;
  let sum = 0;
  const add = async (path: string): Promise<void> => {
    if (context.failure() || !disk.exists(path)) return;
    const file = disk.open(path);
    sum += Math.floor(file.allocatedBytes() / Math.max(1, file.links()));
    file.close();
    await turn(context);
  };
  for await (const oid of objects) await add(objectPath(oid));
  for (const path of basePaths(disk)) await add(path);
  if (!context.failure()) context.usedBytes += sum - before;
}

function turn({ clock }: StoreContext): Promise<void> {
  return new Promise((resolve) => clock.defer(resolve));
}
