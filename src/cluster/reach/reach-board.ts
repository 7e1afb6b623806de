import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Coordinator, Lease } from '../../coord/coordinator.js';
import type { Membership } from '../epochs/membership.js';
import { Mirror } from '../epochs/mirror.js';
import { epochKey, NODE_PREFIX } from '../epochs/proposal.js';
import type { ClusterView } from '../epochs/view.js';
import type { PeerAddresses } from './outbound.js';

/**
 * What the coordinator knows about who reaches whom. All keys die with a lease of the node they are about.
 *
 * | Key          | Value (JSON)                                                                         |
 * | ------------ | ------------------------------------------------------------------------------------ |
 * | `reach/<id>` | `Report`: whom this member cannot reach; absent when it reaches all                  |
 * | `aside/<id>` | `Aside`: this node has stepped aside, and where it is, as it has no registration     |
 * | `reach-turn` | who stepped aside last: whoever wants to after it must have seen it (never removed)  |
 */
export const REACH_PREFIX = 'reach/';
export const ASIDE_PREFIX = 'aside/';
const TURN_KEY = 'reach-turn';

export interface Report {
  /** Who says so. */
  readonly incarnation: string;
  /** By id, the incarnation that cannot be reached. */
  readonly cannot: Readonly<Record<string, string>>;
}

export interface Aside extends PeerAddresses {
  readonly id: string;
  /** The one that it has given up. */
  readonly incarnation: string;
  readonly sinceWallMs: number;
  /** In words. */
  readonly reason: string;
}

export interface ReachBoardOptions {
  readonly coordinator: Coordinator;
  readonly membership: Membership;
  readonly selfId: string;
  readonly log: Logger;
  /** A report or a step aside has come or gone. */
  readonly onChange: () => void;
}

export class ReachBoard {
  reports: ReadonlyMap<string, Report> = new Map();
  asides: ReadonlyMap<string, Aside> = new Map();
  /** Ids in any report, of those who complain and those they complain about. */
  named: ReadonlySet<string> = new Set();
  private readonly reachMirror: Mirror;
  private readonly asideMirror: Mirror;
  private saying = false;

  constructor(private readonly options: ReachBoardOptions) {
    const { coordinator } = options;
    this.reachMirror = new Mirror(coordinator, REACH_PREFIX, () => this.readReports());
    this.asideMirror = new Mirror(coordinator, ASIDE_PREFIX, () => this.readAsides());
  }

  async start(): Promise<void> {
    await this.reachMirror.start();
    await this.asideMirror.start();
    this.readReports();
    this.readAsides();
  }

  stop(): void {
    this.reachMirror.stop();
    this.asideMirror.stop();
  }

  /** Makes this node's report say so, unless it does already. Once at a time; called again and again. */
  say(cannot: ReadonlyMap<string, string>): void {
    const { membership, coordinator, selfId, log } = this.options;
    const lease = membership.leaseId;
    const key = `${REACH_PREFIX}${selfId}`;
    const report: Report = { incarnation: membership.incarnation, cannot: Object.fromEntries(cannot) };
    const wanted = cannot.size === 0 ? undefined : JSON.stringify(report);
    if (lease === '' || this.saying || this.reachMirror.entries.get(key) === wanted) return;
    this.saying = true;
    const op = wanted === undefined ? { type: 'delete' as const, key } : putWith(lease, key, wanted);
    log.info({ cannot: [...cannot.keys()] }, 'who cannot be reached has changed');
    coordinator
      .txn([], [op])
      .then(({ revision }) => this.reachMirror.seen(revision))
      .catch((error) => log.debug({ err: AppError.from(error).message }, 'a report is tried again'))
      .finally(() => {
        this.saying = false;
      });
  }

  /**
   * Says that this node steps aside, if this is still the epoch, it still has its registration, and nobody else has
   * stepped aside since `turn` was read. False: look again.
   */
  async stepAside(view: ClusterView, aside: Aside, turn: Turn, lease: Lease): Promise<boolean> {
    const { membership, coordinator, selfId } = this.options;
    const compares = [
      { key: epochKey(view.epoch), exists: true },
      { key: epochKey(view.epoch + 1), exists: false },
      { key: `${NODE_PREFIX}${selfId}`, value: membership.registrationText(selfId) ?? '' },
      turn.revision === 0 ? { key: TURN_KEY, exists: false } : { key: TURN_KEY, modRevision: turn.revision },
    ];
    const { ok } = await coordinator.txn(compares, [
      putWith(lease.id, `${ASIDE_PREFIX}${selfId}`, JSON.stringify(aside)),
      { type: 'put', key: TURN_KEY, value: `${selfId} ${aside.incarnation}` },
    ]);
    return ok;
  }

  /** This node has stepped aside and the lease of that statement was lost. */
  async sayAgain(aside: Aside, lease: Lease): Promise<void> {
    const key = `${ASIDE_PREFIX}${this.options.selfId}`;
    await this.options.coordinator.txn([], [putWith(lease.id, key, JSON.stringify(aside))]);
  }

  /** Everything that is known of steps aside up to now has been taken into account by whoever reads after this. */
  async turn(): Promise<Turn> {
    const found = await this.options.coordinator.get(TURN_KEY);
    await this.asideMirror.catchUp();
    await this.reachMirror.catchUp();
    return { revision: found?.modRevision ?? 0 };
  }

  /** A node that has no place in the cluster for the moment. */
  addressOf(nodeId: string): PeerAddresses | undefined {
    return this.asides.get(nodeId);
  }

  private readReports(): void {
    const reports = new Map<string, Report>();
    const named = new Set<string>();
    for (const [key, text] of this.reachMirror.entries) {
      const id = key.slice(REACH_PREFIX.length);
      const report = JSON.parse(text) as Report;
      reports.set(id, report);
      named.add(id);
      for (const other of Object.keys(report.cannot)) named.add(other);
    }
    this.reports = reports;
    this.named = named;
    this.options.onChange();
  }

  private readAsides(): void {
    const asides = [...this.asideMirror.entries.values()].map((text) => JSON.parse(text) as Aside);
    this.asides = new Map(asides.map((aside) => [aside.id, aside]));
    this.options.onChange();
  }
}

export interface Turn {
  readonly revision: number;
}

function putWith(lease: string, key: string, value: string) {
  return { type: 'put' as const, key, value, lease };
}
