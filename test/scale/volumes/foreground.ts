import { Worker } from 'node:worker_threads';
import { type RealCluster, within } from '../../helpers/real-cluster.js';
import type { ForegroundWork } from './foreground-worker.js';

const NAME = 'foreground';
const SIZE_BYTES = 16 * 2 ** 20;
const ANSWER_DEADLINE_MS = 60_000;

/** How a client fared while something else went on. */
export interface Stall {
  readonly writes: number;
  readonly medianMs: number;
  readonly longestMs: number;
}

/**
 * Somebody who writes 4 KiB at a time, one after the other, to a volume that nothing else is done with: what they have
 * to wait for longest is what an operation costs everybody else. In a thread of its own, as the case that it watches is
 * busy itself.
 */
export class Foreground {
  private constructor(private readonly worker: Worker) {}

  /** Writes through the first sheep until it is stopped. */
  static async start(cluster: RealCluster): Promise<Foreground> {
    await cluster.call('vdi.create', { name: NAME, sizeBytes: SIZE_BYTES });
    const work: ForegroundWork = { port: cluster.sheep[0]!.nbdPort, name: NAME, sizeBytes: SIZE_BYTES };
    const worker = new Worker(new URL('./foreground-worker.js', import.meta.url), { workerData: work });
    const foreground = new Foreground(worker);
    // Its objects are made and its code is warm.
    await within(ANSWER_DEADLINE_MS, 'the foreground client writes', async () => {
      const { writes } = await foreground.look();
      return writes > 0;
    });
    return foreground;
  }

  /** What `work` gives, and how the client fared meanwhile. */
  async during<T>(work: () => Promise<T>): Promise<{ value: T; stall: Stall }> {
    await this.look();
    const value = await work();
    return { value, stall: await this.look() };
  }

  async stop(): Promise<void> {
    await this.worker.terminate();
  }

  /** Since the last look; a write under way counts with the time that it has taken until now. */
  private look(): Promise<Stall> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('the foreground client is stuck')), ANSWER_DEADLINE_MS);
      this.worker.once('message', (stall: Stall) => {
        clearTimeout(timer);
        resolve(stall);
      });
      this.worker.postMessage('look');
    });
  }
}
