/** Operations that are not carried out, and why: the log says it, because a result code cannot. */
import type { Logger } from '../../base/log.js';
import { nameOfOpcode, Op, Result } from '../../wire/sheepdog.js';
import type { Answer } from '../operation.js';
import { answerOf, invalid, type OperationTable } from './answers.js';

export type Refuse = (opcode: number, reason: string) => Answer;

const PEER = 'sheep of a Sheepfold cluster do not speak to each other by this operation';
const COUNTS = 'sharing is computed from indexes, there are no reference counts to lower';

const LOCAL =
  'disks are plugged by `dog node md plug` on the machine itself: who reaches a port names no paths';

/** NO_SUPPORT, whatever the request carries. */
const unsupported: readonly (readonly [opcode: number, reason: string])[] = [
  [Op.REWEIGHT, 'weights of nodes are set one by one, and do not follow the size of their disks'],
  [Op.MD_PLUG, LOCAL],
  [Op.MD_UNPLUG, LOCAL],
  [Op.CREATE_AND_WRITE_PEER, PEER],
  [Op.WRITE_PEER, PEER],
  [Op.REMOVE_PEER, PEER],
  [Op.COMPLETE_RECOVERY, PEER],
  [Op.NOTIFY_VDI_ADD, PEER],
  [Op.NOTIFY_VDI_DEL, PEER],
  [Op.INODE_COHERENCE, PEER],
  [Op.VDI_STATE_CHECKPOINT_CTL, PEER],
  [Op.DECREF_OBJ, COUNTS],
  [Op.DECREF_PEER, COUNTS],
];

/** INVALID_PARMS: the original has the number and not the operation, or has it in builds with NFS only. */
const gone: readonly number[] = [
  Op.SNAPSHOT,
  Op.RESTORE,
  Op.GET_SNAP_FILE,
  Op.FLUSH_NODES,
  Op.FLUSH_PEER,
  Op.GET_CACHE_INFO,
  Op.CACHE_PURGE,
  Op.PREVENT_INODE_UPDATE,
  Op.ALLOW_INODE_UPDATE,
  Op.NFS_CREATE,
  Op.NFS_DELETE,
];

export function refusedOperations(refuse: Refuse): OperationTable {
  return [
    ...unsupported.map(([opcode, reason]) => [opcode, () => refuse(opcode, reason)] as const),
    ...gone.map((opcode) => [opcode, () => invalid] as const),
  ];
}

/** Answers NO_SUPPORT. Each reason is a warning once, then a debug line: nobody can fill the log with them (I-11). */
export function makeRefuse(log: Logger): Refuse {
  const said = new Set<string>();
  return (opcode, reason) => {
    const operation = nameOfOpcode(opcode);
    const key = `${operation} ${reason}`;
    log[said.has(key) ? 'debug' : 'warn']({ operation, reason }, 'an operation is not supported');
    said.add(key);
    return answerOf(Result.NO_SUPPORT);
  };
}
