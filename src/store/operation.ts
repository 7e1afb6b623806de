/** One request on its way through the writer, and what planning made of it. */
import type { Heritage } from './inherit.js';
import type { RecordType } from './journal-record.js';
import type { StoredObject } from './object-file.js';
import type { WriteMode } from './object-store.js';
import type { Writer } from './writer.js';

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
  /**
   * 'barrier' changes nothing: it is over when whatever came before it for its object is applied. 'confirm' tells the
   * journal what blocks are (refused-apply.ts).
   */
  readonly kind: 'write' | 'zero' | 'remove' | 'touch' | 'adopt' | 'spoil' | 'confirm' | 'barrier';
  readonly oid: bigint;
  readonly objectBytes: number;
  readonly mode: WriteMode;
  readonly parent: bigint | undefined;
  readonly whole: boolean;
  /** Who has the parent, when that is the store of another disk (disks/). */
  readonly source: Writer | undefined;
  readonly epoch: number;
  readonly offset: number;
  readonly length: number;
  readonly data: Uint8Array | undefined;
  /** Plain CRC-32 of each block of `data`, when known. */
  readonly dataSums: Uint32Array | undefined;
  readonly allocate: boolean;
  /** For adopt, spoil and confirm. */
  readonly blocks: readonly number[];
  /** For spoil: one for each of the blocks. */
  readonly sums: readonly number[];
  readonly sync: boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;

  // What planning found; valid from there until the operation is applied.
  object: StoredObject | undefined;
  parts: readonly Part[];
  /** The object is made anew (with `instance`). */
  creates: boolean;
  /** What it begins with, if not with holes. */
  heritage: Heritage | undefined;
  /** Whoever inherits blocks of the object is safe from what this does to its file (inherit.ts). */
  secured: boolean;
  instance: number;
  /** Not applied before its batch is durable: see writer.ts. */
  waits: boolean;
}

/** What planning an operation for the next batch led to. */
export type Verdict =
  /** In the batch. */
  | 'planned'
  /** Settled, or waiting elsewhere: not in the batch. */
  | 'aside'
  /** The batch has to be written and applied first. */
  | 'later';

/** What becomes an operation; what is left out has no meaning for its kind. */
export interface OperationRequest {
  readonly kind: Operation['kind'];
  readonly oid: bigint;
  readonly epoch: number;
  readonly objectBytes?: number;
  readonly mode?: WriteMode;
  readonly parent?: bigint | undefined;
  readonly whole?: boolean | undefined;
  readonly offset?: number;
  readonly length?: number;
  readonly data?: Uint8Array | undefined;
  readonly dataSums?: Uint32Array | undefined;
  readonly allocate?: boolean;
  readonly blocks?: readonly number[];
  readonly sums?: readonly number[];
  readonly sync?: boolean;
}

export function newOperation(
  request: OperationRequest,
  source: Writer | undefined,
  resolve: () => void,
  reject: (error: Error) => void,
): Operation {
  return {
    kind: request.kind,
    oid: request.oid,
    objectBytes: request.objectBytes ?? 0,
    mode: request.mode ?? 'update',
    parent: request.parent,
    whole: request.whole ?? false,
    source,
    epoch: request.epoch,
    offset: request.offset ?? 0,
    length: request.length ?? 0,
    data: request.data,
    dataSums: request.dataSums,
    allocate: request.allocate ?? false,
    blocks: request.blocks ?? [],
    sums: request.sums ?? [],
    sync: request.sync ?? false,
    resolve,
    reject,
    object: undefined,
    parts: [],
    creates: false,
    heritage: undefined,
    secured: false,
    instance: 0,
    waits: false,
  };
}
