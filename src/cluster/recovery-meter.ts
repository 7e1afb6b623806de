import type { Clock } from '../base/clock.js';
import type { ClusterNode } from './cluster-node.js';

/** The rate is that of the last so many milliseconds. */
const WINDOW_MS = 30_000;
/** Samples are so far apart, however often somebody asks. */
const SAMPLE_MS = 1000;

/** How far this node is with what it lacks; for people. */
export interface RecoveryProgress {
  /** catching-up: after an absence; restoring: after the loss of objects; moving: the placement changes. */
  readonly doing: 'catching-up' | 'restoring' | 'moving';
  /** What it is for: progress that was made for something else says nothing. */
  readonly key: string;
  /** Objects compared, and about so many that still have to be. */
  readonly done: number;
  readonly remaining: number;
  readonly movedBytes: number;
  /** Measured lately; 0 while nothing is known. */
  readonly objectsPerS: number;
  readonly bytesPerS: number;
  /** Why nothing happens, if so. */
  readonly waiting?: string;
  /** The same in words. */
  readonly reason?: string;
}

interface Sample {
  readonly atMs: number;
  readonly done: number;
  readonly movedBytes: number;
}

/** Measures what `CatchUp` and `Mover` of this node have come to. */
export class RecoveryMeter {
  private samples: Sample[] = [];
  private key = '';

  constructor(
    private readonly clock: Clock,
    private readonly cluster: () => ClusterNode | undefined,
  ) {}

  /** Undefined: this node has everything that it should have. To be called now and then: rates come from that. */
  read(): RecoveryProgress | undefined {
    const cluster = this.cluster();
    const view = cluster?.objects.context?.view;
    const { self, record } = view ?? {};
    if (cluster === undefined || self === undefined || record === undefined || !self.up) return undefined;
    const key = progressKey(self, record.move);
    if (key === undefined) return undefined;
    const { catchUp, mover } = cluster;
    const behind = self.behindSince !== undefined;
    const moved = mover.progress;
    // A node that was away and is given something else too does both.
    const done = moved.done + (behind ? catchUp.compared : 0);
    const remaining = moved.remaining + (behind ? catchUp.remaining : 0);
    const movedBytes = moved.movedBytes + (behind ? catchUp.movedBytes : 0);
    const doing = self.incomplete ? 'restoring' : behind ? 'catching-up' : 'moving';
    const rate = this.rate(key, { atMs: this.clock.nowMs(), done, movedBytes });
    const { waiting, reason } = moved;
    const why = waiting !== undefined && { waiting, ...(reason && { reason }) };
    return { doing, key, done, remaining, movedBytes, ...rate, ...why };
  }

  private rate(key: string, now: Sample): { objectsPerS: number; bytesPerS: number } {
    if (key !== this.key) this.samples = [];
    this.key = key;
    this.samples = this.samples.filter((s) => s.atMs >= now.atMs - WINDOW_MS);
    const last = this.samples.at(-1);
    if (last === undefined || now.atMs - last.atMs >= SAMPLE_MS) this.samples.push(now);
    const first = this.samples[0]!;
    const seconds = (now.atMs - first.atMs) / 1000;
    if (seconds < 0.5) return { objectsPerS: 0, bytesPerS: 0 };
    const per = (from: number, to: number) => Math.round((10 * Math.max(0, to - from)) / seconds) / 10;
    return {
      objectsPerS: per(first.done, now.done),
      bytesPerS: Math.round(per(first.movedBytes, now.movedBytes)),
    };
  }
}

/** What a node works at in an epoch; undefined: nothing. */
export function progressKey(
  node: {
    readonly upSince: number;
    readonly behindSince?: number;
    readonly incomplete?: boolean;
    readonly moved?: number;
  },
  move: number | undefined,
): string | undefined {
  const moves = move !== undefined && node.moved !== move;
  if (!moves && node.behindSince === undefined && !node.incomplete) return undefined;
  return `${moves ? move : 0}/${node.upSince}`;
}
