/**
 * Which requests may be sent twice, and which answers are no answers yet. Pure tables.
 *
 * Twice: what has the same effect and the same answer when it is done again before anything else that its client does
 * to the same place (no client has two overlapping requests under way). Everything else is sent once.
 */
import { Op, Result } from '../wire/sheepdog.js';

/** I/O on objects: nobody asks for it before the cluster has served, so "not yet" is never its last word. */
const objectIo: ReadonlySet<number> = new Set([
  Op.READ_OBJ,
  Op.WRITE_OBJ,
  Op.CREATE_AND_WRITE_OBJ,
  Op.DISCARD_OBJ,
  Op.FLUSH_VDI,
]);

/** A lock dies with its sheep: it is taken anew. RELEASE_VDI given twice could give up somebody else's. */
const lookups: ReadonlySet<number> = new Set([
  Op.LOCK_VDI,
  Op.GET_VDI_INFO,
  Op.READ_VDIS,
  Op.READ_DEL_VDIS,
  Op.GET_CLUSTER_DEFAULT,
]);

/** The sheep stops or starts: it, or another, will do it in a moment. */
const passing: ReadonlySet<number> = new Set([
  Result.SHUTDOWN,
  Result.KILLED,
  Result.WAIT_FOR_JOIN,
  Result.STARTUP,
]);

/**
 * A sheep that starts says WAIT_FOR_FORMAT until it has heard of the cluster. Who looks for a volume in a cluster that
 * nobody has formatted gets this answer after so long.
 */
export const FORMAT_PATIENCE_MS = 10_000;
/**
 * Where volumes are locked (`cluster format -l`), the lock that a client took through a sheep that died is in its own
 * way until that sheep is excluded. Whoever is still locked out after so long has lost the volume to somebody else.
 */
export const LOCK_PATIENCE_MS = 20_000;

export function mayBeRepeated(opcode: number): boolean {
  return objectIo.has(opcode) || lookups.has(opcode);
}

export interface Refusal {
  readonly opcode: number;
  readonly result: number;
  /** Since it was first answered so. */
  readonly waitedMs: number;
  /** The client had another connection to a sheep before. */
  readonly hasMoved: boolean;
}

/** What an answer that is none yet asks for: the same sheep again, or another one. Undefined: it is the answer. */
export function askAgain({ opcode, result, waitedMs, hasMoved }: Refusal): 'here' | 'elsewhere' | undefined {
  if (!mayBeRepeated(opcode)) return undefined;
  const isIo = objectIo.has(opcode);
  if (passing.has(result)) return 'elsewhere';
  if (result === Result.WAIT_FOR_FORMAT && (isIo || waitedMs < FORMAT_PATIENCE_MS)) return 'elsewhere';
  if (result === Result.VDI_LOCKED && isIo && hasMoved && waitedMs < LOCK_PATIENCE_MS) return 'here';
  return undefined;
}
