/**
 * First-come-first-served locks on byte ranges of keyed things (objects, volumes). A request waits for every
 * earlier request it conflicts with, granted or still waiting, so a later one never overtakes: a retried write
 * that arrives behind its own first copy is executed behind it.
 */
export type Release = () => void;

interface Entry {
  readonly start: number;
  readonly end: number;
  readonly exclusive: boolean;
  /** Earlier entries that conflict and are not released yet. */
  blockers: number;
  grant: (() => void) | undefined;
}

export class RangeLocks<Key> {
  private readonly queues = new Map<Key, Entry[]>();

  /** Locks [start, end) of the key: shared for reading, exclusive for changing. Never fails; release exactly once. */
  acquire(key: Key, start: number, end: number, exclusive: boolean): Release | Promise<Release> {
    let queue = this.queues.get(key);
    if (queue === undefined) {
      queue = [];
      this.queues.set(key, queue);
    }
    const entry: Entry = { start, end, exclusive, blockers: 0, grant: undefined };
    for (const other of queue) if (conflict(entry, other)) entry.blockers++;
    queue.push(entry);
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      this.release(key, entry);
    };
    if (entry.blockers === 0) return release;
    return new Promise((resolve) => {
      entry.grant = () => resolve(release);
    });
  }

  /** Keys with locks held or waited for. */
  get size(): number {
    return this.queues.size;
  }

  private release(key: Key, entry: Entry): void {
    const queue = this.queues.get(key)!;
    const position = queue.indexOf(entry);
    queue.splice(position, 1);
    if (queue.length === 0) {
      this.queues.delete(key);
      return;
    }
    for (let i = position; i < queue.length; i++) {
      const later = queue[i]!;
      if (later.blockers > 0 && conflict(later, entry) && --later.blockers === 0) later.grant!();
    }
  }
}

function conflict(a: Entry, b: Entry): boolean {
  return (a.exclusive || b.exclusive) && a.start < b.end && b.start < a.end;
}
