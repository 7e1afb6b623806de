import type { Compare, Op } from '../../coord/coordinator.js';
import type { EpochRecord } from './epoch.js';

export const NODE_PREFIX = 'node/';
export const EPOCH_PREFIX = 'epoch/';
/** ran/<epoch>: it has been entered by everybody who is up in it (EpochRecord.ran). */
export const RAN_PREFIX = 'ran/';
/** Epoch records older than the last healthy one are kept for people to look at, this many. */
const EPOCHS_KEPT = 200;
/** In one transaction. */
const EPOCHS_DROPPED_MAX = 20;

/** The record is still the newest, and every node that goes down has really lost its registration. */
export function compareFor(record: EpochRecord, next: EpochRecord): Compare[] {
  const wasUp = new Set(record.nodes.filter((n) => n.up).map((n) => n.id));
  const wentDown = next.nodes.filter((n) => !n.up && wasUp.has(n.id));
  return [
    { key: epochKey(record.epoch), exists: true },
    { key: epochKey(next.epoch), exists: false },
    // From here on it is decided whether the former epoch counts.
    { key: ranKey(record.epoch), exists: next.ran },
    ...wentDown.map((n): Compare => ({ key: `${NODE_PREFIX}${n.id}`, exists: false })),
  ];
}

/** `known`: the epochs that are kept now. */
export function operationsFor(next: EpochRecord, known: readonly number[]): Op[] {
  const ops: Op[] = [{ type: 'put', key: epochKey(next.epoch), value: JSON.stringify(next) }];
  if (next.ran) ops.push({ type: 'delete', key: ranKey(next.epoch - 1) });
  const old = known.filter((epoch) => epoch < next.base && epoch <= next.epoch - EPOCHS_KEPT);
  for (const epoch of old.slice(0, EPOCHS_DROPPED_MAX)) ops.push({ type: 'delete', key: epochKey(epoch) });
  return ops;
}

/** Nobody came, went or was asked for anything: some have caught up, or have been given what they shall hold. */
export function onlyStatements(record: EpochRecord, next: EpochRecord): boolean {
  const former = new Map(record.nodes.map((n) => [n.id, n]));
  return next.nodes.every((n) => {
    const old = former.get(n.id);
    return old !== undefined && old.up === n.up && old.incarnation === n.incarnation;
  });
}

export function epochKey(epoch: number): string {
  return `${EPOCH_PREFIX}${String(epoch).padStart(10, '0')}`;
}

export function ranKey(epoch: number): string {
  return `${RAN_PREFIX}${String(epoch).padStart(10, '0')}`;
}

/** They call for the same: the one does not change what the other does not. */
export function sameContent(a: EpochRecord, b: EpochRecord | undefined): boolean {
  if (b === undefined) return false;
  const contentOf = ({ nodes, families, move, lossAccepted }: EpochRecord) =>
    JSON.stringify([nodes, families, move, lossAccepted]);
  return contentOf(a) === contentOf(b);
}
