import type { Clock, Timer } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import { type EpochRecord, targetOf } from './epoch.js';
import type { Membership } from './membership.js';
import type { ClusterSettings } from './settings.js';

/** A cluster with less than this part of its weight left is in trouble of another kind: it moves nothing by itself. */
const WEIGHT_LEFT_MIN = 0.5;
const LOOK_MS = 500;

export interface DownOutOptions {
  readonly membership: Membership;
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: () => ClusterSettings;
  readonly copiesInUse: () => Iterable<number>;
}

/**
 * Gives up a node that has been down for too long: what lay on it is placed elsewhere (D-4). The time is this node's
 * own, from when it saw the other go down: clocks that jump move nothing, and a restart of all starts the wait anew.
 */
export class DownOut {
  private readonly downSinceMs = new Map<string, number>();
  private timer: Timer | undefined;
  private stopped = false;

  constructor(private readonly options: DownOutOptions) {}

  start(): void {
    this.timer = this.options.clock.after(LOOK_MS, () => void this.look());
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
  }

  private async look(): Promise<void> {
    try {
      await this.giveUpOne();
    } catch (error) {
      this.options.log.warn(
        { err: AppError.from(error).message },
        'a node that is down could not be given up',
      );
    }
    if (!this.stopped) this.start();
  }

  private async giveUpOne(): Promise<void> {
    const { membership, clock, settings, log } = this.options;
    const record = membership.view?.history.current;
    if (record === undefined || !membership.leaseValid()) return;
    const nowMs = clock.nowMs();
    for (const node of record.nodes) {
      if (node.up) this.downSinceMs.delete(node.id);
      else if (!this.downSinceMs.has(node.id)) this.downSinceMs.set(node.id, nowMs);
    }
    const { downOutMs, recoveryPaused } = settings();
    if (downOutMs === 0 || recoveryPaused) return;
    const isDue = (id: string) => nowMs - (this.downSinceMs.get(id) ?? nowMs) >= downOutMs;
    const id = record.nodes.find(
      (n) => isDue(n.id) && mayGiveUp(record, n.id, this.options.copiesInUse()),
    )?.id;
    if (id === undefined) return;
    log.warn({ node: id, downOutMs }, 'a node has been down for too long: its objects are placed elsewhere');
    await membership.change({ kind: 'out', id, by: 'delay' });
  }
}

/**
 * Whether it helps to place elsewhere what lies on a node that is down: as many nodes must be left as volumes have
 * copies, and most of the cluster. Pure.
 */
export function mayGiveUp(record: EpochRecord, id: string, copiesInUse: Iterable<number>): boolean {
  const node = record.nodes.find((n) => n.id === id);
  if (node === undefined || node.up || node.maintenance || targetOf(node) === undefined) return false;
  const left = record.nodes.filter((n) => n.id !== id && n.up && targetOf(n) !== undefined);
  if (left.length < Math.max(1, ...copiesInUse)) return false;
  const weightOf = (nodes: readonly { readonly vnodes: number }[]) =>
    nodes.reduce((sum, n) => sum + n.vnodes, 0);
  const known = record.nodes.filter((n) => n.placed !== undefined || targetOf(n) !== undefined);
  return weightOf(left) >= WEIGHT_LEFT_MIN * weightOf(known);
}
