import { FuseError } from '../fuse/errors.js';
import type { DirectoryEntry } from '../fuse/replies.js';
import type { Node } from './nodes.js';

/** One open file or folder. */
export interface Handle {
  readonly node: Node;
  readonly writes: boolean;
  /** Of a folder: as it was when its listing began. */
  entries?: readonly DirectoryEntry[];
}

/** What programs have open, by the number that the kernel gives back with every request. */
export class Handles {
  private readonly open = new Map<number, Handle>();
  private next = 1;

  add(handle: Handle): number {
    const fh = this.next++;
    this.open.set(fh, handle);
    return fh;
  }

  /** Throws EBADF. */
  get(fh: number): Handle {
    const handle = this.open.get(fh);
    if (handle === undefined) throw new FuseError('EBADF');
    return handle;
  }

  take(fh: number): Handle {
    const handle = this.get(fh);
    this.open.delete(fh);
    return handle;
  }

  get count(): number {
    return this.open.size;
  }

  /** Of nodes that are files, whatever for: at the end of a mount. */
  values(): Iterable<Handle> {
    return this.open.values();
  }
}
