import { AppError } from '../base/errors.js';
import type { Directory } from '../volume/directory.js';
import type { Usage, VdiRecord } from '../volume/records.js';
import type { VdiInfo } from './api.js';

/** One row of `vdi list` from a record and the number of its objects. */
export function describeVdi(directory: Directory, record: VdiRecord, usage: Usage): VdiInfo {
  const objectBytes = 2 ** record.blockSizeShift;
  const parent = directory.vdi(record.parent);
  const snapshot = record.snapshotMs > 0;
  return {
    name: directory.line(record.line)?.name ?? '',
    tag: record.tag,
    snapId: snapshot ? record.snapId : 0,
    vid: record.vid,
    parentVid: record.parent,
    rootVid: record.root,
    snapshot,
    clone: !snapshot && record.snapId === 1 && record.parent !== 0 && parent?.line !== record.line,
    sizeBytes: record.sizeBytes,
    usedBytes: usage.own * objectBytes,
    sharedBytes: usage.shared * objectBytes,
    copies: record.copies,
    blockSizeShift: record.blockSizeShift,
    createdMs: record.createdMs,
    snapshotMs: record.snapshotMs,
    ...(snapshot &&
      record.vmStateBytes !== undefined && {
        vmState: { bytes: record.vmStateBytes, clockNs: record.vmClockNs ?? '0' },
      }),
    ...(record.image !== undefined && { image: record.image }),
  };
}

/** A version that was deleted while it was described is in no list. */
export function deletedMeanwhile(error: unknown): undefined {
  if (!AppError.isCode(error, 'no-vdi', 'no-tag')) throw error;
}
