import type { Clock } from '../base/clock.js';
import { Mirror } from '../cluster/epochs/mirror.js';
import type { RecoveryProgress } from '../cluster/recovery-meter.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { ObjectStore, StoreStats } from '../store/object-store.js';

const PREFIX = 'stats/';
/** Figures are published when they change visibly: free space moves with everything else on the disk. */
const USED_STEP_BYTES = 2 ** 16;
const TOTAL_STEP_BYTES = 2 ** 26;
/** Progress alone is published the less often the more nodes there are: the coordinator carries it to all of them. */
const PROGRESS_PER_NODE_MS = 20;

export interface Figures extends Pick<StoreStats, 'totalBytes' | 'freeBytes' | 'usedBytes'> {
  /** Of a node that is given what it lacks. */
  readonly recovery?: RecoveryProgress;
}

export interface StoreFiguresOptions {
  readonly coordinator: Coordinator;
  readonly clock: Clock;
  readonly selfId: string;
  readonly store: () => ObjectStore | undefined;
  readonly recovery: () => RecoveryProgress | undefined;
}

/** How full the stores of all sheep are, and how far each has recovered: each publishes its own in the coordinator. */
export class StoreFigures {
  private readonly mirror: Mirror;
  private published = { space: '', recovery: '' };
  private nextProgressMs = 0;

  constructor(private readonly options: StoreFiguresOptions) {
    this.mirror = new Mirror(options.coordinator, PREFIX, () => {});
  }

  start(): Promise<void> {
    return this.mirror.start();
  }

  stop(): void {
    this.mirror.stop();
  }

  /** A format has removed what was published. */
  forget(): void {
    this.published = { space: '', recovery: '' };
  }

  async publish(): Promise<void> {
    const { coordinator, clock, selfId } = this.options;
    const own = this.own();
    if (own === undefined) return;
    const space = JSON.stringify({
      used: Math.round(own.usedBytes / USED_STEP_BYTES),
      total: Math.round(own.totalBytes / TOTAL_STEP_BYTES),
    });
    const recovery = JSON.stringify(own.recovery ?? {});
    const progressed = recovery !== this.published.recovery && clock.nowMs() >= this.nextProgressMs;
    const ended = own.recovery === undefined && this.published.recovery !== recovery;
    if (space === this.published.space && !progressed && !ended) return;
    this.published = { space, recovery };
    this.nextProgressMs = clock.nowMs() + this.mirror.entries.size * PROGRESS_PER_NODE_MS;
    await coordinator.txn([], [{ type: 'put', key: `${PREFIX}${selfId}`, value: JSON.stringify(own) }]);
  }

  /** By node id; of this sheep what is true now. */
  all(): Map<string, Figures> {
    const all = new Map<string, Figures>();
    for (const [key, text] of this.mirror.entries) all.set(key.slice(PREFIX.length), JSON.parse(text));
    const own = this.own();
    if (own !== undefined) all.set(this.options.selfId, own);
    return all;
  }

  private own(): Figures | undefined {
    const stats = this.options.store()?.stats();
    if (stats === undefined) return undefined;
    const { totalBytes, usedBytes, freeBytes } = stats;
    const recovery = this.options.recovery();
    return { totalBytes, usedBytes, freeBytes, ...(recovery !== undefined && { recovery }) };
  }
}
