/** GET_VDI_COPIES: one vdi_state of 1428 bytes for each VDI, in the order of their ids (reference, 2.7). */
import { nodeId, vdiState } from '../../wire/records.js';
import { LockState, Op, Result } from '../../wire/sheepdog.js';
import type { Answer, Request } from '../operation.js';
import { ANSWER_BYTES_MAX, answerOf, type OperationTable, roomOf } from './answers.js';
import type { ClusterFacts, LockFacts, LockOwner, VdiFacts } from './cluster-facts.js';
import { encodeNodeId } from './node-records.js';

const PARTICIPANTS_MAX = vdiState.fields.participants.size / nodeId.sizeBytes;
const copyStates = { modified: 1, shared: 2, invalidated: 3 } as const;

export function vdiStateOperations(facts: ClusterFacts): OperationTable {
  return [[Op.GET_VDI_COPIES, (request) => vdiStates(facts, request)]];
}

async function vdiStates(facts: ClusterFacts, request: Request): Promise<Answer> {
  const vdis = await facts.vdis();
  const sizeBytes = vdis.length * vdiState.sizeBytes;
  if (sizeBytes > Math.min(roomOf(request), ANSWER_BYTES_MAX)) return answerOf(Result.BUFFER_SMALL);
  const payload = Buffer.alloc(sizeBytes);
  [...vdis]
    .sort((a, b) => a.vid - b.vid)
    .forEach((vdi, i) => {
      encodeState(vdi, payload, i * vdiState.sizeBytes);
    });
  return { result: Result.SUCCESS, payload };
}

function encodeState(vdi: VdiFacts, target: Buffer, offset: number): void {
  const { vid, copies, snapshot, deleted, blockSizeShift, parentVid, lock } = vdi;
  vdiState.encodeInto(
    {
      vid,
      copies,
      snapshot: Number(snapshot),
      deleted: Number(deleted),
      blockSizeShift,
      parentVid,
      ...encodeLock(lock),
    },
    target,
    offset,
  );
}

function encodeLock(lock: LockFacts | undefined) {
  const [first] = lock?.owners ?? [];
  if (lock === undefined || first === undefined) return { lockState: LockState.unlocked };
  if (lock.kind === 'locked') return { lockState: LockState.locked, lockOwner: encodeNodeId(first) };
  const owners = lock.owners.slice(0, PARTICIPANTS_MAX);
  return {
    lockState: LockState.shared,
    participantCount: owners.length,
    participantStates: encodeCopyStates(owners),
    participants: Buffer.concat(owners.map(encodeNodeId)),
  };
}

function encodeCopyStates(owners: readonly LockOwner[]): Buffer {
  const out = Buffer.alloc(owners.length * 4);
  owners.forEach(({ copy = 'shared' }, i) => {
    out.writeUInt32LE(copyStates[copy], i * 4);
  });
  return out;
}
