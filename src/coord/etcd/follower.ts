import { type Clock, sleep, type Timer } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { KeyValue, WatchEvent } from '../coordinator.js';
import type { Change } from '../key-value-state.js';
import { differences, type KeyTable } from '../state-diff.js';
import { type KeySpace, keyValueFrom, listAll } from './key-space.js';
import type { Member, Stream } from './member.js';
import type { Members } from './members.js';
import type { WatchResponse } from './messages.js';
import { prefixRange } from './txn-request.js';

/** A stream that says nothing is asked for a word this often; without one in SILENCES_MAX times it is given up. */
const PULSE_MS = 1000;
const SILENCES_MAX = 2;
const RETRY_MS = 100;

export interface FollowerEvents {
  /** Once, when everything has been read for the first time. */
  onStart(revision: number): void;
  /** In the order of revisions, none missed. */
  onChange(change: Change): void;
  /** The lease (hexadecimal) is gone. */
  onLeaseGone(id: string): void;
  /** What etcd shows cannot be the store that was followed so far. */
  onFailure(error: AppError): void;
}

export interface FollowerOptions {
  readonly members: Members;
  readonly space: KeySpace;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: FollowerEvents;
}

/**
 * One watch of everything under the cluster's prefix, and a copy of all keys beside it: watchers are served from
 * here, and when etcd has compacted what was missed, the copy shows what a new listing differs in.
 */
export class Follower {
  private table = new Map<string, KeyValue>();
  private leases = new Set<string>();
  private revision = 0;
  private clusterId = '';
  private stream: Stream | undefined;
  private closed = false;
  private endStream: (() => void) | undefined;

  constructor(private readonly options: FollowerOptions) {}

  get seenRevision(): number {
    return this.revision;
  }

  /** Reads everything. Rejects with AppError 'network' when etcd does not answer within the limit. */
  async start(limitMs: number): Promise<void> {
    const { members, space, events } = this.options;
    const listing = await listAll(members, space.all, limitMs);
    this.clusterId = listing.clusterId;
    this.adopt(this.sorted(listing.kvs.map((kv) => kv)), listing.revision);
    events.onStart(this.revision);
    void this.follow();
  }

  close(): void {
    this.closed = true;
    this.stream?.cancel();
    this.endStream?.();
  }
}
