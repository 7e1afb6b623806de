import type { Clock, Timer } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Coordinator } from '../../coord/coordinator.js';
import { emptyMessage, type PeerMessage, PeerType } from '../../wire/peer-message.js';
import type { Membership } from '../epochs/membership.js';
import type { Links } from './links.js';
import type { PeerAddresses } from './outbound.js';
import { Prober } from './prober.js';
import { type Aside, ReachBoard } from './reach-board.js';
import { type AsideState, StepAside } from './step-aside.js';

/** Ticks in the time after which a silent node loses its lease. */
const TICKS_PER_LEASE = 6;

export interface ConnectivityOptions {
  readonly selfId: string;
  readonly coordinator: Coordinator;
  readonly membership: Membership;
  readonly links: Links;
  readonly clock: Clock;
  readonly log: Logger;
  readonly leaseTtlMs: number;
  readonly copiesInUse: () => Iterable<number>;
}

/** What this node knows of connections between members, for people. */
export interface ConnectivityState {
  /** Members that this node cannot reach. */
  readonly cut: readonly string[];
  /** The same as all members tell it: pairs of ids. */
  readonly broken: readonly (readonly [string, string])[];
  readonly asides: readonly Aside[];
  /** This node has stepped aside. */
  readonly self: AsideState | undefined;
  /** Members with an I/O network that does not work from here: the main network is used. */
  readonly ioFailed: readonly string[];
  /** How often a link had to change from the I/O network to the main one. */
  readonly ioFallbacks: number;
}

/**
 * Keeps members that cannot reach each other from waiting for each other for ever: finds out (`prober.ts`), tells the
 * others (`reach-board.ts`), and steps aside when this node is the one to go (`reachability.ts`, `step-aside.ts`).
 */
export class Connectivity {
  private readonly prober: Prober;
  private readonly board: ReachBoard;
  private readonly stepAside: StepAside;
  private readonly tickMs: number;
  private timer: Timer | undefined;
  private stopped = false;

  constructor(private readonly options: ConnectivityOptions) {
    this.tickMs = options.leaseTtlMs / TICKS_PER_LEASE;
    this.prober = new Prober({ ...options, tickMs: this.tickMs });
    this.board = new ReachBoard({ ...options, onChange: () => this.look() });
    this.stepAside = new StepAside({ ...options, board: this.board, tickMs: this.tickMs });
  }

  async start(): Promise<void> {
    await this.board.start();
    if (!this.stopped) this.schedule();
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
    this.prober.stop();
    this.board.stop();
    this.stepAside.stop();
  }

  /** Where a node is that has no registration because it has stepped aside. */
  addressOf(nodeId: string): PeerAddresses | undefined {
    return this.board.addressOf(nodeId);
  }

  /** A node that has stepped aside asks whether it is reached from here, too. */
  async pingBack(nodeId: string): Promise<PeerMessage> {
    const { links, clock } = this.options;
    // Nobody else watches over links to nodes that are not up.
    const timer = clock.after(this.tickMs * (TICKS_PER_LEASE / 2), () => links.renew(nodeId));
    try {
      await links.request(nodeId, emptyMessage(PeerType.ping));
    } finally {
      timer.cancel();
    }
    return emptyMessage(PeerType.pingBack + 1);
  }

  /** Members that this node cannot reach, with the incarnations that this is about. */
  get cut(): ReadonlyMap<string, string> {
    return this.prober.cut;
  }

  get isAside(): boolean {
    return this.stepAside.state !== undefined;
  }

  state(): ConnectivityState {
    const { board, options } = this;
    const states = options.links.states();
    return {
      cut: [...this.cut.keys()].sort(),
      broken: [...board.reports].flatMap(([id, report]) =>
        Object.keys(report.cannot).map((other): [string, string] => [id, other]),
      ),
      asides: [...board.asides.values()],
      self: this.stepAside.state,
      ioFailed: states.filter((s) => s.ioAvoided).map((s) => s.nodeId),
      ioFallbacks: states.reduce((sum, s) => sum + s.fallbacks, 0),
    };
  }

  /** Also to be called when there is a new epoch. */
  look(): void {
    this.stepAside.look();
  }

  private schedule(): void {
    this.timer = this.options.clock.after(this.tickMs, () => {
      try {
        this.tick();
      } catch (error) {
        this.options.log.error({ err: AppError.from(error).message }, 'looking after connections failed');
      }
      if (!this.stopped) this.schedule();
    });
  }

  private tick(): void {
    const { membership } = this.options;
    const { view } = membership;
    if (view === undefined) return;
    const peers = view.peers.map((id) => ({ id, incarnation: view.nodes.get(id)!.incarnation }));
    const { named } = this.board;
    this.prober.tick(peers, (id) => named.has(id));
    // What a node without a place in this epoch cannot reach is nobody's trouble.
    const isMember = view.self?.up === true && view.self.incarnation === membership.incarnation;
    this.board.say(isMember ? this.prober.cut : new Map());
    this.stepAside.tick();
  }
}
