import { AppError } from '../base/errors.js';
import type { Watch, WatchEvent } from './coordinator.js';
import type { Change } from './key-value-state.js';

/** Changes kept for watches that start in the past; a watch from before them is refused with AppError 'again'. */
export const HISTORY_CHANGES = 10_000;

interface Watcher {
  readonly prefix: string;
  /** The last revision this watcher was told of (or had nothing in). */
  seenRevision: number;
  readonly onEvents: (events: WatchEvent[]) => void;
}

/**
 * The watches of one handle. Each has a place in one history and is walked forward along it, so nothing is missed
 * or told twice, whenever it began. Callbacks run in a microtask of their own, never inside `publish` or `watch`.
 */
export class WatchHub {
  private history: Change[] = [];
  private readonly watchers = new Set<Watcher>();
  private scheduled = false;

  /** `startRevision`: nothing before it is known. */
  constructor(
    private forgottenRevision: number,
    private readonly historyChanges = HISTORY_CHANGES,
  ) {}

  watch(prefix: string, afterRevision: number, onEvents: (events: WatchEvent[]) => void): Watch {
    if (afterRevision < this.forgottenRevision) {
      const known = `history begins after revision ${this.forgottenRevision}`;
      throw new AppError('again', `cannot watch from revision ${afterRevision}: ${known}; list again`);
    }
    const watcher: Watcher = { prefix, seenRevision: afterRevision, onEvents };
    this.watchers.add(watcher);
    this.schedule();
    return { cancel: () => void this.watchers.delete(watcher) };
  }

  /** Changes are published in the order of their revisions. */
  publish(change: Change): void {
    this.history.push(change);
    this.schedule();
  }

  close(): void {
    this.watchers.clear();
    this.history = [];
  }

  private schedule(): void {
    if (this.scheduled || this.watchers.size === 0) {
      this.trim();
      return;
    }
    this.scheduled = true;
    queueMicrotask(() => {
      this.scheduled = false;
      for (const watcher of this.watchers) this.advance(watcher);
      this.trim();
    });
  }

  private advance(watcher: Watcher): void {
    for (let at = this.firstAfter(watcher.seenRevision); at < this.history.length; at++) {
      if (!this.watchers.has(watcher)) return;
      const { revision, events } = this.history[at]!;
      watcher.seenRevision = revision;
      const wanted = events.filter((event) => keyOf(event).startsWith(watcher.prefix));
      if (wanted.length > 0) deliver(watcher, wanted);
    }
  }

  private firstAfter(revision: number): number {
    let low = 0;
    let high = this.history.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.history[middle]!.revision <= revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** In steps, as cutting the front of an array costs its length. Waits while watchers are still to be told. */
  private trim(): void {
    if (this.scheduled || this.history.length < 2 * this.historyChanges) return;
    const excess = this.history.length - this.historyChanges;
    this.forgottenRevision = this.history[excess - 1]!.revision;
    this.history = this.history.slice(excess);
  }
}

export function keyOf(event: WatchEvent): string {
  return event.type === 'put' ? event.kv.key : event.key;
}

/** A watcher that throws has a broken belief: that must reach the process, but not tear the other watchers. */
function deliver(watcher: Watcher, events: WatchEvent[]): void {
  try {
    watcher.onEvents(events);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
