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
import { MemoryLease } from './memory-lease.js';
import { MemoryWatch } from './memory-watch.js';

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

  /** Each message takes up to so much longer. */
  slowMs = 0;
  /** Part of the answers to requests that get lost: what was asked has happened. */
  answerLossChance = 0;
  onAnswerLost: () => void = () => {};
  private readonly watchLags = new Map<string, number>();

  /** All handles of a name hear of changes so much later. */
  setWatchLag(name: string, lagMs: number): void {
    this.watchLags.set(name, lagMs);
  }

  watchLagMs(name: string): number {
    return this.watchLags.get(name) ?? 0;
  }

  /** Answers as fast and as surely as ever. Cut wires stay cut: see partition. */
  heal(): void {
    this.slowMs = 0;
    this.answerLossChance = 0;
    this.watchLags.clear();
  }

  losesAnswer(): boolean {
    const { answerLossChance } = this;
    if (answerLossChance === 0 || this.options.random.below(1000) >= answerLossChance * 1000) return false;
    this.onAnswerLost();
    return true;
  }

  /** Told of every change at the instant at which it happens, for checkers. */
  onChange: (change: Change) => void = () => {};

  /** What a checker may look at, at once. */
  peek(prefix = ''): KeyValue[] {
    return this.state.list(prefix);
  }

  delayMs(): number {
    const { random, minDelayMs = 0, maxDelayMs = 5 } = this.options;
    const slowMs = this.slowMs === 0 ? 0 : random.below(this.slowMs);
    return minDelayMs + slowMs + random.below(maxDelayMs - minDelayMs + 1);
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
    this.onChange(change);
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
        if (this.cluster.losesAnswer()) return;
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
