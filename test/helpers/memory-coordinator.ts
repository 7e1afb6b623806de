import { assert } from '../../src/base/assert.js';
import type { Clock, Timer } from '../../src/base/clock.js';
import { AppError } from '../../src/base/errors.js';
import type { SeededRandom } from '../../src/base/random.js';
import type {
  Compare,
  Coordinator,
  KeyValue,
  Lease,
  Op,
  TxnResult,
  Watch,
  WatchEvent,
} from '../../src/coord/coordinator.js';
import { type Change, KeyValueState } from '../../src/coord/key-value-state.js';

/**
 * An ideal coordinator in memory, for the simulator: one state that never fails, and per client a wire that delays,
 * can be cut, and can die. Everything that is random comes from one seeded source, everything that waits waits on
 * the given clock, so that a run repeats itself exactly.
 */
export interface MemoryCoordinatorOptions {
  readonly clock: Clock;
  readonly random: SeededRandom;
  /** Each message (request, answer, delivery of one watch event) takes a whole number of ms in this range. */
  readonly minDelayMs?: number;
  readonly maxDelayMs?: number;
  /** A call without an answer rejects with AppError 'network' after this; it may or may not have happened. */
  readonly callTimeoutMs?: number;
  /** What becomes of the leases of a killed client: found dead soon (as the local driver does), or only at ttl. */
  readonly deadHolder?: 'detected' | 'at-ttl';
  /** 'detected': the longest time until it is found. `suspect` shortens it. */
  readonly detectMs?: number;
}

interface ServerLease {
  readonly id: string;
  readonly ttlMs: number;
  readonly client: MemoryCoordinator;
  expiry: Timer;
  /** Tells the holder (through its wire) that the lease is gone. */
  readonly onGone: () => void;
}

export class MemoryCoordinatorCluster {
  readonly clock: Clock;
  readonly state = new KeyValueState();
  private readonly history: Change[] = [];
  private readonly leases = new Map<string, ServerLease>();
  private readonly clients = new Set<MemoryCoordinator>();
  private readonly cut = new Set<string>();
  private nextLease = 1;

  constructor(private readonly options: MemoryCoordinatorOptions) {
    this.clock = options.clock;
  }

  get callTimeoutMs(): number {
    return this.options.callTimeoutMs ?? 2000;
  }

  /**
   * A new handle, as a process that starts would open it. A client's own clock may drift from the cluster's: its
   * leases' validity is counted on it.
   */
  clientFor(name: string, clock: Clock = this.clock): MemoryCoordinator {
    const client = new MemoryCoordinator(this, name, clock);
    this.clients.add(client);
    return client;
  }

  /** Cuts or heals the wire of all handles of a name: calls and renewals are lost, watch events wait. */
  partition(name: string, isCut: boolean): void {
    if (isCut) this.cut.add(name);
    else this.cut.delete(name);
    if (!isCut) for (const client of this.clients) if (client.name === name) client.resumeWatches();
  }

  isCut(name: string): boolean {
    return this.cut.has(name);
  }

  /** The process is dead: none of its calls ever settles, none of its callbacks ever runs. */
  kill(name: string): void {
    for (const client of [...this.clients]) {
      if (client.name !== name) continue;
      client.die();
      this.clients.delete(client);
      this.detect(client);
    }
  }

  /** Every client dies at once, and with them every lease (the boot id changed). The state survives. */
  powerCut(): void {
    for (const client of [...this.clients]) {
      client.die();
      this.clients.delete(client);
    }
    for (const id of [...this.leases.keys()]) this.expire(id);
  }

  /** What a checker may look at, at once. */
  peek(prefix = ''): KeyValue[] {
    return this.state.list(prefix);
  }

  delayMs(): number {
    const { random, minDelayMs = 0, maxDelayMs = 5 } = this.options;
    return minDelayMs + random.below(maxDelayMs - minDelayMs + 1);
  }

  /** Changes after a revision, for a new watch. */
  changesAfter(revision: number): Change[] {
    return this.history.slice(firstAfter(this.history, revision));
  }

  forget(client: MemoryCoordinator): void {
    this.clients.delete(client);
  }

  txn(compares: Compare[], ops: Op[]): TxnResult {
    const { result, change } = this.state.txn(compares, ops);
    this.publish(change);
    return result;
  }

  grant(client: MemoryCoordinator, ttlMs: number, onGone: () => void): string {
    const id = `lease-${this.nextLease++}`;
    this.state.grant(id, ttlMs, client.name);
    this.leases.set(id, { id, ttlMs, client, onGone, expiry: this.expiryTimer(id, ttlMs) });
    if (client.dead) this.detect(client);
    return id;
  }

  /** False when the lease is gone. */
  renew(id: string): boolean {
    const lease = this.leases.get(id);
    if (!lease) return false;
    lease.expiry.cancel();
    lease.expiry = this.expiryTimer(id, lease.ttlMs);
    return true;
  }

  expire(id: string): void {
    const lease = this.leases.get(id);
    if (!lease) return;
    lease.expiry.cancel();
    this.leases.delete(id);
    this.publish(this.state.expire(id));
    lease.onGone();
  }

  suspect(id: string): void {
    if (this.leases.get(id)?.client.dead) this.expire(id);
  }

  private expiryTimer(id: string, ttlMs: number): Timer {
    return this.clock.after(ttlMs, () => this.expire(id));
  }

  private detect(client: MemoryCoordinator): void {
    if (this.options.deadHolder === 'at-ttl') return;
    const waitMs = this.options.random.below((this.options.detectMs ?? 100) + 1);
    this.clock.after(waitMs, () => {
      for (const lease of [...this.leases.values()]) if (lease.client === client) this.expire(lease.id);
    });
  }

  private publish(change: Change | undefined): void {
    if (!change) return;
    this.history.push(change);
    for (const client of this.clients) client.publish(change);
  }
}

/** First index whose revision is above; histories are dense, but a binary search needs no such belief. */
function firstAfter(history: readonly Change[], revision: number): number {
  let low = 0;
  let high = history.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (history[middle]!.revision <= revision) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Margin of a lease's validity before its end as others see it, as a fraction of the ttl. */
const VALIDITY_MARGIN = 0.1;

export class MemoryCoordinator implements Coordinator {
  dead = false;
  private closed = false;
  private readonly watches = new Set<MemoryWatch>();
  private readonly owned = new Set<MemoryLease>();
  private readonly timers = new Set<Timer>();
  private readonly pending = new Set<(error: Error) => void>();

  constructor(
    readonly cluster: MemoryCoordinatorCluster,
    readonly name: string,
    readonly clock: Clock,
  ) {}

  get(key: string): Promise<KeyValue | undefined> {
    return this.call(() => this.cluster.state.get(key));
  }

  list(prefix: string): Promise<{ entries: KeyValue[]; revision: number }> {
    const { state } = this.cluster;
    return this.call(() => ({ entries: state.list(prefix), revision: state.revision }));
  }

  txn(compares: Compare[], ops: Op[]): Promise<TxnResult> {
    return this.call(() => this.cluster.txn(compares, ops));
  }

  watch(prefix: string, afterRevision: number, onEvents: (events: WatchEvent[]) => void): Watch {
    if (this.closed) throw closedError();
    const watch = new MemoryWatch(this, prefix, afterRevision, onEvents);
    this.watches.add(watch);
    for (const change of this.cluster.changesAfter(afterRevision)) watch.push(change);
    return {
      cancel: () => {
        watch.cancel();
        this.watches.delete(watch);
      },
    };
  }

  async grantLease(ttlMs: number): Promise<Lease> {
    assert(ttlMs > 0, 'a lease needs a time to live');
    const sentMs = this.clock.nowMs();
    const lease = new MemoryLease(this, ttlMs, sentMs);
    await this.call(() => {
      // The answer may be lost: then nobody renews the lease and it ends by itself.
      lease.id = this.cluster.grant(this, ttlMs, () => this.later(() => lease.lose()));
    });
    this.owned.add(lease);
    lease.start();
    return lease;
  }

  suspect(leaseId: string): void {
    this.later(() => this.cluster.suspect(leaseId));
  }

  /** Leases are given back, as nobody renews them any more. */
  async close(): Promise<void> {
    if (this.closed) return;
    const leases = [...this.owned];
    await Promise.all(leases.map((lease) => lease.revoke().catch(ignoreCut)));
    this.closed = true;
    this.stop();
    this.cluster.forget(this);
    for (const reject of this.pending) reject(closedError());
    this.pending.clear();
  }

  // The rest is for the cluster, the watches and the leases.

  die(): void {
    this.dead = true;
    this.stop();
  }

  publish(change: Change): void {
    for (const watch of this.watches) watch.push(change);
  }

  resumeWatches(): void {
    for (const watch of this.watches) watch.resume();
  }

  disown(lease: MemoryLease): void {
    this.owned.delete(lease);
  }

  reachable(): boolean {
    return !this.dead && !this.cluster.isCut(this.name);
  }

  /** A timer that dies with the handle. */
  after(delayMs: number, run: () => void): Timer {
    if (this.dead || this.closed) return { cancel: () => {} };
    const timer = this.clock.after(delayMs, () => {
      this.timers.delete(timer);
      run();
    });
    this.timers.add(timer);
    return {
      cancel: () => {
        this.timers.delete(timer);
        timer.cancel();
      },
    };
  }

  /** One message, which is lost when the wire is cut as it is sent or as it arrives. */
  later(arrive: () => void): void {
    if (!this.reachable()) return;
    this.after(this.cluster.delayMs(), () => {
      if (this.reachable()) arrive();
    });
  }

  /**
   * A request, its effect at one instant in between, and the answer. A request on its way arrives even when its
   * sender dies meanwhile; the answer then finds nobody.
   */
  call<T>(effect: () => T): Promise<T> {
    if (this.closed) return Promise.reject(closedError());
    return new Promise((resolve, reject) => {
      this.pending.add(reject);
      const timeout = this.after(this.cluster.callTimeoutMs, () => {
        this.pending.delete(reject);
        reject(new AppError('network', `no answer from the coordinator to ${this.name}`));
      });
      this.send(() => {
        const outcome = attempt(effect);
        this.later(() => {
          timeout.cancel();
          this.pending.delete(reject);
          if ('error' in outcome) reject(outcome.error);
          else resolve(outcome.value);
        });
      });
    });
  }

  private send(arrive: () => void): void {
    if (!this.reachable()) return;
    this.cluster.clock.after(this.cluster.delayMs(), () => {
      if (!this.cluster.isCut(this.name)) arrive();
    });
  }

  private stop(): void {
    for (const timer of this.timers) timer.cancel();
    this.timers.clear();
    for (const watch of this.watches) watch.cancel();
    this.watches.clear();
    for (const lease of this.owned) lease.stop();
    this.owned.clear();
  }
}

/** Events of one watch, each with a delay of its own, delivered in order. */
class MemoryWatch {
  private readonly queue: { events: WatchEvent[]; dueMs: number }[] = [];
  private timer: Timer | undefined;
  private cancelled = false;

  constructor(
    private readonly client: MemoryCoordinator,
    private readonly prefix: string,
    private readonly afterRevision: number,
    private readonly onEvents: (events: WatchEvent[]) => void,
  ) {}

  push(change: Change): void {
    if (change.revision <= this.afterRevision) return;
    const events = change.events.filter((event) => keyOf(event).startsWith(this.prefix));
    if (events.length === 0) return;
    const dueMs = this.client.clock.nowMs() + this.client.cluster.delayMs();
    this.queue.push({ events, dueMs });
    this.resume();
  }

  /** Sees to it that a timer runs for the oldest event; while the wire is cut none does. */
  resume(): void {
    const head = this.queue[0];
    if (this.timer || this.cancelled || !head || !this.client.reachable()) return;
    this.timer = this.client.after(Math.max(0, head.dueMs - this.client.clock.nowMs()), () => {
      this.timer = undefined;
      if (!this.client.reachable()) return;
      this.queue.shift();
      this.onEvents(head.events);
      this.resume();
    });
  }

  cancel(): void {
    this.cancelled = true;
    this.queue.length = 0;
    this.timer?.cancel();
    this.timer = undefined;
  }
}

class MemoryLease implements Lease {
  id = '';
  readonly lost: Promise<void>;
  private resolveLost: () => void = () => {};
  private validMs: number;
  private isLost = false;
  private renewTimer: Timer | undefined;
  private endTimer: Timer | undefined;

  constructor(
    private readonly client: MemoryCoordinator,
    private readonly ttlMs: number,
    sentMs: number,
  ) {
    this.validMs = this.validityFrom(sentMs);
    this.lost = new Promise((resolve) => {
      this.resolveLost = resolve;
    });
  }

  validUntilMs(): number {
    return this.validMs;
  }

  start(): void {
    if (this.isLost) return;
    this.scheduleEnd();
    this.scheduleRenewal();
  }

  async revoke(): Promise<void> {
    this.lose();
    await this.client.call(() => this.client.cluster.expire(this.id));
  }

  lose(): void {
    if (this.isLost) return;
    this.isLost = true;
    this.validMs = 0;
    this.stop();
    this.client.disown(this);
    this.resolveLost();
  }

  stop(): void {
    this.renewTimer?.cancel();
    this.endTimer?.cancel();
  }

  private validityFrom(sentMs: number): number {
    return sentMs + this.ttlMs * (1 - VALIDITY_MARGIN);
  }

  private scheduleRenewal(): void {
    this.renewTimer = this.client.after(this.ttlMs / 4, () => {
      this.renew();
      this.scheduleRenewal();
    });
  }

  private renew(): void {
    const sentMs = this.client.clock.nowMs();
    this.client.later(() => {
      const renewed = this.client.cluster.renew(this.id);
      this.client.later(() => {
        if (!renewed) this.lose();
        // An answer that comes after the end changes nothing: the holder has stopped already.
        if (this.isLost || this.client.clock.nowMs() >= this.validMs) return;
        this.validMs = Math.max(this.validMs, this.validityFrom(sentMs));
        this.scheduleEnd();
      });
    });
  }

  private scheduleEnd(): void {
    this.endTimer?.cancel();
    this.endTimer = this.client.after(Math.max(0, this.validMs - this.client.clock.nowMs()), () => {
      this.lose();
      this.client.later(() => this.client.cluster.expire(this.id));
    });
  }
}

function keyOf(event: WatchEvent): string {
  return event.type === 'put' ? event.kv.key : event.key;
}

function closedError(): AppError {
  return new AppError('shutdown', 'the coordinator is closed');
}

function attempt<T>(effect: () => T): { value: T } | { error: unknown } {
  try {
    return { value: effect() };
  } catch (error) {
    return { error };
  }
}

function ignoreCut(error: unknown): void {
  // The lease ends by itself at its ttl when the wire is cut.
  if (!AppError.isCode(error, 'network', 'shutdown')) throw error;
}
