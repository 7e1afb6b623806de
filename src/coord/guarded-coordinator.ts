import { AppError } from '../base/errors.js';
import type {
  Compare,
  Coordinator,
  KeyValue,
  Lease,
  Op,
  TxnResult,
  Watch,
  WatchEvent,
} from './coordinator.js';
import { isEtcdAddress } from './etcd/address.js';
import { type KnownStanding, parseStanding, readStanding, STANDING_KEY } from './standing.js';

export type Driver = 'local' | 'etcd';

/** `etcd` for addresses that begin with etcd:// or etcds://, `local` for paths. */
export function driverOf(address: string): Driver {
  return isEtcdAddress(address) ? 'etcd' : 'local';
}

/**
 * A coordinator as sheep use it: nothing can be written through it unless it is in force at that very moment. Each
 * transaction compares the standing as well, so a process that slept while the cluster moved writes nothing into
 * the coordinator that was left (its leases had ended before).
 */
export class GuardedCoordinator implements Coordinator {
  private readonly standingWatch: Watch;
  private told = false;

  private constructor(
    private readonly inner: Coordinator,
    /** Where it is: a path, or an etcd address. */
    readonly address: string,
    private known: KnownStanding,
    revision: number,
    onLeaving: () => void,
  ) {
    this.standingWatch = inner.watch(STANDING_KEY, revision, (events) => {
      const last = events.filter((event) => event.type === 'put' && event.kv.key === STANDING_KEY).at(-1);
      const text = last?.type === 'put' ? last.kv.value : undefined;
      if (this.told || text === undefined || parseStanding(text).state === 'here') return;
      this.told = true;
      onLeaving();
    });
  }

  /** `onLeaving`: called once when the cluster begins to move away: give up everything, and open again. */
  static async over(inner: Coordinator, address: string, onLeaving: () => void): Promise<GuardedCoordinator> {
    const { revision } = await inner.list(STANDING_KEY);
    const known = await readStanding(inner);
    return new GuardedCoordinator(inner, address, known, revision, onLeaving);
  }

  get driver(): Driver {
    return driverOf(this.address);
  }

  get(key: string): Promise<KeyValue | undefined> {
    return this.inner.get(key);
  }

  list(prefix: string): Promise<{ entries: KeyValue[]; revision: number }> {
    return this.inner.list(prefix);
  }

  async txn(compares: Compare[], ops: Op[]): Promise<TxnResult> {
    for (;;) {
      const { known } = this;
      const guard = { key: STANDING_KEY, modRevision: known.modRevision };
      const result = await this.inner.txn([...compares, guard], ops);
      if (result.ok) return result;
      const now = await readStanding(this.inner);
      // The same now as then, as it never takes a former revision again: so it was a comparison of the caller's.
      if (now.modRevision === known.modRevision) return result;
      if (now.standing.state !== 'here') {
        throw new AppError('again', 'the coordinator of the cluster is being moved; nothing was changed');
      }
      this.known = now;
    }
  }

  watch(prefix: string, afterRevision: number, onEvents: (events: WatchEvent[]) => void): Watch {
    return this.inner.watch(prefix, afterRevision, onEvents);
  }

  grantLease(ttlMs: number): Promise<Lease> {
    return this.inner.grantLease(ttlMs);
  }

  suspect(leaseId: string): void {
    this.inner.suspect(leaseId);
  }

  close(): Promise<void> {
    this.standingWatch.cancel();
    return this.inner.close();
  }
}
