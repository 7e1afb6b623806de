import type { Clock } from '../base/clock.js';
import type { Cluster } from './cluster-link.js';
import { STATFS_AGE_MS } from './limits.js';

export interface Space {
  readonly totalBytes: number;
  readonly freeBytes: number;
}

/** What the cluster has room for, with the copies that a new volume gets; asked for at most once a second. */
export class ClusterSpace {
  private known: Promise<Space> | undefined;
  private askedMs = 0;

  constructor(
    private readonly cluster: Cluster,
    private readonly clock: Clock,
  ) {}

  now(): Promise<Space> {
    const nowMs = this.clock.nowMs();
    if (this.known === undefined || nowMs - this.askedMs > STATFS_AGE_MS) {
      this.askedMs = nowMs;
      this.known = this.ask().catch((error: unknown) => {
        this.known = undefined;
        throw error;
      });
    }
    return this.known;
  }

  private async ask(): Promise<Space> {
    const { nodes, copies } = await this.cluster.call('cluster.info', {});
    const holding = nodes.filter((node) => node.up && node.in);
    const sum = (of: (node: (typeof nodes)[number]) => number) =>
      Math.floor(holding.reduce((total, node) => total + of(node), 0) / Math.max(1, copies));
    return {
      totalBytes: sum((node) => node.usedBytes + node.freeBytes),
      freeBytes: sum((node) => node.freeBytes),
    };
  }
}
