import { type Clock, sleep } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Compare, Coordinator } from '../../coord/coordinator.js';
import type { Change } from './changes.js';
import type { EpochRecord, Registration } from './epoch.js';
import type { Mirror } from './mirror.js';
import { nextEpoch } from './next-epoch.js';
import {
  compareFor,
  EPOCH_PREFIX,
  epochKey,
  NODE_PREFIX,
  onlyStatements,
  operationsFor,
  ranKey,
  sameContent,
} from './proposal.js';
import type { ClusterView } from './view.js';

const RETRY_MS = 50;
/** What a node says of its own progress is in no hurry: several may say so, and need one epoch only. */
const STATEMENT_DELAY_MS = 100;
/** That it has been given what a move brings it, while others have not: the switch will tell, or this. */
const MOVED_DELAY_MS = 5000;
/** Between the turns of nodes that want the same of the coordinator. */
const TURN_MS = 10;
const TURN_MS_MAX = 1000;

/** What the proposer has to know of its node. */
export interface Proposing {
  readonly selfId: string;
  readonly view: ClusterView | undefined;
  readonly registrations: ReadonlyMap<string, Registration>;
  readonly isStopped: boolean;
  readonly mayPropose: boolean;
  /** The registration of a node exactly as the coordinator has it. */
  registrationText(nodeId: string): string | undefined;
}

/** Makes epochs: proposes the next one when registrations and record differ, or somebody wants a change. */
export class Proposer {
  private proposing = false;

  constructor(
    private readonly membership: Proposing,
    private readonly options: {
      readonly coordinator: Coordinator;
      readonly clock: Clock;
      readonly log: Logger;
    },
    private readonly epochMirror: Mirror,
    private readonly ranMirror: Mirror,
  ) {}

  /**
   * Everybody who is up in this epoch has entered it: says so, so that it counts in the history. Resolves once it is
   * said, before which nobody may act in the epoch; false when the epoch is over.
   */
  async declareRan(view: ClusterView): Promise<boolean> {
    const { coordinator, clock, log } = this.options;
    const key = ranKey(view.epoch);
    await sleep(clock, this.turnMs(view.record));
    while (this.membership.view === view && !this.membership.isStopped) {
      if (this.ranMirror.entries.has(key)) return true;
      try {
        const compares: Compare[] = [
          { key: epochKey(view.epoch), exists: true },
          { key: epochKey(view.epoch + 1), exists: false },
        ];
        const { ok } = await coordinator.txn(compares, [{ type: 'put', key, value: '' }]);
        if (ok) return this.membership.view === view;
      } catch (error) {
        log.debug(
          { err: AppError.from(error).message },
          'an epoch is not yet known to be entered, trying again',
        );
      }
      await sleep(clock, RETRY_MS);
    }
    return false;
  }

  /**
   * Makes an epoch with this change, whatever else happens meanwhile. Resolves with the epoch that has it, once this
   * node has seen it; undefined when there was nothing to change.
   */
  async change(change: Change): Promise<number | undefined> {
    const { clock } = this.options;
    for (;;) {
      const record = this.membership.view?.history.current;
      if (record === undefined) throw new AppError('wait-for-format', 'Waiting for cluster to be formatted');
      if (this.membership.isStopped) throw new AppError('shutdown', 'this sheep stops');
      const next = this.nextOf(record, change);
      if (next === undefined || sameContent(next, this.nextOf(record))) return undefined;
      // An answer that was lost is made up for by looking whether the change is still missing.
      const epoch = await this.commit(record, next).catch((error) => {
        if (!AppError.isCode(error, 'network')) throw error;
        return undefined;
      });
      if (epoch !== undefined) {
        while ((this.membership.view?.epoch ?? 0) < epoch && !this.membership.isStopped)
          await sleep(clock, RETRY_MS);
        return epoch;
      }
      await sleep(clock, RETRY_MS);
    }
  }

  async propose(): Promise<void> {
    const record = this.membership.view?.history.current;
    if (record === undefined || this.proposing || !this.membership.mayPropose) return;
    let next = this.nextOf(record);
    if (next === undefined) return;
    this.proposing = true;
    next = await this.gather(record, next);
    try {
      if (next !== undefined) await this.commit(record, next);
    } catch (error) {
      this.options.log.warn({ err: AppError.from(error).message }, 'proposing an epoch failed');
      await sleep(this.options.clock, RETRY_MS);
    }
    this.proposing = false;
    // Lost races and lost answers alike are settled by what the watch shows next.
    if (this.membership.view?.history.current !== record) void this.propose();
    else this.options.clock.after(RETRY_MS, () => void this.propose());
  }

  /** Waits for this node's turn, and for more of what is in no hurry: each epoch interrupts everybody. */
  private async gather(record: EpochRecord, first: EpochRecord): Promise<EpochRecord | undefined> {
    const { clock } = this.options;
    const fromMs = clock.nowMs();
    let next: EpochRecord | undefined = first;
    const turnMs = this.turnMs(record);
    if (turnMs > 0) await sleep(clock, turnMs);
    for (;;) {
      next = this.membership.view?.history.current === record ? this.nextOf(record) : undefined;
      if (next === undefined || clock.nowMs() - fromMs >= turnMs + patienceMs(record, next)) return next;
      await sleep(clock, STATEMENT_DELAY_MS);
    }
  }

  /** One proposal is enough: the nodes take their turns, the later ones in case that the earlier ones cannot. */
  private turnMs(record: EpochRecord): number {
    const able = record.nodes.filter((n) => n.up && this.membership.registrations.has(n.id));
    const turn = able.findIndex((n) => n.id === this.membership.selfId);
    return Math.min(TURN_MS * (turn < 0 ? able.length : turn), TURN_MS_MAX);
  }

  /** The epoch that would follow if this were asked for now. */
  whatIf(change: Change): EpochRecord | undefined {
    const record = this.membership.view?.history.current;
    return record && this.nextOf(record, change);
  }

  private nextOf(record: EpochRecord, change?: Change): EpochRecord | undefined {
    const ran = this.ranMirror.entries.has(ranKey(record.epoch));
    const step = { wallMs: this.options.clock.wallMs(), ran, ...(change !== undefined && { change }) };
    return nextEpoch(record, this.membership.registrations, step);
  }

  /** Resolves with the number of the epoch; undefined when something it was made from has changed. */
  private async commit(record: EpochRecord, next: EpochRecord): Promise<number | undefined> {
    const compares = [...compareFor(record, next), ...this.stillSaid(record, next)];
    const known = [...this.epochMirror.entries.keys()].map((key) => Number(key.slice(EPOCH_PREFIX.length)));
    const { ok } = await this.options.coordinator.txn(compares, operationsFor(next, known));
    return ok ? next.epoch : undefined;
  }

  /**
   * What is said of nodes that come up or have caught up is what their registrations say now: this node sees epochs
   * and registrations by two watches, and one may lag behind the other.
   */
  private stillSaid(record: EpochRecord, next: EpochRecord): Compare[] {
    const former = new Map(record.nodes.map((n) => [n.id, n]));
    const changed = next.nodes.filter((n) => {
      const old = former.get(n.id);
      return n.up && (n.caughtUp || !old?.up || n.incarnation !== old.incarnation || n.moved !== old.moved);
    });
    return changed.map((n) => ({
      key: `${NODE_PREFIX}${n.id}`,
      value: this.membership.registrationText(n.id) ?? '',
    }));
  }
}

function patienceMs(record: EpochRecord, next: EpochRecord): number {
  if (!onlyStatements(record, next)) return 0;
  const switches = next.move !== record.move;
  return switches || next.nodes.some((n) => n.caughtUp) ? STATEMENT_DELAY_MS : MOVED_DELAY_MS;
}
