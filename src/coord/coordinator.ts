/**
 * The coordinator: a small linearizable key-value store with transactions, watches and leases (the model of
 * etcd v3). It holds membership, epochs, names and options; never data. Two drivers behind this interface pass
 * one conformance suite: `local` (embedded, one host) and `etcd` (the real one, for clusters of several hosts).
 */
export interface KeyValue {
  readonly key: string;
  readonly value: string;
  /** Revision of the transaction that wrote this value; revisions rise with every transaction that writes. */
  readonly modRevision: number;
  readonly createRevision: number;
  /** Lease the key is attached to, if any: the key vanishes with it. */
  readonly lease?: string;
}

export type Compare =
  | { key: string; exists: boolean }
  | { key: string; value: string }
  | { key: string; modRevision: number };

export type Op =
  | { type: 'put'; key: string; value: string; lease?: string }
  | { type: 'delete'; key: string }
  | { type: 'delete-prefix'; prefix: string };

export interface TxnResult {
  /** False: some comparison failed and nothing was written. */
  readonly ok: boolean;
  readonly revision: number;
}

export type WatchEvent =
  | { type: 'put'; kv: KeyValue; revision: number }
  | { type: 'delete'; key: string; revision: number };

export interface Watch {
  cancel(): void;
}

export interface Lease {
  readonly id: string;
  /**
   * The monotonic time until which the holder may act on this lease: counted from *before* the last renewal was
   * sent, less a margin. When it has passed, the holder must stop serving at once; others may act only later.
   * A time that had passed may move on when the lease turns out to have lived on (etcd was away for everybody).
   * It is 0 once the lease is known to be lost.
   */
  validUntilMs(): number;
  /** Resolves when the lease is known to be lost (expired, revoked). It never comes back: grant a new one. */
  readonly lost: Promise<void>;
  /** Gives the lease back; its keys vanish at once. */
  revoke(): Promise<void>;
}

export interface Coordinator {
  get(key: string): Promise<KeyValue | undefined>;
  list(prefix: string): Promise<{ entries: KeyValue[]; revision: number }>;
  /**
   * All comparisons hold: all operations happen at one revision; of several on one key the last one counts. A put
   * attached to a lease that is gone fails with AppError 'cluster-error'. At most 100 comparisons and 2,000
   * operations ('invalid'). Rejects with AppError 'network' when the outcome is unknown: then it may even happen
   * later, as long as its comparisons hold.
   */
  txn(compares: Compare[], ops: Op[]): Promise<TxnResult>;
  /**
   * Every change of keys under the prefix with revision > afterRevision, in order, none missed, one call per
   * revision. `list` and a watch from its revision together give an exact mirror. Never calls back before it
   * returns. Throws AppError 'again' when so old a history is not kept: list again.
   */
  watch(prefix: string, afterRevision: number, onEvents: (events: WatchEvent[]) => void): Watch;
  grantLease(ttlMs: number): Promise<Lease>;
  /**
   * A hint that the holder of this lease seems dead (its address refuses): the driver checks and, if certain, expires
   * it at once.
   */
  suspect(leaseId: string): void;
  close(): Promise<void>;
}
