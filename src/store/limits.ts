import { alignUp, BLOCK_SIZE } from '../base/bytes.js';

/** Every queue, cache and reserve of the store, named (I-11). Tests and the simulator choose smaller ones. */
export interface StoreLimits {
  /** Size of each of the two journal segments. When both are full, writes wait for the checkpoint. */
  readonly segmentBytes: number;
  /** A run of whole blocks at least this long goes straight to the object; the journal keeps only checksums. */
  readonly directBytes: number;
  /** A dirty segment is checkpointed at this age. */
  readonly checkpointAgeMs: number;
  /** Objects synced at the same time by a checkpoint. */
  readonly checkpointParallel: number;
  /** Open files of objects, bases included; the least recently used clean objects are closed beyond it. */
  readonly maxOpenObjects: number;
  /** Memory of cached checksum tables; the same objects are closed beyond it. */
  readonly maxTableBytes: number;
  /** Objects changed in one journal segment; a checkpoint begins beyond it. */
  readonly maxActiveObjects: number;
  /** Operations accepted and not yet in the journal; more are refused with 'again'. */
  readonly maxQueuedOps: number;
  /** New data is refused when less room than this is free; undefined: the larger of 64 MiB and 1 % of the disk. */
  readonly reserveBytes: number | undefined;
  /** Journal bytes of one batch. */
  readonly maxBatchBytes: number;
  /** Objects named in one batch as uncommitted; more are cut off. */
  readonly maxUncommitted: number;
}

export const defaultLimits: StoreLimits = {
  segmentBytes: 64 << 20,
  directBytes: 64 << 10,
  checkpointAgeMs: 30_000,
  checkpointParallel: 4,
  maxOpenObjects: 4096,
  maxTableBytes: 128 << 20,
  maxActiveObjects: 8192,
  maxQueuedOps: 65_536,
  reserveBytes: undefined,
  maxBatchBytes: 4 << 20,
  maxUncommitted: 4096,
};

/** Journal segments are whole blocks, and large enough for a few batches. */
export function segmentSize(limits: StoreLimits): number {
  return Math.max(alignUp(limits.segmentBytes, BLOCK_SIZE), 32 * BLOCK_SIZE);
}
