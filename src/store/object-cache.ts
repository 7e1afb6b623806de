/**
 * Open objects by id, with their checksum tables. Clean ones that were not used lately are closed beyond the
 * limits (second chance); dirty, pinned and busy ones stay, so the cache may exceed its limits by what one journal
 * segment can touch.
 */
import type { Disk } from './disk.js';
import type { StoreLimits } from './limits.js';
import { loadObject, type StoredObject } from './object-file.js';

/** Objects that one more may close in passing; the checkpoint sees to the rest. */
const TRIES_OF_PUT = 8;

export class ObjectCache {
  private readonly objects = new Map<bigint, StoredObject>();
  private tableBytes = 0;
  private files = 0;

  constructor(
    private readonly disk: Disk,
    private readonly limits: StoreLimits,
  ) {}

  /** The object, opened if need be; undefined when there is none. Throws DiskError. */
  get(oid: bigint): StoredObject | undefined {
    const cached = this.objects.get(oid);
    if (cached) {
      cached.recent = true;
      return cached;
    }
    const loaded = loadObject(this.disk, oid);
    if (loaded) this.put(loaded);
    return loaded;
  }

  /** Makes `object` the one of its id; what was there before is let go. */
  put(object: StoredObject): void {
    const before = this.objects.get(object.oid);
    if (before) this.drop(before);
    this.objects.set(object.oid, object);
    this.count(object, 1);
    this.trim(TRIES_OF_PUT);
  }

  /** Forgets an object that was unlinked or replaced; its file closes when nobody reads it any more. */
  drop(object: StoredObject): void {
    object.gone = true;
    if (this.objects.get(object.oid) === object) {
      this.objects.delete(object.oid);
      this.count(object, -1);
    }
    if (object.pins === 0) object.close();
  }

  pin(object: StoredObject): void {
    object.pins++;
  }

  unpin(object: StoredObject): void {
    object.pins--;
    if (object.pins === 0 && object.gone) object.close();
  }

  /** Closes what is too much. Looks at so many objects at most: when all are dirty, none of them can go. */
  trim(triesMax = this.objects.size): void {
    // Once round at most: whoever has just come is not the one to go.
    let tries = Math.min(this.objects.size, triesMax);
    while (this.over() && tries-- > 0) {
      const [oid, object] = this.objects.entries().next().value!;
      this.objects.delete(oid);
      if (object.recent || !evictable(object)) {
        object.recent = false;
        this.objects.set(oid, object);
        continue;
      }
      this.count(object, -1);
      object.gone = true;
      object.close();
    }
  }

  closeAll(): void {
    for (const object of this.objects.values()) object.close();
    this.objects.clear();
    this.tableBytes = 0;
    this.files = 0;
  }

  private count(object: StoredObject, sign: 1 | -1): void {
    this.tableBytes += sign * object.table.byteLength;
    this.files += sign * object.fileCount;
  }

  private over(): boolean {
    return this.files > this.limits.maxOpenObjects || this.tableBytes > this.limits.maxTableBytes;
  }
}

function evictable(object: StoredObject): boolean {
  return object.dirtyIn === 0 && object.pins === 0 && !object.directDirty;
}
