import type { StoreContext } from './context.js';
import { objectPath } from './object-file.js';

/** Counts the room of all objects anew, one at a time; what changes meanwhile counts too. */
export async function recountUsed(context: StoreContext, objects: AsyncIterable<bigint>): Promise<void> {
  const { disk, clock, log } = context;
  const before = context.usedBytes;
  let sum = 0;
  try {
    for await (const oid of objects) {
      if (context.failure()) return;
      const path = objectPath(oid);
      if (!disk.exists(path)) continue;
      const file = disk.open(path);
      sum += file.allocatedBytes();
      file.close();
      await new Promise<void>((resolve) => clock.defer(resolve));
    }
  } catch (error) {
    // Only a figure is at stake.
    log.warn({ err: String(error) }, 'the room used by objects could not be counted');
    return;
  }
  context.usedBytes += sum - before;
}
