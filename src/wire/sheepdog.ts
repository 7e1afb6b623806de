/**
 * The sheepdog protocol as numbers: port, versions, flags, limits (reference, sections 1, 2 and 4). Operations and
 * result codes have tables of their own; headers and records are in headers.ts and records.ts.
 */
export { nameOfOpcode, Op, type Operation, type OperationClass, operationOf } from './opcodes.js';
export { nameOfResult, Result, textOfResult } from './results.js';

export const SHEEPDOG_PORT = 7000;

/** proto_ver of operations below 0x80: 0 means "not stated", 1 and 2 are accepted. */
export const CLIENT_VERSION_MAX = 2;
/** proto_ver of operations from 0x80 on: exactly this. */
export const SHEEP_VERSION = 0x0a;
export const SHEEP_OPCODE_MIN = 0x80;

/** Flags of a request (16 bits). Some share a bit and differ by operation. */
export const Flag = {
  /** A payload of data_length bytes follows the request. */
  WRITE: 0x0001,
  /** CREATE_AND_WRITE_OBJ: start from a copy of cow_oid. */
  COW: 0x0002,
  /** The client is in write-back mode: it will send FLUSH_VDI when it needs durability. */
  CACHE: 0x0004,
  DIRECT: 0x0008,
  /** Payload both ways (OIDS_EXIST). */
  PIGGYBACK: 0x0010,
  /** From tgt: check whether the inode it knows is still the newest. */
  TGT: 0x0020,
  FWD: 0x0040,
  RECOVERY: 0x0080,
  /** Peer reads. */
  WILDCARD: 0x0100,
  /** GET_VDI_ATTR. */
  CREAT: 0x0100,
  EXCL: 0x0200,
  DEL: 0x0400,
} as const;

export const COPIES_MAX = 31;
export const BLOCK_SIZE_SHIFT_MIN = 20;
export const BLOCK_SIZE_SHIFT_MAX = 31;
export const BLOCK_SIZE_SHIFT_DEFAULT = 22;
export const COPIES_DEFAULT = 3;

/** Bit n of the map = vid n is in use; data_length of READ_VDIS and READ_DEL_VDIS must be exactly this. */
export const VDI_BITMAP_BYTES = 2_097_152;
/** data_length `dog` asks GET_NODE_LIST with: room for 6144 nodes. */
export const NODE_LIST_BYTES = 491_520;

/** Type of LOCK_VDI and RELEASE_VDI. */
export const LockType = { normal: 0, shared: 1 } as const;

/** Lock state in a vdi_state record. */
export const LockState = { unlocked: 1, locked: 2, shared: 3 } as const;

/** Status in a cluster_info record. */
export const ClusterStatus = { ok: 1, wait: 2, shutdown: 3, killed: 4 } as const;

/** Flags of a cluster_info record. */
export const ClusterFlag = {
  STRICT: 0x01,
  DISKMODE: 0x02,
  AUTO_VNODES: 0x04,
  USE_LOCK: 0x08,
  RECYCLE_VID: 0x10,
  AVOID_DISKFULL: 0x20,
} as const;

/** Whether a request's proto_ver is one its operation may carry; otherwise VER_MISMATCH, before anything else. */
export function versionAccepted(opcode: number, version: number): boolean {
  return opcode < SHEEP_OPCODE_MIN ? version <= CLIENT_VERSION_MAX : version === SHEEP_VERSION;
}

/** Largest size of a volume with an index array. A number: below 2^53 for every allowed shift. */
export function vdiBytesMax(blockSizeShift: number): number {
  return 2 ** (blockSizeShift + 20);
}
