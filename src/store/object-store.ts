/**
 * What one node's store offers to the cluster layer above it: replicas of objects, by 64-bit object id. It knows
 * nothing of networks, volumes or other nodes. All offsets and lengths are bytes inside the object, any alignment.
 *
 * An object is a run of BLOCK_SIZE blocks, each a hole (reads as zeros) or data with a checksum that is salted with
 * (oid, block index), so that a misplaced block never verifies.
 */

/** How a write treats the object it names. */
export type WriteMode =
  /** The object must exist ('no-object' otherwise). */
  | 'update'
  /** Created as all holes when it is missing. */
  | 'ensure'
  /** Whatever was there is replaced: all holes, then this write. */
  | 'create'
  /** Replaced by a copy of `parent` (which must exist: 'no-object'), then this write. */
  | 'cow';

export interface StoreWrite {
  readonly oid: bigint;
  /** Size of the whole object; fixed at creation, checked afterwards. */
  readonly objectBytes: number;
  readonly mode: WriteMode;
  readonly parent?: bigint;
  /** Of a copy: every block of the parent is verified and copied; otherwise it may inherit them. */
  readonly whole?: boolean;
  /** Epoch this write is executed in; recorded as the object's last written epoch (D-5). */
  readonly epoch: number;
  readonly offset: number;
  /** Not changed by the caller until the promise settles. */
  readonly data: Uint8Array;
  /** CRC-32 of each block of `data` (base/block-sums), if known; only where `data` is whole blocks of the object. */
  readonly dataSums?: Uint32Array | undefined;
  /** Resolve only when durable. */
  readonly sync: boolean;
}

export interface StoreZero extends Omit<StoreWrite, 'data' | 'dataSums'> {
  readonly length: number;
  /** True: blocks stay or become allocated zeros. False: whole blocks become holes and their room is freed. */
  readonly allocate: boolean;
}

export interface BlockRun {
  readonly lengthBytes: number;
  readonly hole: boolean;
}

export interface StoreStats {
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** Room really occupied by objects. */
  readonly usedBytes: number;
  readonly journalSyncs: number;
  readonly journalBatches: number;
  readonly checksumErrors: number;
}

/** Thrown (as AppError 'checksum' with this as its cause) when stored blocks do not verify. */
export class BadBlocksError extends Error {
  override readonly name = 'BadBlocksError';
  constructor(
    readonly oid: bigint,
    /** Indexes of the blocks that do not verify. */
    readonly blocks: readonly number[],
  ) {
    super(
      `object ${oid.toString(16).padStart(16, '0')}: blocks ${blocks.join(', ')} do not match their checksums`,
    );
  }
}

export interface ObjectStore {
  /**
   * Verified bytes; past nothing: offset + length must lie inside the object. AppError 'no-object' | 'checksum' |
   * 'io'. Synchronous when the bytes are in memory.
   */
  read(oid: bigint, offset: number, length: number): Uint8Array | Promise<Uint8Array>;
  /**
   * Resolves when the bytes are where kill -9 cannot lose them (I-1), or durable with `sync`. Writes are applied in
   * the order of the calls. AppError 'no-object' | 'no-space' | 'checksum' (a partial block over a bad one) | 'io'.
   */
  write(request: StoreWrite): Promise<void>;
  zero(request: StoreZero): Promise<void>;
  /** Idempotent: a missing object is fine (and is still recorded as touched in this epoch). */
  remove(oid: bigint, epoch: number, sync: boolean): Promise<void>;
  /** Every write that resolved before this call is durable when it resolves. */
  flush(): Promise<void>;

  has(oid: bigint): boolean;
  objectBytes(oid: bigint): number | undefined;
  /** Data and holes over the whole object, merged runs; undefined when it is missing. */
  blockRuns(oid: bigint): BlockRun[] | undefined;
  /** A copy of the checksum of each block, 0 for a hole; undefined when it is missing. Same content <=> same table. */
  checksums(oid: bigint): Uint32Array | undefined;
  /**
   * Reads every block and verifies it; returns the bad ones, also those that the device cannot read. `fromDevice`: what
   * is in memory does not count (a scrub); the object's own checksums on the device are looked at too, and mended.
   */
  verify(oid: bigint, options?: { readonly fromDevice?: boolean }): Promise<number[]>;
  /**
   * Accepts the present bytes of blocks that do not verify, by recomputing their checksums: only for blocks that a
   * power cut left half written and no replica has better.
   */
  adopt(oid: bigint, blocks: readonly number[]): Promise<void>;
  /**
   * Blocks of which no replica has the content any more: from now on they read as bad here too, and `sums` (one for
   * each) tells their content apart should a replica turn up that has it. 'no-object'.
   */
  spoil(oid: bigint, blocks: readonly number[], sums: readonly number[], epoch: number): Promise<void>;
  /** All object ids, or those of one version, in no order; streams from the directory, memory stays flat. */
  objects(vid?: number): AsyncIterable<bigint>;

  /**
   * Objects (removed ones too) touched in any epoch >= `epoch`, each once. What a node that was away since that
   * epoch has to compare (D-5).
   */
  touchedSince(epoch: number): Promise<bigint[]>;
  /** Records the object as touched in the epoch without changing it. */
  touch(oid: bigint, epoch: number): Promise<void>;
  /** Forgets which objects were touched in epochs < `epoch`: everybody has caught up. */
  forgetTouchedBefore(epoch: number): Promise<void>;

  /**
   * The journal asks, for each batch, which objects have writes in flight that are not known to be on every replica;
   * the list is stored with the batch, so that after a crash `suspects` names them. At most a few hundred.
   */
  setUncommittedSource(source: () => readonly bigint[]): void;
  /**
   * Objects whose content may differ from the other replicas': after kill -9, those with uncommitted writes in the
   * last batch or written by it; after a power cut, all objects with any journal record since the last checkpoint.
   * Kept on disk across restarts until cleared.
   */
  suspects(): ReadonlySet<bigint>;
  clearSuspects(oids: readonly bigint[]): Promise<void>;
  /** A suspect of which blocks may be half written: the power went, not just the process. */
  mayBeTorn(oid: bigint): boolean;

  /**
   * True when the machine's boot id changed since this store was open and it had not been closed cleanly, or durable
   * journal batches were lost. It stays so over restarts until clearLossy.
   */
  readonly lossy: boolean;
  clearLossy(): Promise<void>;

  /**
   * True when objects that this node should hold may be missing: one of its several disks was lost. It stays so over
   * restarts, until clearIncomplete. Always false for a store on one disk, which is there or is not.
   */
  readonly incomplete: boolean;
  /**
   * The listener is called at once, inside the operation that found out, when a disk is lost while the store is open
   * (also another one while `incomplete` is true already). From then on nobody may be told that an object which is not
   * found does not exist: whatever concerns such an object throws or rejects with 'again', and flush waits. In-flight
   * operations of the lost disk reject with 'again'. This ends with admitIncomplete.
   */
  onIncomplete(listener: (reason: Error) => void): void;
  /**
   * The cluster no longer takes this node for one that has everything: what is not found counts as missing from now
   * on. To be called when the node has entered an epoch that knows of the loss. Without a loss it does nothing.
   */
  admitIncomplete(): void;
  /**
   * This node has got back everything that it should hold: durable when it resolves. Does nothing while a loss has
   * not been admitted (it happened after the comparison that the caller speaks of).
   */
  clearIncomplete(): Promise<void>;
  readonly stats: () => StoreStats;
  /** Resolves with the error that stopped the store (a failed sync or journal write); it never heals by itself. */
  readonly failed: Promise<Error>;
  /** Checkpoints and marks the store clean. */
  close(): Promise<void>;
}
