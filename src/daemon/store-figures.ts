import { Mirror } from '../cluster/mirror.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { ObjectStore, StoreStats } from '../store/object-store.js';

const PREFIX = 'stats/';
/** Figures are published when they change visibly: free space moves with everything else on the disk. */
const USED_STEP_BYTES = 2 ** 16;
const TOTAL_STEP_BYTES = 2 ** 26;

export type Figures = Pick<StoreStats, 'totalBytes' | 'freeBytes' | 'usedBytes'>;

/** How full the stores of all sheep are: each publishes its own in the coordinator, and knows those of the others. */
export class StoreFigures {
  private readonly mirror: Mirror;
  private published = '';

  constructor(
    private readonly coordinator: Coordinator,
    private readonly selfId: string,
    private readonly store: () => ObjectStore | undefined,
  ) {
    this.mirror = new Mirror(coordinator, PREFIX, () => {});
  }

  start(): Promise<void> {
    return this.mirror.start();
  }

  stop(): void {
    this.mirror.stop();
  }

  /** A format has removed what was published. */
  forget(): void {
    this.published = '';
  }

  async publish(): Promise<void> {
    const stats = this.store()?.stats();
    if (stats === undefined) return;
    const { totalBytes, usedBytes, freeBytes } = stats;
    const rounded = JSON.stringify({
      used: Math.round(usedBytes / USED_STEP_BYTES),
      total: Math.round(totalBytes / TOTAL_STEP_BYTES),
    });
    if (rounded === this.published) return;
    this.published = rounded;
    const value = JSON.stringify({ totalBytes, usedBytes, freeBytes });
    await this.coordinator.txn([], [{ type: 'put', key: `${PREFIX}${this.selfId}`, value }]);
  }

  /** By node id; of this sheep what is true now. */
  all(): Map<string, Figures> {
    const all = new Map<string, Figures>();
    for (const [key, text] of this.mirror.entries) all.set(key.slice(PREFIX.length), JSON.parse(text));
    const store = this.store();
    if (store !== undefined) all.set(this.selfId, store.stats());
    return all;
  }
}
