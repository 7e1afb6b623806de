import { type Clock, sleep } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Coordinator, Lease } from '../../coord/coordinator.js';
import { emptyMessage, PeerType } from '../../wire/peer-message.js';
import type { Membership } from '../epochs/membership.js';
import type { ClusterView } from '../epochs/view.js';
import type { Links } from './links.js';
import type { Aside, ReachBoard } from './reach-board.js';
import { type Reported, situationOf } from './reach-situation.js';
import { judge } from './reachability.js';

/** The verdict must be the same for so many ticks: what others find out at about the same time is part of it. */
const SETTLE_TICKS = 6;
const PATIENCE_TICKS = 2;
/** After coming back a node must have reached everybody for this long; doubled each time it has to go again. */
const BACKOFF_MIN_MS = 1000;
const BACKOFF_MAX_MS = 60_000;
/** Whoever has stayed for so long begins anew. */
const FORGIVEN_AFTER_MS = 300_000;
const ASK_AT_ONCE_MAX = 32;

export interface StepAsideOptions {
  readonly coordinator: Coordinator;
  readonly membership: Membership;
  readonly board: ReachBoard;
  readonly links: Links;
  readonly clock: Clock;
  readonly log: Logger;
  readonly selfId: string;
  readonly leaseTtlMs: number;
  readonly tickMs: number;
  readonly copiesInUse: () => Iterable<number>;
}

/** The last verdict, and from what it was made. */
interface Judged extends Pick<Reported, 'view' | 'reports' | 'asides'> {
  readonly place: number | undefined;
  readonly stuck: boolean;
}

/** Where this node stands when it has stepped aside. */
export interface AsideState {
  readonly reason: string;
  readonly sinceWallMs: number;
  /** Members with which it does not work both ways yet. */
  readonly waitsFor: readonly string[];
}

/**
 * This node's part in what `judge` decides: it gives up its registration, so that the others go on without it, and
 * takes it again when it reaches everybody and everybody reaches it, or when it turns out to be needed more than those
 * it cannot reach.
 */
export class StepAside {
  state: AsideState | undefined;
  private settledTicks = 0;
  private judged: Judged | undefined;
  private leaving = false;
  private stopped = false;
  private times = 0;
  private lastReturnMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: StepAsideOptions) {}

  stop(): void {
    this.stopped = true;
  }

  /** Once per tick. */
  tick(): void {
    if (this.leaving || this.stopped) return;
    const place = this.placeInVerdict();
    this.settledTicks = place === undefined ? 0 : this.settledTicks + 1;
    // One after the other; who does not go in its turn is not waited for.
    if (this.settledTicks >= SETTLE_TICKS + Math.min(place!, PATIENCE_TICKS)) this.go();
  }

  /** Something has changed: it may be this node's turn. */
  look(): void {
    if (this.leaving || this.stopped || this.settledTicks < SETTLE_TICKS) return;
    if (this.placeInVerdict() === 0) this.go();
  }

  private go(): void {
    this.leaving = true;
    this.leave(this.options.membership.view!)
      .catch((error) =>
        this.options.log.warn({ err: AppError.from(error).message }, 'stepping aside is tried again'),
      )
      .finally(() => {
        this.leaving = false;
      });
  }

  /** Which one of those that must go this node is, from 0; undefined: it may stay. */
  private placeInVerdict(): number | undefined {
    const { board, selfId, membership } = this.options;
    const { view } = membership;
    if (view === undefined || board.reports.size === 0) return undefined;
    if (!view.self?.up || view.self.incarnation !== membership.incarnation) return undefined;
    const { reports, asides } = board;
    const { judged } = this;
    // Large clusters take long to judge, and mostly nothing has changed.
    if (judged?.view === view && judged.reports === reports && judged.asides === asides) return judged.place;
    const situation = situationOf(this.reported(view));
    const verdict = situation && judge(situation);
    const index = verdict?.go.indexOf(selfId) ?? -1;
    const place = index === -1 ? undefined : index;
    if (verdict?.stuck && !judged?.stuck) {
      const text = 'the network between sheep is in so many pieces that none holds half of the cluster';
      this.options.log.error({ broken: situation!.broken.length }, text);
    }
    this.judged = { view, reports, asides, place, stuck: verdict?.stuck ?? false };
    return place;
  }

  private reported(view: ClusterView): Reported {
    const { board, copiesInUse } = this.options;
    return { view, reports: board.reports, asides: board.asides, copiesInUse };
  }

  private async leave(view: ClusterView): Promise<void> {
    const { board, coordinator, membership, leaseTtlMs, log, selfId, clock } = this.options;
    const turn = await board.turn();
    // Somebody else may have gone since, or some report may be gone.
    if (membership.view !== view || this.placeInVerdict() === undefined) return;
    const self = membership.registrations.get(selfId);
    if (self === undefined) return;
    const cannot = [...this.unreached(view)].sort();
    const reason = `no connection between this node and ${cannot.join(', ')}`;
    const { host, port, ioHost, ioPort, incarnation } = self;
    const io = { ...(ioHost !== undefined && { ioHost }), ...(ioPort !== undefined && { ioPort }) };
    const sinceWallMs = clock.wallMs();
    const aside: Aside = { id: selfId, host, port, ...io, incarnation, sinceWallMs, reason };
    const lease = await coordinator.grantLease(leaseTtlMs);
    let done = false;
    try {
      done = await board.stepAside(view, aside, turn, lease);
    } finally {
      if (!done) void lease.revoke().catch(() => {});
    }
    if (!done) return;
    log.warn({ cannot }, 'this node steps aside until it reaches all others: the cluster goes on without it');
    this.state = { reason, sinceWallMs, waitsFor: cannot };
    this.countDeparture();
    this.settledTicks = 0;
    const ready = this.untilReturn(aside, lease);
    await membership.startAnew(reason, ready);
    await ready;
  }

  /** Members with which this node is in a broken pair. */
  private unreached(view: ClusterView): Set<string> {
    const { selfId } = this.options;
    const pairs = situationOf(this.reported(view))?.broken ?? [];
    return new Set(pairs.filter((pair) => pair.includes(selfId)).map(([a, b]) => (a === selfId ? b : a)));
  }

  private countDeparture(): void {
    const nowMs = this.options.clock.nowMs();
    this.times = nowMs - this.lastReturnMs > FORGIVEN_AFTER_MS ? 1 : this.times + 1;
  }

  private get backoffMs(): number {
    return Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** (this.times - 1));
  }

  /** Resolves when this node may register again. */
  private async untilReturn(aside: Aside, lease: Lease): Promise<void> {
    const { clock, log, tickMs } = this.options;
    let current = lease;
    let goodSinceMs: number | undefined;
    while (!this.stopped) {
      await sleep(clock, tickMs);
      current = await this.keepSaying(aside, current);
      const good = await this.mayReturn();
      goodSinceMs = good ? (goodSinceMs ?? clock.nowMs()) : undefined;
      if (goodSinceMs !== undefined && clock.nowMs() - goodSinceMs >= this.backoffMs) break;
    }
    log.info({}, 'this node takes its place in the cluster again');
    this.lastReturnMs = clock.nowMs();
    this.state = undefined;
    await current.revoke().catch(() => {
      // It ends by itself; the next registration has another incarnation, which is not aside.
    });
  }

  /** Never fails: a node that gave up here would stay outside for ever. */
  private async mayReturn(): Promise<boolean> {
    try {
      const waitsFor = await this.notReached();
      this.note(waitsFor);
      return waitsFor.length === 0 || this.isNeeded(waitsFor);
    } catch (error) {
      this.options.log.error({ err: AppError.from(error).message }, 'looking for the way back failed');
      return false;
    }
  }

  private note(waitsFor: readonly string[]): void {
    const { state } = this;
    if (state === undefined || state.waitsFor.join() === waitsFor.join()) return;
    this.options.log.info({ waitsFor }, 'stepped aside; waiting for connections to these nodes, both ways');
    this.state = { ...state, waitsFor };
  }

  /** The others find this node by what it says of itself. */
  private async keepSaying(aside: Aside, lease: Lease): Promise<Lease> {
    const { coordinator, board, leaseTtlMs, log } = this.options;
    if (lease.validUntilMs() > 0) return lease;
    try {
      const next = await coordinator.grantLease(leaseTtlMs);
      await board.sayAgain(aside, next);
      return next;
    } catch (error) {
      log.debug({ err: AppError.from(error).message }, 'the coordinator cannot be reached');
      return lease;
    }
  }

  /** Members that do not answer, or do not get an answer from here themselves. */
  private async notReached(): Promise<string[]> {
    const { membership } = this.options;
    const peers = (membership.view?.peers ?? []).filter((id) => membership.registrations.has(id));
    const failed: string[] = [];
    for (let i = 0; i < peers.length; i += ASK_AT_ONCE_MAX) {
      const some = peers.slice(i, i + ASK_AT_ONCE_MAX);
      const answers = await Promise.all(some.map((id) => this.reachesBothWays(id)));
      failed.push(...some.filter((_, index) => !answers[index]));
    }
    return failed;
  }

  private async reachesBothWays(nodeId: string): Promise<boolean> {
    const { links, clock, leaseTtlMs } = this.options;
    const question = emptyMessage(PeerType.pingBack);
    const answer = links.request(nodeId, question).then(
      () => true,
      // A sheep of a former version does not know the question; it can answer, though.
      (error) => AppError.isCode(error, 'not-supported'),
    );
    const late = sleep(clock, leaseTtlMs).then(() => false);
    return Promise.race([answer, late]);
  }

  /** If this node were up, others would have to go and not it: something waits for what only it has. */
  private isNeeded(cut: readonly string[]): boolean {
    const { membership, selfId } = this.options;
    const { view } = membership;
    if (view === undefined || view.self === undefined) return false;
    const situation = situationOf({ ...this.reported(view), returning: { id: selfId, cut } });
    if (situation === undefined) return false;
    const { go, stuck } = judge(situation);
    return !stuck && !go.includes(selfId);
  }
}
