/** Acts of an administrator on the whole cluster or on this sheep (reference, 2.5), those that can be done. */
import { clusterRequest } from '../../wire/headers.js';
import { textUpToNul } from '../../wire/layout.js';
import {
  BLOCK_SIZE_SHIFT_DEFAULT,
  BLOCK_SIZE_SHIFT_MAX,
  BLOCK_SIZE_SHIFT_MIN,
  ClusterFlag,
  COPIES_DEFAULT,
  COPIES_MAX,
  Op,
  Result,
} from '../../wire/sheepdog.js';
import type { Answer, Request } from '../operation.js';
import { answerOf, hasPayload, invalid, type OperationTable, success } from './answers.js';
import type { ClusterFacts } from './cluster-facts.js';
import { STORE_NAMES } from './cluster-view.js';
import type { Refuse } from './refused.js';

export function clusterChangeOperations(facts: ClusterFacts, refuse: Refuse): OperationTable {
  return [
    [Op.MAKE_FS, (request) => makeFs(facts, refuse, request)],
    [Op.SHUTDOWN, () => facts.acts.shutdown().then(() => success)],
    [Op.KILL_NODE, () => facts.acts.kill().then(() => success)],
    [Op.CLEANUP, () => cleanup(facts)],
    [Op.FORCE_RECOVER, () => forceRecover(facts, refuse)],
    [Op.ENABLE_RECOVER, () => facts.acts.setRecovery(true).then(() => success)],
    [Op.DISABLE_RECOVER, () => facts.acts.setRecovery(false).then(() => success)],
    [Op.ALTER_CLUSTER_COPY, (request) => alterCopies(facts, request)],
  ];
}

/**
 * The creation time is taken from this host's clock, not from the client's. Whether ids are used again and whether
 * disks may fill up are not options here, so the flags for them change nothing.
 */
async function makeFs(facts: ClusterFacts, refuse: Refuse, request: Request): Promise<Answer> {
  if (!hasPayload(request) || request.payload.length === 0) return invalid;
  if (!STORE_NAMES.includes(textUpToNul(request.payload))) return answerOf(Result.NO_STORE);
  const asked = clusterRequest.decode(request.header);
  const copies = asked.copies || COPIES_DEFAULT;
  const blockSizeShift = asked.blockSizeShift || BLOCK_SIZE_SHIFT_DEFAULT;
  if (asked.copyPolicy !== 0) return refuse(Op.MAKE_FS, 'erasure coding is not served');
  if ((asked.clusterFlags & ClusterFlag.DISKMODE) !== 0)
    return refuse(Op.MAKE_FS, 'weights are of nodes, not of disks');
  if (copies > COPIES_MAX) return invalid;
  if (blockSizeShift < BLOCK_SIZE_SHIFT_MIN || blockSizeShift > BLOCK_SIZE_SHIFT_MAX) return invalid;
  const strict = (asked.clusterFlags & ClusterFlag.STRICT) !== 0;
  const useLock = (asked.clusterFlags & ClusterFlag.USE_LOCK) !== 0;
  await facts.acts.format({ copies, blockSizeShift, strict, useLock });
  return success;
}

/** The original purges outdated copies that recovery set aside. There are none here: nothing is set aside. */
async function cleanup(facts: ClusterFacts): Promise<Answer> {
  return (await facts.recovery()) === undefined ? success : answerOf(Result.NODE_IN_RECOVERY);
}

function forceRecover(facts: ClusterFacts, refuse: Refuse): Answer {
  const { state } = facts.describe();
  if (state === 'wait-for-format') return answerOf(Result.WAIT_FOR_FORMAT);
  if (state !== 'wait-for-join') return answerOf(Result.FORCE_RECOVER);
  return refuse(Op.FORCE_RECOVER, 'going on without members that may hold newer data is not possible yet');
}

/** Volumes that are there already keep their copies. */
async function alterCopies(facts: ClusterFacts, request: Request): Promise<Answer> {
  const { copies, copyPolicy } = clusterRequest.decode(request.header);
  if (copyPolicy !== 0 || copies < 1 || copies > COPIES_MAX) return invalid;
  await facts.acts.setDefaultCopies(copies);
  return success;
}
