/**
 * What a coordinator has to carry: the production membership of many nodes on simulated time and an ideal coordinator
 * that counts. Copying of objects is replaced by waiting; everything that is said about it is said.
 */
import { silentLogger } from '../../src/base/log.js';
import { SeededRandom } from '../../src/base/random.js';
import { Membership } from '../../src/cluster/epochs/membership.js';
import type { ClusterView } from '../../src/cluster/epochs/view.js';
import type { Coordinator, Op } from '../../src/coord/coordinator.js';
import { MemoryCoordinatorCluster } from '../helpers/memory-coordinator.js';
import { SimClock } from '../helpers/sim-clock.js';

const LEASE_TTL_MS = 3000;
/** What catching up, and taking over what a move brings, take in this model. */
const WORK_MS = 2000;
const DEADLINE_MS = 600_000;
/** Looking at a thousand nodes takes time: not at each event. */
const LOOK_MS = 20;

export interface Load {
  transactions: number;
  /** Of those: lost the race, or came too late. */
  refused: number;
  writtenBytes: number;
  /** Events delivered to watchers, and their bytes. */
  events: number;
  deliveredBytes: number;
  epochs: number;
  /** Simulated. */
  elapsedMs: number;
}

const nothing = (): Load => ({
  transactions: 0,
  refused: 0,
  writtenBytes: 0,
  events: 0,
  deliveredBytes: 0,
  epochs: 0,
  elapsedMs: 0,
});

interface Member {
  readonly id: string;
  readonly zone: number;
  membership: Membership;
  lives: number;
}

export class ManyNodes {
  readonly clock = new SimClock();
  private readonly random = new SeededRandom(1);
  private readonly coordinators: MemoryCoordinatorCluster;
  private readonly members: Member[];
  private load = nothing();

  constructor(count: number, racks: number) {
    const { clock, random } = this;
    this.coordinators = new MemoryCoordinatorCluster({
      clock,
      random,
      minDelayMs: 1,
      maxDelayMs: 3,
      detectMs: 100,
    });
    this.members = Array.from({ length: count }, (_, i) => this.start(`n${i}`, i % racks, 1));
  }

  /** Everybody registers, then the cluster is formatted. */
  async form(): Promise<Load> {
    return this.measure(async () => {
      const { membership } = this.members[0]!;
      await this.until(() => membership.registrations.size === this.members.length);
      void membership.format({ compares: [], ops: [] });
      await this.until(() => this.healthy());
    });
  }

  /** These die; the others go on without them. */
  async lose(which: (index: number) => boolean): Promise<Load> {
    return this.measure(async () => {
      const dead = this.members.filter((_, i) => which(i));
      for (const member of dead) this.kill(member);
      await this.until(() => dead.every((d) => this.survivors().every((m) => !isUp(m, d.id))));
    });
  }

  /** They come back, catch up and are whole again. */
  async bringBack(): Promise<Load> {
    return this.measure(async () => {
      for (const [i, member] of this.members.entries()) {
        if (member.lives < 0) this.members[i] = this.start(member.id, member.zone, 1 - member.lives);
      }
      await this.until(() => this.healthy());
    });
  }

  /** They are given up, and what lay on them is placed elsewhere. */
  async giveUp(): Promise<Load> {
    return this.measure(async () => {
      const one = this.survivors()[0]!.membership;
      for (const { id } of this.members.filter((m) => m.lives < 0)) {
        let done = false;
        void one.change({ kind: 'out', id, by: 'delay' }).then(() => {
          done = true;
        });
        await this.until(() => done);
      }
      await this.until(() => this.healthy());
    });
  }

  private async measure(work: () => Promise<void>): Promise<Load> {
    this.load = nothing();
    const fromMs = this.clock.nowMs();
    const fromEpoch = this.epoch();
    await work();
    return { ...this.load, epochs: this.epoch() - fromEpoch, elapsedMs: this.clock.nowMs() - fromMs };
  }

  private async until(condition: () => boolean): Promise<void> {
    const limitMs = this.clock.nowMs() + DEADLINE_MS;
    while (!condition()) {
      if (this.clock.nowMs() > limitMs) throw new Error('it did not come about in ten simulated minutes');
      await this.clock.run({ untilMs: this.clock.nowMs() + LOOK_MS });
    }
  }

  private start(id: string, zone: number, lives: number): Member {
    const clock = this.clock.forNode(id);
    const client = this.coordinators.clientFor(id, clock);
    const membership = new Membership({
      coordinator: this.counting(client),
      clock,
      log: silentLogger,
      self: {
        id,
        host: `10.1.0.${id}`,
        port: 7000,
        nbdPort: 10809,
        httpPort: 7080,
        zone,
        vnodes: 128,
        hostId: id,
        bootId: 'b',
        pid: 1,
        lossy: false,
      },
      leaseTtlMs: LEASE_TTL_MS,
      newIncarnation: () => `${id}/${lives}/${this.random.below(1e9)}`,
    });
    const member: Member = { id, zone, membership, lives };
    membership.onView((view) => void this.act(member, view));
    this.ends.set(member, () => {
      clock.kill();
      this.coordinators.kill(id);
    });
    void membership.start();
    return member;
  }

  private readonly ends = new Map<Member, () => void>();

  private kill(member: Member): void {
    this.ends.get(member)!();
    member.lives = -member.lives;
  }

  /** What a sheep says in an epoch. */
  private async act({ membership, id }: Member, view: ClusterView): Promise<void> {
    const self = view.nodes.get(id);
    if (!self?.up || !(await membership.declareRan(view))) return;
    const { move } = view.record;
    const behind = self.behindSince !== undefined;
    if (!behind && (move === undefined || self.moved === move)) return;
    this.clock.after(WORK_MS, () => {
      if (membership.view !== view) {
        const now = membership.view?.nodes.get(id);
        const same = now?.upSince === self.upSince && membership.view?.record.move === move;
        if (!same) return;
      }
      if (behind) void membership.declareCaughtUp(self.upSince).catch(() => {});
      if (move !== undefined) void membership.declareMoved(move).catch(() => {});
    });
  }

  private counting(client: Coordinator): Coordinator {
    const many = this;
    return new Proxy(client, {
      get(target, name) {
        if (name === 'txn') {
          return async (...args: Parameters<Coordinator['txn']>) => {
            many.load.transactions++;
            const result = await target.txn(...args);
            if (result.ok) many.load.writtenBytes += bytesOf(args[1]);
            else many.load.refused++;
            return result;
          };
        }
        if (name === 'watch') {
          return (...[prefix, after, onEvents]: Parameters<Coordinator['watch']>) =>
            target.watch(prefix, after, (events) => {
              many.load.events += events.length;
              for (const e of events) many.load.deliveredBytes += e.type === 'put' ? e.kv.value.length : 0;
              onEvents(events);
            });
        }
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  private survivors(): Member[] {
    return this.members.filter((m) => m.lives > 0);
  }

  private healthy(): boolean {
    const views = this.survivors().map((m) => m.membership.view);
    const newest = this.epoch();
    return views.every((v) => v !== undefined && v.epoch === newest && v.record.base === newest);
  }

  private epoch(): number {
    return Math.max(0, ...this.survivors().map((m) => m.membership.view?.epoch ?? 0));
  }
}

function isUp(member: Member, id: string): boolean {
  return member.membership.view?.nodes.get(id)?.up ?? false;
}

function bytesOf(ops: readonly Op[]): number {
  return ops.reduce((sum, op) => sum + (op.type === 'put' ? op.key.length + op.value.length : 0), 0);
}
