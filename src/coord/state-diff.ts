import type { KeyValue, WatchEvent } from './coordinator.js';
import type { Change } from './key-value-state.js';

/** What is compared: all keys at one revision. */
export interface KeyTable {
  readonly revision: number;
  get(key: string): KeyValue | undefined;
  list(prefix: string): KeyValue[];
}

/**
 * The changes that lead from one state to a later one, for watchers of a process that slept so long that the log in
 * between is gone. Values in between are lost, the result is exact: puts come at their own revisions, deletions at
 * the last one (with whatever was put there), as nobody knows theirs.
 */
export function differences(before: KeyTable, after: KeyTable): Change[] {
  const byRevision = new Map<number, WatchEvent[]>();
  const add = (revision: number, event: WatchEvent): void => {
    const events = byRevision.get(revision);
    if (events) events.push(event);
    else byRevision.set(revision, [event]);
  };
  const last = after.revision;
  for (const { key } of before.list('')) {
    if (!after.get(key)) add(last, { type: 'delete', key, revision: last });
  }
  for (const kv of after.list('')) {
    if (kv.modRevision > before.revision) add(kv.modRevision, { type: 'put', kv, revision: kv.modRevision });
  }
  return [...byRevision].sort(([a], [b]) => a - b).map(([revision, events]) => ({ revision, events }));
}
