import { AppError } from '../base/errors.js';
import type { Compare, KeyValue, Op, TxnResult, WatchEvent } from './coordinator.js';

/** A lease as the state knows it: that it exists, and which keys hang on it. Time is not the state's business. */
export interface LeaseRecord {
  readonly id: string;
  readonly ttlMs: number;
  /** Who holds it, in the driver's own words (the local driver: boot, pid and start time). */
  readonly holder: string;
  readonly keys: ReadonlySet<string>;
}

/** What changed at one revision. */
export interface Change {
  readonly revision: number;
  readonly events: WatchEvent[];
}

/** Everything a state is, in an order that does not depend on how it came to be. */
export interface StateImage {
  readonly revision: number;
  readonly entries: KeyValue[];
  readonly leases: { id: string; ttlMs: number; holder: string }[];
}

/**
 * The state machine behind every driver of ours: keys, leases, one revision. It is a pure function of the sequence
 * of calls, so processes that replay one log hold one state. Operations of a transaction apply in their order.
 * The revision rises by one when a transaction (or the end of a lease) changed some key, not otherwise.
 */
export class KeyValueState {
  private readonly entries = new Map<string, KeyValue>();
  /** All keys in order, so that a prefix is a contiguous range found by bisection. */
  private readonly order: string[] = [];
  private readonly leases = new Map<string, LeaseRecord & { keys: Set<string> }>();
  private current = 0;

  get revision(): number {
    return this.current;
  }

  get(key: string): KeyValue | undefined {
    return this.entries.get(key);
  }

  list(prefix: string): KeyValue[] {
    return this.keysUnder(prefix).map((key) => this.entries.get(key)!);
  }

  lease(id: string): LeaseRecord | undefined {
    return this.leases.get(id);
  }

  allLeases(): LeaseRecord[] {
    return [...this.leases.values()];
  }

  /**
   * Decides a transaction at this point. Throws AppError 'cluster-error', with nothing changed, when the comparisons
   * hold and a put names a lease that is gone.
   */
  txn(compares: readonly Compare[], ops: readonly Op[]): { result: TxnResult; change?: Change } {
    if (!compares.every((compare) => this.holds(compare))) {
      return { result: { ok: false, revision: this.current } };
    }
    for (const op of ops) {
      if (op.type === 'put' && op.lease !== undefined && !this.leases.has(op.lease)) {
        throw new AppError('cluster-error', `lease ${op.lease} of key ${op.key} is gone`);
      }
    }
    const events = ops.flatMap((op) => this.applyOp(op, this.current + 1));
    const change = this.commit(events);
    return { result: { ok: true, revision: this.current }, ...(change && { change }) };
  }

  /** False when a lease of this id exists. */
  grant(id: string, ttlMs: number, holder: string): boolean {
    if (this.leases.has(id)) return false;
    this.leases.set(id, { id, ttlMs, holder, keys: new Set() });
    return true;
  }

  /** Ends a lease: its keys vanish at one revision. Does nothing when it is gone already. */
  expire(id: string): Change | undefined {
    const lease = this.leases.get(id);
    if (!lease) return undefined;
    const revision = this.current + 1;
    const events = [...lease.keys].sort(byCodeUnit).flatMap((key) => this.remove(key, revision));
    this.leases.delete(id);
    return this.commit(events);
  }

  image(): StateImage {
    const leases = this.allLeases().map(({ id, ttlMs, holder }) => ({ id, ttlMs, holder }));
    leases.sort((a, b) => byCodeUnit(a.id, b.id));
    return { revision: this.current, entries: this.order.map((key) => this.entries.get(key)!), leases };
  }

  static fromImage(image: StateImage): KeyValueState {
    const state = new KeyValueState();
    for (const { id, ttlMs, holder } of image.leases) state.grant(id, ttlMs, holder);
    for (const entry of image.entries) state.store(entry);
    state.current = image.revision;
    return state;
  }

  private commit(events: WatchEvent[]): Change | undefined {
    if (events.length === 0) return undefined;
    this.current += 1;
    return { revision: this.current, events };
  }

  private holds(compare: Compare): boolean {
    const entry = this.entries.get(compare.key);
    if ('exists' in compare) return (entry !== undefined) === compare.exists;
    if ('value' in compare) return entry?.value === compare.value;
    // As in etcd, a key that is not there has modification revision 0.
    return (entry?.modRevision ?? 0) === compare.modRevision;
  }

  private applyOp(op: Op, revision: number): WatchEvent[] {
    if (op.type === 'delete') return this.remove(op.key, revision);
    if (op.type === 'delete-prefix') {
      return this.keysUnder(op.prefix).flatMap((key) => this.remove(key, revision));
    }
    const kv: KeyValue = {
      key: op.key,
      value: op.value,
      modRevision: revision,
      createRevision: this.entries.get(op.key)?.createRevision ?? revision,
      ...(op.lease !== undefined && { lease: op.lease }),
    };
    this.store(kv);
    return [{ type: 'put', kv, revision }];
  }

  private store(kv: KeyValue): void {
    const old = this.entries.get(kv.key);
    if (old) this.detach(old);
    else this.insertKey(kv.key);
    this.entries.set(kv.key, kv);
    if (kv.lease !== undefined) this.leases.get(kv.lease)?.keys.add(kv.key);
  }

  private remove(key: string, revision: number): WatchEvent[] {
    const old = this.entries.get(key);
    if (!old) return [];
    this.detach(old);
    this.entries.delete(key);
    this.order.splice(this.firstAtOrAfter(key), 1);
    return [{ type: 'delete', key, revision }];
  }

  private detach(kv: KeyValue): void {
    if (kv.lease !== undefined) this.leases.get(kv.lease)?.keys.delete(kv.key);
  }

  private insertKey(key: string): void {
    const last = this.order.at(-1);
    if (last === undefined || last < key) this.order.push(key);
    else this.order.splice(this.firstAtOrAfter(key), 0, key);
  }

  private keysUnder(prefix: string): string[] {
    const from = this.firstAtOrAfter(prefix);
    let to = from;
    while (to < this.order.length && this.order[to]!.startsWith(prefix)) to++;
    return this.order.slice(from, to);
  }

  private firstAtOrAfter(key: string): number {
    let low = 0;
    let high = this.order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.order[middle]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The order of JavaScript's `<` on strings: the same on every machine, whatever its locale. */
function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
