/**
 * What the model records: operations with the ticks of their call and answer, and clusters of a write and its reads.
 */
import { SECTOR_BYTES } from './pattern.js';

export const NEVER = Number.POSITIVE_INFINITY;
export const ALWAYS = Number.NEGATIVE_INFINITY;

/** Numbers of writes, unique over all volumes of a run: what one volume shows of another is noticed. */
export class WriteIds {
  next = 1;
}

export interface ModelOptions {
  strictDeaths?: boolean | undefined;
  snapshotsDurable?: boolean | undefined;
  ids?: WriteIds;
  /** What it holds from the beginning, by sector: of a clone. */
  content?: Int32Array | undefined;
}

export interface WriteOp {
  readonly kind: 'write';
  /** >= 1; what its sectors show, unless `zero`. */
  readonly id: number;
  readonly zero: boolean;
  /** What each sector of the volume shows instead: of a creation from a snapshot, of a rollback. */
  readonly values?: Int32Array | undefined;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly fua: boolean;
  readonly by: string;
  readonly start: number;
  /** Tick of the acknowledgement. */
  end: number;
  /** If it ever happened, then before this tick. */
  limit: number;
}

export interface ReadOp {
  readonly kind: 'read';
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly by: string;
  readonly start: number;
  readonly era: number;
}

export interface FlushOp {
  readonly kind: 'flush';
  readonly start: number;
  readonly era: number;
}

export interface SnapshotOp {
  readonly kind: 'snapshot';
  readonly name: string;
  readonly start: number;
  end: number;
  readonly era: number;
  /** Bounds of the instant at which it was taken, from what was seen of it. */
  from: number;
  to: number;
  readonly seen: Map<number, number>;
  /** A power cut fell into it: only that it never changes can be checked. */
  loose: boolean;
}

/** A write as one sector knows it, with the reads that returned it. */
export interface Cluster {
  readonly write: WriteOp;
  /** What the sector shows after it: the id of a write, 0 for zeros. */
  readonly value: number;
  readEndMin: number;
  readStartMax: number;
}

export function clusterOf(write: WriteOp, sector: number): Cluster {
  return { write, value: shownBy(write, sector), readEndMin: NEVER, readStartMax: ALWAYS };
}

export function shownBy(write: WriteOp, sector: number): number {
  if (write.values !== undefined) return write.values[sector] ?? 0;
  return write.zero ? 0 : write.id;
}

export function happened(cluster: Cluster): boolean {
  return cluster.write.end !== NEVER || cluster.readEndMin !== NEVER;
}

export function endMinOf(cluster: Cluster): number {
  return Math.min(cluster.write.end, cluster.write.limit, cluster.readEndMin);
}

export function startMaxOf(cluster: Cluster): number {
  return Math.max(cluster.write.start, cluster.readStartMax);
}

/** Another cluster that would have to be both before and after this one if it had one more read in it. */
export function conflictWith(
  clusters: readonly Cluster[],
  cluster: Cluster,
  start: number,
  end: number,
): Cluster | undefined {
  const endMin = Math.min(endMinOf(cluster), end);
  const startMax = Math.max(startMaxOf(cluster), start);
  for (const other of clusters) {
    if (other === cluster || !happened(other)) continue;
    if (endMin < startMaxOf(other) && endMinOf(other) < startMax) return other;
  }
  return undefined;
}

/**
 * A write after a power cut: one that is still under way goes on; any other was there at the cut, or is gone. The
 * only one left is certain, and on stable storage.
 */
export function afterCut(
  cluster: Cluster,
  now: number,
  only: boolean,
  pending: ReadonlySet<WriteOp>,
): Cluster {
  const { write, value } = cluster;
  const fresh = { value, readEndMin: NEVER, readStartMax: ALWAYS };
  if (pending.has(write)) return { ...fresh, write };
  return { ...fresh, write: { ...write, fua: only, start: now, end: only ? now : NEVER, limit: now } };
}

export function* sectorsOf(range: { offsetBytes: number; lengthBytes: number }): Iterable<number> {
  const first = range.offsetBytes / SECTOR_BYTES;
  for (let i = 0; i < range.lengthBytes / SECTOR_BYTES; i++) yield first + i;
}

export function describe(op: WriteOp): string {
  const what = op.values ? 'content' : op.zero ? 'zero' : 'write';
  return `${what} ${op.id} by ${op.by} ${op.offsetBytes}+${op.lengthBytes}${op.fua ? ' fua' : ''}`;
}

export function summary(shown: Int32Array): string {
  const ids = [...new Set(shown)];
  return ids.length > 8 ? `${ids.slice(0, 8).join(' ')} ...` : ids.join(' ');
}

/** What was done to a part of the volume, for people. */
export interface LogLine {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly line: string;
}

export function linesAbout(log: readonly LogLine[], sector: number): string[] {
  const at = sector * SECTOR_BYTES;
  return log.filter((e) => e.offsetBytes <= at && at < e.offsetBytes + e.lengthBytes).map((e) => e.line);
}
