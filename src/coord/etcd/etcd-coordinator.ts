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
import { Follower } from './follower.js';
import type { Guardian } from './guardian.js';
import { HeldLeases } from './held-leases.js';
import { type KeySpace, keySpaceOf, keyValueFrom, listAll } from './key-space.js';
import { LeaseReaper } from './lease-reaper.js';
import { Members } from './members.js';
import type { RangeResponse, TxnResponse } from './messages.js';
import { txnRequest } from './txn-request.js';

/** What is given back at the end may take this long; what is not ends by itself. */
const CLOSE_LIMIT_MS = 1000;

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
  private readonly leases: HeldLeases;
  private readonly reaper: LeaseReaper;
  private hub: WatchHub | undefined;
  private failure: AppError | undefined;

  private constructor(private readonly options: EtcdCoordinatorOptions) {
    const { address, clock, random, log } = options;
    this.members = new Members({ address, clock, random, log });
    this.space = keySpaceOf(address);
    const { members, space } = this;
    const { processes, guardian } = options;
    this.leases = new HeldLeases({ members, space, clock, log, processes, ...(guardian && { guardian }) });
    this.reaper = new LeaseReaper(clock, (id, modRevision) => this.leases.endSilent(id, modRevision));
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
        onLeaseGone: (id) => this.leases.lose(id),
        onLeases: (leases, alive) => this.reaper.update(leases, alive),
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
    const lease = await this.leases.grant(ttlMs);
    if (this.failure) lease.lose();
    this.check();
    return lease;
  }

  /** Ends the lease at once when its holder was a process of this host and is dead for certain. */
  suspect(leaseId: string): void {
    this.leases
      .judge(leaseId, () => this.failure === undefined)
      .catch((error: unknown) => {
        this.options.log.info({ lease: leaseId, error: String(error) }, 'could not judge a suspected holder');
      });
  }

  /** Gives back the leases that are still held, as nobody will renew them. */
  async close(): Promise<void> {
    if (this.failure?.code === 'shutdown') return;
    const { clock } = this.options;
    if (this.leases.count > 0) await Promise.race([this.leases.revokeAll(), sleep(clock, CLOSE_LIMIT_MS)]);
    this.options.guardian?.close();
    this.stop(new AppError('shutdown', 'the coordinator is closed'));
    this.members.close();
  }

  /** For tests: falls silent as a process that was killed does. Its leases end at their time. */
  abandon(): void {
    this.leases.abandonAll();
    this.stop(new AppError('shutdown', 'abandoned'));
    this.members.close();
  }

  /** One line for `dog` and logs. */
  describe(): string {
    const { address } = this.options;
    const trouble = this.failure ? `, failed: ${this.failure.message}` : '';
    const where = withoutPassword(formatEtcdAddress(address));
    return `${where}, revision ${this.follower.revision}, ${this.leases.count} leases held here${trouble}`;
  }

  private check(): void {
    if (!this.failure) return;
    throw new AppError(this.failure.code, this.failure.message);
  }

  private async read(path: string): Promise<RangeResponse['kvs'][number] | undefined> {
    const response = await this.members.repeatable<RangeResponse>('range', { key: Buffer.from(path) });
    return response.kvs[0];
  }

  /** Nothing can be known or decided any more: whoever holds a lease here must stop. */
  private onFailure(error: AppError): void {
    this.options.log.error({ error: error.message }, 'the coordinator failed');
    this.stop(error);
  }

  private stop(error: AppError): void {
    this.failure = error;
    this.follower.close();
    this.reaper.stop();
    this.leases.loseAll();
    this.hub?.close();
  }
}
