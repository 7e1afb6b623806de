import { type Clock, sleep, type Timer } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { KeyValue, WatchEvent } from '../coordinator.js';
import type { Change } from '../key-value-state.js';
import { differences, type KeyTable } from '../state-diff.js';
import { type KeySpace, keyValueFrom, type Listing, listAll, parseLeaseText } from './key-space.js';
import type { Members } from './members.js';
import type { RangeResponse, WatchResponse, WireKeyValue } from './messages.js';
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
  /** All leases as they are now, and which of them are heard of; whenever that may have changed. */
  onLeases(leases: ReadonlyMap<string, KnownLease>, alive: ReadonlySet<string>): void;
  /** What etcd shows cannot be the store that was followed so far. */
  onFailure(error: AppError): void;
}

export interface KnownLease {
  readonly ttlMs: number;
  /** Rises with each revival. */
  readonly modRevision: number;
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
  private state: State = { revision: 0, keys: new Map(), leases: new Map(), alive: new Set() };
  private clusterId = '';
  private stop: () => void = () => {};
  private closed = false;

  constructor(private readonly options: FollowerOptions) {}

  /** Up to where etcd was followed. */
  get revision(): number {
    return this.state.revision;
  }

  /** Reads everything. Rejects with AppError 'network' when etcd does not answer within the limit. */
  async start(limitMs: number): Promise<void> {
    const { members, space, events } = this.options;
    const listing = await listAll(members, space.all, limitMs);
    this.clusterId = listing.clusterId;
    this.state = stateFrom(listing, space);
    events.onStart(this.revision);
    events.onLeases(this.state.leases, this.state.alive);
    void this.follow();
  }

  close(): void {
    this.closed = true;
    this.stop();
  }

  private async follow(): Promise<void> {
    const { clock, log, events } = this.options;
    while (!this.closed) {
      try {
        await this.check();
        if ((await this.watch()) === 'compacted') await this.listAnew();
      } catch (error) {
        const known = AppError.from(error);
        if (this.closed) return;
        if (known.code === 'cluster-error') return events.onFailure(known);
        log.warn({ error: known.message }, 'cannot follow etcd; trying again');
      }
      if (!this.closed) await sleep(clock, RETRY_MS);
    }
  }

  /** Another store, or an older state of this one, is no continuation: a watch on it would be silent for long. */
  private async check(): Promise<void> {
    const { members, space } = this.options;
    const request = { key: Buffer.from(space.all) };
    const { header } = await members.repeatable<RangeResponse>('range', request);
    if (header.clusterId === this.clusterId && Number(header.revision) >= this.revision) return;
    const seen = `cluster ${header.clusterId} at revision ${header.revision}`;
    const known = `cluster ${this.clusterId} at revision ${this.revision}`;
    throw new AppError('cluster-error', `etcd was replaced or set back: ${seen} instead of ${known}`);
  }

  /** Follows one stream until it ends. */
  private async watch(): Promise<'compacted' | 'broken'> {
    const { members, space, log } = this.options;
    let finish: (outcome: 'compacted' | 'broken') => void = () => {};
    const outcome = new Promise<'compacted' | 'broken'>((resolve) => {
      finish = resolve;
    });
    const pulse = new Pulse(this.options.clock);
    const { stream, member } = await members.stream<WatchResponse>('watch', {
      onMessage: (response) => {
        pulse.heard();
        if (response.canceled) {
          log.info({ reason: response.cancelReason }, 'etcd ended a watch');
          finish(response.compactRevision === '0' ? 'broken' : 'compacted');
        } else {
          this.take(response);
        }
      },
      onEnd: (failure) => {
        log.info({ endpoint: members.current.endpoint, reason: failure.message }, 'a watch of etcd ended');
        members.passOver(member);
        finish('broken');
      },
    });
    this.stop = () => {
      stream.cancel();
      finish('broken');
    };
    if (this.closed) this.stop();
    const startRevision = this.revision + 1;
    stream.send({ createRequest: { ...prefixRange(space.all), startRevision } });
    pulse.start(
      () => stream.send({ progressRequest: {} }),
      () => {
        members.restart(member, 'its watch is silent');
        finish('broken');
      },
    );
    try {
      return await outcome;
    } finally {
      pulse.stop();
      stream.cancel();
    }
  }

  private take({ events }: WatchResponse): void {
    const byRevision = new Map<number, WireEvent[]>();
    for (const event of events) {
      const revision = Number(event.kv.modRevision);
      if (revision <= this.revision) continue;
      const others = byRevision.get(revision);
      if (others) others.push(event);
      else byRevision.set(revision, [event]);
    }
    for (const [revision, some] of byRevision) this.apply(revision, some);
  }

  private apply(revision: number, wireEvents: WireEvent[]): void {
    const { space, events } = this.options;
    this.state.revision = revision;
    const told: WatchEvent[] = [];
    let leasesChanged = false;
    for (const { type, kv: wire } of wireEvents) {
      const path = wire.key.toString();
      if (!path.startsWith(space.keys)) {
        const isLease = this.noteLease(path, type === PUT ? wire : undefined);
        leasesChanged ||= isLease;
        continue;
      }
      const kv = keyValueFrom(wire, space.keys);
      if (type === PUT) this.state.keys.set(kv.key, kv);
      else this.state.keys.delete(kv.key);
      told.push(type === PUT ? { type: 'put', kv, revision } : { type: 'delete', key: kv.key, revision });
    }
    if (told.length > 0) events.onChange({ revision, events: told });
    if (leasesChanged) events.onLeases(this.state.leases, this.state.alive);
  }

  /** `wire`: what is there now, if anything. */
  private noteLease(path: string, wire: WireKeyValue | undefined): boolean {
    const { space, events } = this.options;
    if (wire !== undefined) return noteLease(this.state, path, wire, space);
    if (path.startsWith(space.alive)) return this.state.alive.delete(path.slice(space.alive.length));
    if (!path.startsWith(space.lease)) return false;
    const id = path.slice(space.lease.length);
    this.state.leases.delete(id);
    events.onLeaseGone(id);
    return true;
  }

  /** What happened since is not kept any more: told is what it led to. */
  private async listAnew(): Promise<void> {
    const { members, space, events, log } = this.options;
    const listing = await listAll(members, space.all);
    if (this.closed) return;
    const before = this.state;
    this.state = stateFrom(listing, space);
    const changes = differences(tableOf(before), tableOf(this.state));
    log.warn({ changes: changes.length, revision: this.revision }, 'etcd was compacted meanwhile: read anew');
    for (const id of before.leases.keys()) if (!this.state.leases.has(id)) events.onLeaseGone(id);
    for (const change of changes) events.onChange(change);
    events.onLeases(this.state.leases, this.state.alive);
  }
}

const PUT = 0;
type WireEvent = WatchResponse['events'][number];

interface State {
  revision: number;
  readonly keys: Map<string, KeyValue>;
  readonly leases: Map<string, KnownLease>;
  /** May name leases that are gone already. */
  readonly alive: Set<string>;
}

function stateFrom(listing: Listing, space: KeySpace): State {
  const state: State = { revision: listing.revision, keys: new Map(), leases: new Map(), alive: new Set() };
  for (const wire of listing.kvs) {
    const path = wire.key.toString();
    if (path.startsWith(space.keys)) {
      const kv = keyValueFrom(wire, space.keys);
      state.keys.set(kv.key, kv);
    } else {
      noteLease(state, path, wire, space);
    }
  }
  return state;
}

/** Whether the key is one that tells of a lease. */
function noteLease(state: State, path: string, wire: WireKeyValue, space: KeySpace): boolean {
  if (path.startsWith(space.alive)) {
    state.alive.add(path.slice(space.alive.length));
    return true;
  }
  if (!path.startsWith(space.lease)) return false;
  const { ttlMs } = parseLeaseText(wire.value.toString());
  const modRevision = Number(wire.modRevision);
  state.leases.set(path.slice(space.lease.length), { ttlMs, modRevision });
  return true;
}

function tableOf({ revision, keys }: State): KeyTable {
  return { revision, get: (key) => keys.get(key), list: () => [...keys.values()] };
}

/** Whether a stream still lives: it is asked for a word when it is silent, and given up when none comes. */
class Pulse {
  private timer: Timer | undefined;
  private silences = 0;

  constructor(private readonly clock: Clock) {}

  heard(): void {
    this.silences = 0;
  }

  start(ask: () => void, giveUp: () => void): void {
    this.timer = this.clock.after(PULSE_MS, () => {
      if (this.silences >= SILENCES_MAX) return giveUp();
      this.silences++;
      ask();
      this.start(ask, giveUp);
    });
  }

  stop(): void {
    this.timer?.cancel();
  }
}
