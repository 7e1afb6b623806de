import { type Clock, sleep } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Compare, Op } from '../coordinator.js';
import type { Processes } from '../local/processes.js';
import { EtcdLease } from './etcd-lease.js';
import type { Guardian } from './guardian.js';
import { type KeySpace, leaseIdFrom, leaseText, parseLeaseText } from './key-space.js';
import type { CallOptions, Members } from './members.js';
import type { LeaseGrantResponse, LeaseKeepAliveResponse, RangeResponse, TxnResponse } from './messages.js';
import { txnRequest } from './txn-request.js';

/**
 * The etcd lease that keys are attached to does not end by itself while anybody is there to end it: no leader of etcd
 * is frozen for so long. It is renewed this often in its time.
 */
const KEYS_TTL_MS = 24 * 3_600_000;
const KEYS_RENEWALS = 6;
/** A suspected holder on this host is looked at this often, this many times: a killed process takes a moment. */
const SUSPECT_MS = 10;
const SUSPECT_LOOKS = 20;

export interface HeldLeasesOptions {
  readonly members: Members;
  readonly space: KeySpace;
  readonly clock: Clock;
  readonly log: Logger;
  readonly processes: Processes;
  /** Ends the leases of this process when it is killed. */
  readonly guardian?: Guardian;
}

/** The etcd leases behind one of ours. Ids are decimal, as etcd's API has them. */
interface Pair {
  /** All keys of the lease hang on it. */
  readonly keys: string;
  /** Short: tells that the holder lives. */
  alive: string;
  keysRenewedMs: number;
}

/** The leases of this handle, and the ends of those of others: the only place that knows what a lease is in etcd. */
export class HeldLeases {
  private readonly held = new Map<string, EtcdLease>();

  constructor(private readonly options: HeldLeasesOptions) {}

  get count(): number {
    return this.held.size;
  }

  async grant(ttlMs: number): Promise<EtcdLease> {
    const { clock, log, processes, guardian } = this.options;
    const sentMs = clock.nowMs();
    // Sent twice they make leases that nobody renews and that no key hangs on: they end by themselves.
    const keys = await this.grantInEtcd(KEYS_TTL_MS);
    const alive = await this.grantInEtcd(aliveTtlMs(ttlMs));
    const id = leaseIdFrom(keys);
    const pair: Pair = { keys, alive, keysRenewedMs: sentMs };
    const text = leaseText(ttlMs, processes.selfIdentity());
    await this.txn([], announcement(id, text, pair));
    const lease = new EtcdLease({
      ...{ clock, log, id, ttlMs, sentMs },
      renew: () => this.renew(id, pair, ttlMs, text),
      exists: async () => (await this.read(this.options.space.alive + id)) !== undefined,
      end: () => this.revoke(pair),
      onLost: () => {
        this.held.delete(id);
        guardian?.release(id);
      },
    });
    this.held.set(id, lease);
    guardian?.hold(id);
    return lease;
  }

  lose(id: string): void {
    this.held.get(id)?.lose();
  }

  loseAll(): void {
    for (const lease of [...this.held.values()]) lease.lose();
  }

  revokeAll(): Promise<unknown> {
    return Promise.all([...this.held.values()].map((lease) => lease.revoke().catch(() => {})));
  }

  /** For tests: nothing is renewed any more, and nobody is told. */
  abandonAll(): void {
    for (const lease of this.held.values()) lease.abandon();
    this.held.clear();
  }

  /**
   * Ends the lease of a holder that has been silent for its ttl. From the mark on it cannot be revived, so the holder,
   * should it wake, finds its lease lost.
   */
  async endSilent(id: string, modRevision: number): Promise<void> {
    const { log, space } = this.options;
    const stillSilent: Compare[] = [
      { key: `alive/${id}`, exists: false },
      { key: `lease/${id}`, modRevision },
    ];
    const marked = await this.txn(stillSilent, [{ type: 'put', key: `over/${id}`, value: '', lease: id }]);
    if (!marked) return;
    log.info({ lease: id, prefix: space.all }, 'ended the lease of a silent holder');
    await this.endInEtcd(wireIdOf(id));
  }

  /**
   * A process of this very boot of this host can be looked at: it is dead for certain when its pid is gone. Of other
   * hosts nothing is certain, and time must tell.
   */
  async judge(id: string, isWanted: () => boolean): Promise<void> {
    const { clock, log, processes, space } = this.options;
    const text = await this.read(space.lease + id);
    if (text === undefined) return;
    const { holder } = parseLeaseText(text);
    if (!isOfThisBoot(holder, processes.selfIdentity())) return;
    for (let looks = 0; looks < SUSPECT_LOOKS && isWanted(); looks++) {
      if (processes.liveness(holder) === 'dead') {
        log.info({ lease: id, holder }, 'the holder of a lease is dead');
        return await this.endInEtcd(wireIdOf(id));
      }
      await sleep(clock, SUSPECT_MS);
    }
  }

  /** One member gets little time, so that another is asked before the lease's validity ends. */
  private async renew(id: string, pair: Pair, ttlMs: number, text: string): Promise<boolean> {
    const { clock } = this.options;
    const limits = { limitMs: ttlMs, tryLimitMs: ttlMs / 4 };
    const nowMs = clock.nowMs();
    if (nowMs - pair.keysRenewedMs > KEYS_TTL_MS / KEYS_RENEWALS) {
      if (!(await this.keepAlive(pair.keys, limits))) return false;
      pair.keysRenewedMs = nowMs;
    }
    return (await this.keepAlive(pair.alive, limits)) || (await this.revive(id, pair, ttlMs, text));
  }

  /** Silent for too long, or so etcd thinks: until somebody has ended the lease, its holder may be heard again. */
  private async revive(id: string, pair: Pair, ttlMs: number, text: string): Promise<boolean> {
    const alive = await this.grantInEtcd(aliveTtlMs(ttlMs));
    const notOver: Compare[] = [
      { key: `over/${id}`, exists: false },
      { key: `lease/${id}`, exists: true },
    ];
    try {
      if (!(await this.txn(notOver, announcement(id, text, { ...pair, alive })))) return false;
    } catch (error) {
      if (AppError.isCode(error, 'cluster-error')) return false;
      throw error;
    }
    this.options.log.info({ lease: id }, 'revived a lease that etcd had ended');
    pair.alive = alive;
    return true;
  }

  private async revoke(pair: Pair): Promise<void> {
    await this.endInEtcd(pair.keys);
    await this.endInEtcd(pair.alive);
  }

  private async grantInEtcd(ttlMs: number): Promise<string> {
    // Whole seconds.
    const request = { ttl: Math.ceil(ttlMs / 1000) };
    return (await this.options.members.repeatable<LeaseGrantResponse>('leaseGrant', request)).id;
  }

  private async keepAlive(wireId: string, limits: CallOptions): Promise<boolean> {
    const { members } = this.options;
    const answer = await members.exchange<LeaseKeepAliveResponse>('leaseKeepAlive', { id: wireId }, limits);
    return Number(answer.ttl) > 0;
  }

  private async endInEtcd(wireId: string): Promise<void> {
    try {
      await this.options.members.repeatable('leaseRevoke', { id: wireId });
    } catch (error) {
      // Not known any more: it has ended.
      if (!AppError.isCode(error, 'cluster-error')) throw error;
    }
  }

  /** Of keys beside those of the users. Done twice these are as good as once. */
  private async txn(compares: Compare[], ops: Op[]): Promise<boolean> {
    const { members, space } = this.options;
    const request = txnRequest(space.all, compares, ops);
    return (await members.repeatable<TxnResponse>('txn', request)).succeeded;
  }

  private async read(path: string): Promise<string | undefined> {
    const response = await this.options.members.repeatable<RangeResponse>('range', {
      key: Buffer.from(path),
    });
    return response.kvs[0]?.value.toString();
  }
}

/** What says that a lease is there and its holder lives: at one revision. */
function announcement(id: string, text: string, pair: Pair): Op[] {
  return [
    { type: 'put', key: `lease/${id}`, value: text, lease: id },
    { type: 'put', key: `alive/${id}`, value: '', lease: leaseIdFrom(pair.alive) },
  ];
}

/** After its end others wait a ttl: together not much more than one. Too short does no harm, see `revive`. */
function aliveTtlMs(ttlMs: number): number {
  return ttlMs / 2;
}

function wireIdOf(id: string): string {
  return BigInt(`0x${id}`).toString();
}

/** The first part of an identity is the boot id, which no two running kernels share (see LinuxProcesses). */
function isOfThisBoot(holder: string, self: string): boolean {
  return holder.split('/')[0] === self.split('/')[0];
}
