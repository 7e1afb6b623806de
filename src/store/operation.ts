/** One request on its way through the writer, and what planning made of it. */
import type { RecordType } from './journal-record.js';
import type { StoredObject } from './object-file.js';
import type { WriteMode } from './object-store.js';

/** Whole blocks that change together: one journal record each. */
export interface Part {
  readonly type: RecordType;
  readonly firstBlock: number;
  readonly blockCount: number;
  readonly checksums: Uint32Array;
  /** Bytes of the blocks, for image and direct. */
  readonly buffers: readonly Uint8Array[];
}

export interface Operation {
  readonly kind: 'write' | 'zero' | 'remove' | 'touch' | 'adopt';
  readonly oid: bigint;
  readonly objectBytes: number;
  readonly mode: WriteMode;
  readonly parent: bigint | undefined;
  readonly epoch: number;
  readonly offset: number;
  readonly length: number;
  readonly data: Uint8Array | undefined;
  readonly allocate: boolean;
  /** For adopt. */
  readonly blocks: readonly number[];
  readonly sync: boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;

  // What planning found; valid from there until the operation is applied.
  object: StoredObject | undefined;
  parts: readonly Part[];
  /** The object is made anew (with `instance`). */
  creates: boolean;
  instance: number;
  /** Not applied before its batch is durable: see writer.ts. */
  waits: boolean;
}
