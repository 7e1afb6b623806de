/**
 * The 48-byte headers of the sheepdog protocol (reference, sections 1.2 and 1.3): sixteen common bytes, then 32 that
 * depend on the operation. Every variant is a table of the whole header, so it encodes in one call.
 */
import { layout, type RecordOf } from './layout.js';

export const HEADER_BYTES = 48;
/** Offset of `result` in every answer, whatever its variant. */
export const RESULT_OFFSET = 16;

const common = [
  ['version', 'u8'],
  ['opcode', 'u8'],
  ['flags', 'u16'],
  /** Requests of clients: ignored. Answers: the server's epoch. */
  ['epoch', 'u32'],
  /** Chosen by the client, echoed in the answer. */
  ['id', 'u32'],
  /** With the WRITE flag: bytes that follow. Without: size of the client's buffer for the answer. */
  ['dataLength', 'u32'],
] as const;

/** Only the sixteen bytes that every request and answer has. */
export const commonHeader = layout(16, common);
export type CommonHeader = RecordOf<typeof common>;

/** Request: object I/O. QEMU's 64-bit offset ends in `offsetHigh`, which is zero because offsets stay in an object. */
export const objRequest = layout(HEADER_BYTES, [
  ...common,
  ['oid', 'u64'],
  ['cowOid', 'u64'],
  ['copies', 'u8'],
  ['copyPolicy', 'u8'],
  ['ecIndex', 'u8'],
  ['reserved', 'pad', 1],
  ['tgtEpoch', 'u32'],
  ['offset', 'u32'],
  ['offsetHigh', 'u32'],
]);

/** Request: NEW_VDI, LOCK_VDI, RELEASE_VDI, GET_VDI_INFO, DEL_VDI, GET_VDI_ATTR. */
export const vdiRequest = layout(HEADER_BYTES, [
  ...common,
  ['vdiSize', 'u64'],
  ['baseVid', 'u32'],
  ['copies', 'u8'],
  ['copyPolicy', 'u8'],
  ['storePolicy', 'u8'],
  ['blockSizeShift', 'u8'],
  ['snapId', 'u32'],
  ['type', 'u32'],
  ['unused', 'pad', 8],
]);

/** Request: MAKE_FS, STAT_CLUSTER, ALTER_CLUSTER_COPY and other cluster operations. */
export const clusterRequest = layout(HEADER_BYTES, [
  ...common,
  ['oid', 'u64'],
  ['ctime', 'u64'],
  ['copies', 'u8'],
  ['copyPolicy', 'u8'],
  ['clusterFlags', 'u16'],
  ['tag', 'u32'],
  ['nodeCount', 'u32'],
  ['blockSizeShift', 'u8'],
  ['reserved', 'pad', 3],
]);

/** Request: ALTER_VDI_COPY, NOTIFY_VDI_ADD. */
export const vdiStateRequest = layout(HEADER_BYTES, [
  ...common,
  ['oldVid', 'u32'],
  ['newVid', 'u32'],
  ['copies', 'u8'],
  ['setBitmap', 'u8'],
  ['copyPolicy', 'u8'],
  ['blockSizeShift', 'u8'],
  ['unused', 'pad', 20],
]);

export const refRequest = layout(HEADER_BYTES, [
  ...common,
  ['oid', 'u64'],
  ['generation', 'u32'],
  ['count', 'u32'],
  ['unused', 'pad', 16],
]);

/** Request: REPAIR_REPLICA. */
export const forwRequest = layout(HEADER_BYTES, [
  ...common,
  ['oid', 'u64'],
  ['address', 'bytes', 16],
  ['port', 'u16'],
  ['unused', 'pad', 6],
]);

export const checkpointRequest = layout(HEADER_BYTES, [
  ...common,
  ['get', 'u32'],
  ['tgtEpoch', 'u32'],
  ['vid', 'u32'],
  ['unused', 'pad', 20],
]);

export const coherenceRequest = layout(HEADER_BYTES, [
  ...common,
  ['vid', 'u32'],
  ['validate', 'u32'],
  ['unused', 'pad', 24],
]);

/** Answer without anything of its own. */
export const plainResponse = layout(HEADER_BYTES, [...common, ['result', 'u32'], ['unused', 'pad', 28]]);

export const objResponse = layout(HEADER_BYTES, [
  ...common,
  ['result', 'u32'],
  ['copies', 'u8'],
  ['reserved', 'pad', 3],
  ['offset', 'u64'],
  ['unused', 'pad', 16],
]);

export const vdiResponse = layout(HEADER_BYTES, [
  ...common,
  ['result', 'u32'],
  ['reserved', 'pad', 4],
  ['vid', 'u32'],
  ['attrId', 'u32'],
  ['copies', 'u8'],
  ['blockSizeShift', 'u8'],
  ['reserved2', 'pad', 2],
  ['unused', 'pad', 12],
]);

/** Answer: GET_NODE_LIST, STAT_SHEEP. */
export const nodeResponse = layout(HEADER_BYTES, [
  ...common,
  ['result', 'u32'],
  ['nodeCount', 'u32'],
  ['reserved', 'pad', 8],
  ['storeBytes', 'u64'],
  ['freeBytes', 'u64'],
]);

/** Answer: GET_HASH. */
export const hashResponse = layout(HEADER_BYTES, [
  ...common,
  ['result', 'u32'],
  ['reserved', 'pad', 4],
  ['digest', 'bytes', 20],
  ['unused', 'pad', 4],
]);

/** Answer: GET_CLUSTER_DEFAULT. */
export const clusterDefaultResponse = layout(HEADER_BYTES, [
  ...common,
  ['result', 'u32'],
  ['copies', 'u8'],
  ['copyPolicy', 'u8'],
  ['blockSizeShift', 'u8'],
  ['unused', 'pad', 25],
]);
