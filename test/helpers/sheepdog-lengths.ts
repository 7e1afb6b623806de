/** For each operation of the protocol the length that a right request has (reference, 2.3 to 2.5), for wrong ones. */
import { CLUSTER_INFO_BYTES, MD_INFO_BYTES } from '../../src/wire/records.js';
import { NODE_LIST_BYTES, Op, VDI_BITMAP_BYTES } from '../../src/wire/sheepdog.js';

const right: ReadonlyMap<number, number> = new Map([
  [Op.CREATE_AND_WRITE_OBJ, 4096],
  [Op.READ_OBJ, 4096],
  [Op.WRITE_OBJ, 4096],
  [Op.NEW_VDI, 256],
  [Op.LOCK_VDI, 512],
  [Op.GET_VDI_INFO, 512],
  [Op.DEL_VDI, 512],
  [Op.READ_VDIS, VDI_BITMAP_BYTES],
  [Op.READ_DEL_VDIS, VDI_BITMAP_BYTES],
  [Op.GET_VDI_ATTR, 66_320],
  [Op.GET_NODE_LIST, NODE_LIST_BYTES],
  [Op.STAT_CLUSTER, 48],
  [Op.FORCE_RECOVER, NODE_LIST_BYTES],
  [Op.GET_STORE_LIST, 512],
  [Op.STAT_RECOVERY, 24],
  [Op.GET_RECOVERY, 24],
  [Op.SET_RECOVERY, 24],
  [Op.GET_VDI_COPIES, 1428],
  [Op.MD_INFO, MD_INFO_BYTES],
  [Op.STAT, 120],
  [Op.GET_LOGLEVEL, 4],
  [Op.SET_LOGLEVEL, 4],
  [Op.SET_VNODES, 4],
  [Op.GET_VNODES, 4],
  [Op.CLUSTER_INFO, CLUSTER_INFO_BYTES],
  [Op.OIDS_EXIST, 80],
  [Op.GET_EPOCH, 88],
  [Op.COMPLETE_RECOVERY, 80],
  [Op.NOTIFY_VDI_DEL, 4],
]);

/** Bytes of payload or of room in a right request; 48 where any length is as good as another. */
export function rightLength(opcode: number): number {
  return right.get(opcode) ?? 48;
}

export const ANY_LENGTH_MAX = 0xffffffff;

/** Lengths that must not hurt, the right one among them; all of them short enough to be sent as payload. */
export function lengthsOf(opcode: number): number[] {
  const n = rightLength(opcode);
  return [...new Set([0, 1, n - 1, n, n + 1])];
}

/** Operations that do what they say, with consequences for all tests: they stop a sheep or wipe the cluster. */
export const fatalOperations: ReadonlySet<number> = new Set([Op.SHUTDOWN, Op.KILL_NODE, Op.MAKE_FS]);
