import { assert } from '../../base/assert.js';
import { type Clock, sleep } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Random } from '../../base/random.js';
import type {
  Compare,
  Coordinator,
  KeyValue,
  Lease,
  Op,
  TxnResult,
  Watch,
  WatchEvent,
} from '../coordinator.js';
import type { Processes } from '../local/processes.js';
import { WatchHub } from '../watch-hub.js';
import { type EtcdAddress, formatEtcdAddress, withoutPassword } from './address.js';
import { EtcdLease } from './etcd-lease.js';
import { Follower } from './follower.js';
import type { Guardian } from './guardian.js';
import { type KeySpace, keySpaceOf, keyValueFrom, leaseIdFrom, listAll } from './key-space.js';
import { Members } from './members.js';
import type { LeaseGrantResponse, LeaseKeepAliveResponse, RangeResponse, TxnResponse } from './messages.js';
import { txnRequest } from './txn-request.js';

/** What is given back at the end may take this long; what is not ends by itself. */
const CLOSE_LIMIT_MS = 1000;
/** A suspected holder on this host is looked at this often, this many times: a killed process takes a moment. */
const SUSPECT_MS = 10;
const SUSPECT_LOOKS = 20;

export interface EtcdCoordinatorOptions {
  readonly address: EtcdAddress;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly processes: Processes;
  /** How long etcd may take to answer for the first time. */
  readonly startLimitMs: number;
  readonly historyChanges?: number;
  /** Gives the leases back when this process is killed. */
  readonly guardian?: Guardian;
}

/** The `etcd` driver: see README.md of the folder for what it relies on. */
export class EtcdCoordinator implements Coordinator {
  private readonly members: Members;
  private readonly space: KeySpace;
  private readonly follower: Follower;
  private readonly held = new Map<string, EtcdLease>();
  private hub: WatchHub | undefined;
  private failure: AppError | undefined;

  private constructor(private readonly options: EtcdCoordinatorOptions) {
    const { address, clock, random, log } = options;
    this.members = new Members({ address, clock, random, log });
    this.space = keySpaceOf(address);
    this.follower = new Follower({
      members: this.members,
      space: this.space,
      clock,
      log,
      events: {
        onStart: (revision) => {
          this.hub = new WatchHub(revision, options.historyChanges);
        },
        onChange: (change) => this.hub!.publish(change),
        onLeaseGone: (id) => this.held.get(id)?.lose(),
        onFailure: (error) => this.onFailure(error),
      },
    });
  }

  /** Rejects with AppError 'network' (no answer within the limit), 'usage', 'system' (login, rights). */
  static async open(options: EtcdCoordinatorOptions): Promise<EtcdCoordinator> {
    const coordinator = new EtcdCoordinator(options);
    try {
      await coordinator.follower.start(options.startLimitMs);
    } catch (error) {
      coordinator.members.close();
      throw error;
    }
    return coordinator;
  }

  async get(key: string): Promise<KeyValue | undefined> {
    this.check();
    const kv = await this.read(this.space.keys + key);
    return kv && keyValueFrom(kv, this.space.keys);
  }

  async list(prefix: string): Promise<{ entries: KeyValue[]; revision: number }> {
    this.check();
    const { kvs, revision } = await listAll(this.members, this.space.keys + prefix);
    const entries = kvs.map((kv) => keyValueFrom(kv, this.space.keys));
    // etcd's order is that of bytes, which differs from that of texts beyond the BMP.
    return { entries: entries.sort((a, b) => (a.key < b.key ? -1 : 1)), revision };
  }

  async txn(compares: Compare[], ops: Op[]): Promise<TxnResult> {
    this.check();
    const request = txnRequest(this.space.keys, compares, ops);
    const response = await this.members.once<TxnResponse>('txn', request);
    return { ok: response.succeeded, revision: Number(response.header.revision) };
  }

  watch(prefix: string, afterRevision: number, onEvents: (events: WatchEvent[]) => void): Watch {
    this.check();
    return this.hub!.watch(prefix, afterRevision, onEvents);
  }

  async grantLease(ttlMs: number): Promise<Lease> {
    assert(ttlMs > 0 && Number.isFinite(ttlMs), 'a lease needs a time to live');
    this.check();
    const { clock, log } = this.options;
    const sentMs = clock.nowMs();
    // Whole seconds, and never less than the holder counts.
    const request = { ttl: Math.ceil(ttlMs / 1000) };
    // Sent twice it makes a lease that nobody renews and that no key hangs on: it ends by itself.
    const { id: wireId } = await this.members.repeatable<LeaseGrantResponse>('leaseGrant', request);
    const id = leaseIdFrom(wireId);
    await this.nameHolder(id);
    const lease = new EtcdLease({
      ...{ clock, log, id, ttlMs, sentMs },
      renew: () => this.renew(wireId, ttlMs),
      exists: async () => (await this.read(this.space.leases + id)) !== undefined,
      end: () => this.endLease(wireId),
      onLost: () => {
        this.held.delete(id);
        this.options.guardian?.release(id);
      },
    });
    this.held.set(id, lease);
    this.options.guardian?.hold(id);
    if (this.failure) lease.lose();
    this.check();
    return lease;
  }

  /**
   * etcd only knows that a holder is silent. A process of this very boot of this host can be looked at: it is
   * dead for certain when its pid is gone. Of other hosts nothing is certain, and time must tell.
   */
  suspect(leaseId: string): void {
    this.judge(leaseId).catch((error: unknown) => {
      this.options.log.info({ lease: leaseId, error: String(error) }, 'could not judge a suspected holder');
    });
  }

  /** Gives back the leases that are still held, as nobody will renew them. */
  async close(): Promise<void> {
    if (this.failure?.code === 'shutdown') return;
    const ends = [...this.held.values()].map((lease) => lease.revoke().catch(() => {}));
    if (ends.length > 0) {
      const { clock } = this.options;
      await Promise.race([Promise.all(ends), sleep(clock, CLOSE_LIMIT_MS)]);
    }
    this.options.guardian?.close();
    this.stop(new AppError('shutdown', 'the coordinator is closed'));
    this.members.close();
  }

  /** For tests: falls silent as a process that was killed does. Its leases end at their time. */
  abandon(): void {
    for (const lease of this.held.values()) lease.abandon();
    this.held.clear();
    this.stop(new AppError('shutdown', 'abandoned'));
    this.members.close();
  }

  /** One line for `dog` and logs. */
  describe(): string {
    const { address } = this.options;
    const trouble = this.failure ? `, failed: ${this.failure.message}` : '';
    const where = withoutPassword(formatEtcdAddress(address));
    return `${where}, revision ${this.follower.revision}, ${this.held.size} leases held here${trouble}`;
  }

  private check(): void {
    if (!this.failure) return;
    throw new AppError(this.failure.code, this.failure.message);
  }

  private async read(path: string): Promise<RangeResponse['kvs'][number] | undefined> {
    const response = await this.members.repeatable<RangeResponse>('range', { key: Buffer.from(path) });
    return response.kvs[0];
  }

  /** So that others on this host can look whether the holder lives, and the holder whether the lease does. */
  private async nameHolder(id: string): Promise<void> {
    const value = this.options.processes.selfIdentity();
    const request = txnRequest(this.space.leases, [], [{ type: 'put', key: id, value, lease: id }]);
    await this.members.repeatable<TxnResponse>('txn', request);
  }

  /** One member gets little time, so that another is asked before the lease's validity ends. */
  private async renew(wireId: string, ttlMs: number): Promise<boolean> {
    const options = { limitMs: ttlMs, tryLimitMs: ttlMs / 4 };
    const answer = await this.members.exchange<LeaseKeepAliveResponse>(
      'leaseKeepAlive',
      { id: wireId },
      options,
    );
    return Number(answer.ttl) > 0;
  }

  private async endLease(wireId: string): Promise<void> {
    try {
      await this.members.repeatable('leaseRevoke', { id: wireId });
    } catch (error) {
      // Not known any more: it has ended.
      if (!AppError.isCode(error, 'cluster-error')) throw error;
    }
  }

  private async judge(leaseId: string): Promise<void> {
    const { clock, log, processes } = this.options;
    const holder = (await this.read(this.space.leases + leaseId))?.value.toString();
    if (holder === undefined || !isOfThisBoot(holder, processes.selfIdentity())) return;
    for (let looks = 0; looks < SUSPECT_LOOKS && !this.failure; looks++) {
      if (processes.liveness(holder) === 'dead') {
        log.info({ lease: leaseId, holder }, 'the holder of a lease is dead');
        return await this.endLease(BigInt(`0x${leaseId}`).toString());
      }
      await sleep(clock, SUSPECT_MS);
    }
  }

  /** Nothing can be known or decided any more: whoever holds a lease here must stop. */
  private onFailure(error: AppError): void {
    this.options.log.error({ error: error.message }, 'the coordinator failed');
    this.stop(error);
  }

  private stop(error: AppError): void {
    this.failure = error;
    this.follower.close();
    for (const lease of [...this.held.values()]) lease.lose();
    this.hub?.close();
  }
}

/** The first part of an identity is the boot id, which no two running kernels share (see LinuxProcesses). */
function isOfThisBoot(holder: string, self: string): boolean {
  return holder.split('/')[0] === self.split('/')[0];
}
