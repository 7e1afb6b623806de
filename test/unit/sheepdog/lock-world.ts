import { SeededRandom } from '../../../src/base/random.js';
import type { Membership } from '../../../src/cluster/epochs/membership.js';
import { Locks } from '../../../src/volume/locks.js';
import { MemoryCoordinatorCluster } from '../../helpers/memory-coordinator.js';
import { SimClock } from '../../helpers/sim-clock.js';

interface FakeNode {
  up: boolean;
  incarnation: string;
}

/** Several sheep's locks over one coordinator, in simulated time. */
export class LockWorld {
  readonly clock = new SimClock();
  private readonly cluster = new MemoryCoordinatorCluster({
    clock: this.clock,
    random: new SeededRandom(1),
    minDelayMs: 1,
    maxDelayMs: 3,
  });
  readonly nodes = new Map<string, FakeNode>();

  async locks(selfId: string, exclusive = false): Promise<Locks> {
    const { nodes } = this;
    const node: FakeNode = { up: true, incarnation: `${selfId}-1` };
    nodes.set(selfId, node);
    const membership = {
      get incarnation() {
        return node.incarnation;
      },
      // A new object each time: nothing may be remembered by it.
      get view() {
        return { nodes: new Map([...nodes].map(([id, state]) => [id, { ...state }])) };
      },
    } as unknown as Membership;
    const locks = new Locks({ coordinator: this.cluster.clientFor(selfId), membership, selfId, exclusive });
    await this.done(locks.start());
    return locks;
  }

  /** Runs the clock until the promise settles. */
  async done<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const mark = () => {
      settled = true;
    };
    promise.then(mark, mark);
    await this.clock.run({ untilMs: this.clock.nowMs() + 60_000, stop: () => settled });
    return promise;
  }

  /** Lets every watch catch up. */
  async pass(ms = 50): Promise<void> {
    await this.clock.run({ untilMs: this.clock.nowMs() + ms });
  }
}
