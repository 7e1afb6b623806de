/**
 * Objects that got bytes straight into their files: a flush has to sync them, since the journal holds only the
 * checksums. One round serves all that wait; a flush that comes during a round waits for the next.
 */
import type { StoreContext } from './context.js';
import type { StoredObject } from './object-file.js';
import { objectFolder } from './object-path.js';

const PARALLEL = 8;

export class DirectFlusher {
  context!: StoreContext;
  /** True while operations are journaled but not applied: their bytes are nowhere yet. */
  pending: () => boolean = () => false;
  private readonly dirty = new Set<StoredObject>();
  private running: Promise<void> | undefined;
  private next: Promise<void> | undefined;

  add(object: StoredObject): void {
    if (object.directDirty) return;
    object.directDirty = true;
    this.dirty.add(object);
  }

  /** The object is about to be synced by somebody else. */
  take(object: StoredObject): void {
    object.directDirty = false;
    this.dirty.delete(object);
  }

  /** Resolves when all bytes added before the call are durable. */
  flush(): Promise<void> {
    // A failed round took its objects off the list: an empty list says nothing then.
    const failure = this.context.failure();
    if (failure) return Promise.reject(failure);
    if (!this.running) {
      if (this.dirty.size === 0) return Promise.resolve();
      this.running = this.round().finally(() => {
        this.running = undefined;
      });
      return this.running;
    }
    this.next ??= this.running
      .catch(() => {})
      .then(() => {
        this.next = undefined;
        return this.flush();
      });
    return this.next;
  }

  private async round(): Promise<void> {
    const { journal } = this.context;
    const sequence = this.pending() ? journal.flushedSequence : journal.sequence;
    const objects = [...this.dirty];
    this.dirty.clear();
    const workers: Promise<void>[] = [];
    const work = async () => {
      for (let object = objects.pop(); object; object = objects.pop()) await this.syncOne(object);
    };
    for (let worker = 0; worker < Math.min(PARALLEL, objects.length); worker++) workers.push(work());
    await Promise.all(workers);
    if (sequence > journal.flushedSequence) journal.flushedSequence = sequence;
  }

  private async syncOne(object: StoredObject): Promise<void> {
    const { cache, disk, fail } = this.context;
    object.directDirty = false;
    if (object.closed) return;
    cache.pin(object);
    try {
      await object.sync();
      // A new file's name must not be lost either: replay would make an empty one in its place.
      if (!object.nameDurable && !object.gone) {
        await disk.syncDir(objectFolder(object.oid));
        await disk.syncDir('obj');
        object.nameDurable = true;
      }
    } catch (error) {
      fail(error);
      throw error;
    } finally {
      cache.unpin(object);
    }
  }
}
