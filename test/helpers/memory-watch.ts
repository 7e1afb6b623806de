import type { Timer } from '../../src/base/clock.js';
import type { WatchEvent } from '../../src/coord/coordinator.js';
import type { Change } from '../../src/coord/key-value-state.js';
import { keyOf } from '../../src/coord/watch-hub.js';
import type { MemoryCoordinator } from './memory-coordinator.js';

/** Events of one watch, each with a delay of its own, delivered in order. */
export class MemoryWatch {
  private readonly queue: { events: WatchEvent[]; dueMs: number }[] = [];
  private timer: Timer | undefined;
  private cancelled = false;

  constructor(
    private readonly client: MemoryCoordinator,
    private readonly prefix: string,
    private readonly afterRevision: number,
    private readonly onEvents: (events: WatchEvent[]) => void,
  ) {}

  push(change: Change): void {
    if (change.revision <= this.afterRevision) return;
    const events = change.events.filter((event) => keyOf(event).startsWith(this.prefix));
    if (events.length === 0) return;
    const { clock, cluster, name } = this.client;
    const dueMs = clock.nowMs() + cluster.delayMs() + cluster.watchLagMs(name);
    this.queue.push({ events, dueMs });
    this.resume();
  }

  /** Sees to it that a timer runs for the oldest event; while the wire is cut none does. */
  resume(): void {
    const head = this.queue[0];
    if (this.timer || this.cancelled || !head || !this.client.reachable()) return;
    this.timer = this.client.after(Math.max(0, head.dueMs - this.client.clock.nowMs()), () => {
      this.timer = undefined;
      if (!this.client.reachable()) return;
      this.queue.shift();
      this.onEvents(head.events);
      this.resume();
    });
  }

  cancel(): void {
    this.cancelled = true;
    this.queue.length = 0;
    this.timer?.cancel();
    this.timer = undefined;
  }
}
