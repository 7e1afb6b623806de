/** Records of versions, made from others, and the operations that write them. Pure. */
import type { Compare, Op } from '../coord/coordinator.js';
import { keys, type LineRecord, type VdiRecord } from './records.js';

/** A version made from another, with its size; of the same line and named the same unless told otherwise. */
export function versionOf(base: VdiRecord, vid: number, createdMs: number): VdiRecord {
  const { sizeBytes, copies, blockSizeShift, root, line, snapId } = base;
  return {
    vid,
    line,
    tag: '',
    snapId,
    parent: base.vid,
    root,
    sizeBytes,
    copies,
    blockSizeShift,
    createdMs,
    snapshotMs: 0,
    state: 'pending',
  };
}

export function live(record: VdiRecord): VdiRecord {
  const { maker: _, ...rest } = record;
  return { ...rest, state: 'live' };
}

/** As it is once an object may have been made that the index does not name. */
export function loosened(record: VdiRecord, loose: boolean): VdiRecord {
  return loose ? { ...record, loose: true } : record;
}

/** Without what was written for an older attempt to save a machine's state, which did not come to a snapshot. */
export function withoutMarks(record: VdiRecord): VdiRecord {
  const { vmStateBytes: _, vmClockNs: __, ...rest } = record;
  return rest;
}

export function same(record: VdiRecord): Compare {
  return { key: keys.vdi(record.vid), value: JSON.stringify(record) };
}

export function sameLine(line: LineRecord): Compare {
  return { key: keys.line(line.id), value: JSON.stringify(line) };
}

/** What an owner commits late, when another one has loaded the volume, must miss: that one would not hear of it. */
export function stillOwned({ line, claim }: { readonly line: string; readonly claim: string }): Compare {
  return { key: keys.owner(line), value: claim };
}

export function put(record: VdiRecord): Op {
  return { type: 'put', key: keys.vdi(record.vid), value: JSON.stringify(record) };
}
