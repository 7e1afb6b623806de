/**
 * Records that travel in payloads of the sheepdog protocol, and the attribute object (reference, 2.4 to 2.7, 5.5, 7).
 */
import { layout } from './layout.js';

/** Identity of a node: address (IPv4 in the last four of 16 bytes, see address.ts) and port; plain LE integers. */
export const nodeId = layout(40, [
  ['address', 'bytes', 16],
  ['port', 'u16'],
  ['ioAddress', 'bytes', 16],
  /** 0: no second network. */
  ['ioPort', 'u16'],
  ['pad', 'pad', 4],
]);

/** sd_node. The first 24 bytes are pointers of the sender's process in the original: we send zeros and ignore them. */
export const sdNode = layout(80, [
  ['pointers', 'pad', 24],
  ['address', 'bytes', 16],
  ['port', 'u16'],
  ['ioAddress', 'bytes', 16],
  ['ioPort', 'u16'],
  ['pad', 'pad', 4],
  /** 0: gateway only. */
  ['vnodes', 'u16'],
  ['pad2', 'pad', 2],
  ['zone', 'u32'],
  ['spaceBytes', 'u64'],
]);

/** One record of STAT_CLUSTER, followed by nodes_nr nodes. Most fields are filled in the first record only. */
export const epochLog = layout(48, [
  ['ctime', 'u64'],
  /** Seconds since 1970. */
  ['time', 'u64'],
  ['epoch', 'u32'],
  ['nodeCount', 'u32'],
  ['disableRecovery', 'u8'],
  ['copies', 'u8'],
  ['copyPolicy', 'u8'],
  ['pad', 'pad', 3],
  ['flags', 'u16'],
  ['driverName', 'text', 16],
]);

/** Head of CLUSTER_INFO; room for CLUSTER_INFO_NODES nodes follows, unused ones zero. */
export const clusterInfoHead = layout(48, [
  ['protoVersion', 'u8'],
  ['disableRecovery', 'u8'],
  ['nodeCount', 'i16'],
  ['epoch', 'u32'],
  ['ctime', 'u64'],
  ['flags', 'u16'],
  ['copies', 'u8'],
  ['copyPolicy', 'u8'],
  ['status', 'u8'],
  ['blockSizeShift', 'u8'],
  ['pad', 'pad', 3],
  ['defaultStore', 'text', 16],
  ['pad2', 'pad', 7],
]);
export const CLUSTER_INFO_NODES = 6144;
export const CLUSTER_INFO_BYTES = 491_568;

const PARTICIPANTS = 31;

/** Entry of GET_VDI_COPIES. */
export const vdiState = layout(1428, [
  ['vid', 'u32'],
  ['copies', 'u8'],
  ['snapshot', 'u8'],
  ['deleted', 'u8'],
  ['copyPolicy', 'u8'],
  ['blockSizeShift', 'u8'],
  ['pad', 'pad', 3],
  ['parentVid', 'u32'],
  /** LockState. */
  ['lockState', 'u32'],
  /** A nodeId record. */
  ['lockOwner', 'bytes', 40],
  ['participantCount', 'u32'],
  /** u32 each: 1 modified, 2 shared, 3 invalidated. */
  ['participantStates', 'bytes', PARTICIPANTS * 4],
  ['participants', 'bytes', PARTICIPANTS * 40],
]);

/** One disk in MD_INFO. */
export const mdDisk = layout(4120, [
  ['index', 'u32'],
  ['pad', 'pad', 4],
  ['freeBytes', 'u64'],
  ['usedBytes', 'u64'],
  ['path', 'text', 4096],
]);
export const MD_DISKS_MAX = 64;
/** Disks, then their count as u32 and four bytes of padding. data_length of MD_INFO must be exactly this. */
export const MD_INFO_BYTES = 263_688;
export const MD_COUNT_OFFSET = 263_680;

export const ATTR_VALUE_BYTES = 65_536;

/** The attribute object; also the payload of GET_VDI_ATTR. A deleted one has a zero as its first byte. */
export const attribute = layout(66_320, [
  ['name', 'text', 256],
  ['tag', 'text', 256],
  ['ctime', 'u64'],
  ['snapId', 'u32'],
  ['valueLength', 'u32'],
  ['key', 'text', 256],
  ['value', 'bytes', ATTR_VALUE_BYTES],
]);

/** Answer of STAT_RECOVERY. */
export const recoveryState = layout(24, [
  ['inRecovery', 'u8'],
  ['pad', 'pad', 3],
  /** 0 preparing the list, 1 recovering, 2 notifying. */
  ['state', 'u32'],
  ['finished', 'u64'],
  ['total', 'u64'],
]);

/** Payload of GET_RECOVERY and SET_RECOVERY. */
export const recoveryThrottle = layout(24, [
  ['execCountMax', 'u32'],
  ['pad', 'pad', 4],
  ['intervalMs', 'u64'],
  ['throttling', 'u8'],
  ['pad2', 'pad', 7],
]);

/** Answer of STAT: counters of one node. */
export const nodeStat = layout(120, [
  ['gatewayActive', 'u64'],
  ['peerActive', 'u64'],
  ['gatewayTotal', 'u64'],
  ['peerTotal', 'u64'],
  ['gatewayRxBytes', 'u64'],
  ['gatewayTxBytes', 'u64'],
  ['peerRxBytes', 'u64'],
  ['peerTxBytes', 'u64'],
  ['gatewayRemove', 'u64'],
  ['gatewayRead', 'u64'],
  ['gatewayWrite', 'u64'],
  ['gatewayFlush', 'u64'],
  ['peerRemove', 'u64'],
  ['peerRead', 'u64'],
  ['peerWrite', 'u64'],
]);
