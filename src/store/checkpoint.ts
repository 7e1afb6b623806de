/**
 * Frees a journal segment: what it changed is written out and synced, tails and names included; then its header gets
 * the next generation. A crash in the middle replays the segment again, which changes nothing.
 */
import type { StoreContext } from './context.js';
import type { DirectFlusher } from './direct-flusher.js';
import type { Segment } from './journal.js';
import type { StoredObject } from './object-file.js';

/** The segment is not current any more; when this resolves it is ready. Errors stop the store. */
export async function checkpointSegment(
  context: StoreContext,
  direct: DirectFlusher,
  segment: Segment,
  /** Saves the list of uncommitted objects, which the segment's batches carried. */
  saveUncommitted: () => Promise<void>,
): Promise<void> {
  const { journal, disk, touched, limits } = context;
  // Brings what waits for its sync to the objects: callbacks run in order, so they come before this goes on.
  await journal.synced(segment.lastSequence);
  // Before the tails: what a flush has still to sync must not vanish from its list while we sync it.
  await direct.flush();
  const all = [...segment.dirty];
  const objects = [...all];
  const work = async () => {
    for (let object = objects.pop(); object; object = objects.pop()) {
      await syncTail(context, object);
      segment.dirty.delete(object);
      object.dirtyIn--;
    }
  };
  const workers: Promise<void>[] = [];
  for (let worker = 0; worker < limits.checkpointParallel; worker++) workers.push(work());
  await Promise.all(workers);
  await touched.sync(segment.epochs);
  for (const folder of segment.folders) await disk.syncDir(folder);
  for (const object of all) object.nameDurable = true;
  context.newBases.checkpointed(segment.generation);
  await saveUncommitted();
  await journal.makeReady(segment);
  context.cache.trim();
}

async function syncTail(context: StoreContext, object: StoredObject): Promise<void> {
  if (object.gone) return;
  const { cache } = context;
  cache.pin(object);
  try {
    object.writeTail();
    object.tailsOwed--;
    await object.sync();
  } finally {
    cache.unpin(object);
  }
}
