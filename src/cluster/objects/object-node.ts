import type { Clock } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import { RangeLocks, type Release } from '../../base/range-lock.js';
import { Signal } from '../../base/signal.js';
import type { ObjectStore } from '../../store/object-store.js';
import { emptyMessage, type PeerMessage, PeerType } from '../../wire/peer-message.js';
import type { ObjectAddress } from '../epochs/address.js';
import type { Membership } from '../epochs/membership.js';
import type { Mutants } from '../epochs/mutants.js';
import type { ClusterView, Placement } from '../epochs/view.js';
import type { Links, Origin } from '../reach/links.js';
import { Foreground } from './foreground.js';
import { decodeOids } from './oid-list.js';
import { type ByteRange, CommitStream, Unsettled } from './unsettled.js';

export interface ObjectNodeOptions {
  readonly selfId: string;
  readonly membership: Membership;
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** Placement of an object known by its id alone; undefined when no volume has it any more. */
  readonly resolve: (oid: bigint) => Promise<ObjectAddress | undefined>;
  /** Numbers of copies that volumes have: others need not be served by anybody. */
  readonly copiesInUse: () => Iterable<number>;
  readonly mutants?: Mutants;
}

/** A commit that has had nothing to ride on for so long is sent by itself. */
const COMMIT_DELAY_MS = 20;
const PEERING_RETRY_MS = 20;

/** What this node is in one epoch: its streams to the replicas and whether it has heard everybody. */
export class EpochContext {
  /** All replica work of earlier epochs is over and synced on this node. */
  readonly drained = new Signal();
  /** Every other node that is up has told what it has unsettled, and this epoch counts: a primary may act. */
  readonly peered = new Signal();
  /** Nodes that have settled everything they are the primary of in this epoch. */
  readonly settledPrimaries = new Set<string>();
  readonly streams = new Map<string, CommitStream>();
  /** Settling in progress, by object. */
  readonly settling = new Map<bigint, Promise<readonly number[] | undefined>>();
  /** Where a settling takes the content from, when not from the primary (after a replica refused a write). */
  readonly sources = new Map<bigint, string>();
  /** What to do once an object is settled: writes whose replicas differed count as committed only then. */
  readonly afterSettling = new Map<bigint, (() => void)[]>();

  constructor(readonly view: ClusterView) {}

  stream(nodeId: string): CommitStream {
    let stream = this.streams.get(nodeId);
    if (stream === undefined) {
      stream = new CommitStream();
      this.streams.set(nodeId, stream);
    }
    return stream;
  }
}

/** Thrown inside the node when an operation must start over in a newer epoch; never leaves it. */
export class EpochEnded extends Error {
  override readonly name = 'EpochEnded';
}

/**
 * State that the roles of a node (primary, replica, catching up) share: the epoch it is in, locks per object, and
 * what is unsettled. An epoch is entered in this order: nothing of an older one is accepted any more; what is still
 * being applied is waited for; the store is synced; only then are other nodes told what is unsettled here.
 */
export class ObjectNode {
  context: EpochContext | undefined;
  links!: Links;
  readonly locks = new RangeLocks<bigint>();
  /** How long clients' operations take; recovery goes by it. */
  readonly foreground: Foreground;
  readonly unsettled: Unsettled;
  /** Objects this node is changing as a primary, with the bytes of each change. */
  readonly inFlight = new Map<bigint, Set<ByteRange>>();
  /**
   * Objects of which this node, while it catches up or takes over, had no room for a change. It is not read and does
   * not count, so the change was acknowledged without it; it must be given them before it says that it has everything.
   */
  readonly refused = new Set<bigint>();
  /** It is about to say so: a change that it has no room for makes it give up its place first. */
  strict = false;
  /** An object was met here that lies elsewhere, while not all was well: it is to be looked for. */
  mayHaveStrays = false;
  private readonly lookups = new Set<{ readonly oid: bigint; changed: boolean }>();
  private applying = 0;
  private idle: Signal | undefined;
  private readonly waiters = new Set<() => void>();
  private readonly commitTimers = new Set<string>();
  stopped = false;

  constructor(readonly options: ObjectNodeOptions) {
    this.unsettled = new Unsettled(options.store.suspects());
    this.foreground = new Foreground(options.clock);
    options.store.setUncommittedSource(() => [...this.unsettled.all(), ...this.inFlight.keys()]);
  }

  get store(): ObjectStore {
    return this.options.store;
  }

  get selfId(): string {
    return this.options.selfId;
  }

  get epoch(): number {
    return this.context?.view.epoch ?? 0;
  }

  enter(view: ClusterView): void {
    const context = new EpochContext(view);
    this.context = context;
    this.unsettled.endEpoch(this.inFlight);
    for (const wake of [...this.waiters]) wake();
    void this.settleIn(context);
  }

  stop(): void {
    this.stopped = true;
    for (const wake of [...this.waiters]) wake();
  }

  /** Resolves when this node has reached the epoch (or a later one). */
  async reach(epoch: number): Promise<void> {
    while (this.epoch < epoch && !this.stopped) await this.nextEpoch();
  }

  /** Resolves at the next epoch change, or when the node stops. */
  nextEpoch(): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.waiters.delete(wake);
        resolve();
      };
      this.waiters.add(wake);
    });
  }

  lock(oid: bigint, start: number, end: number, exclusive: boolean): Release | Promise<Release> {
    return this.locks.acquire(oid, start, end, exclusive);
  }

  /** Runs replica work that must be over before this node can speak for a later epoch. */
  async applyWork<T>(work: () => Promise<T>): Promise<T> {
    this.applying++;
    try {
      return await work();
    } finally {
      this.applying--;
      if (this.applying === 0) {
        this.idle?.fire();
        this.idle = undefined;
      }
    }
  }

  /** A peer's request must be of the present epoch, from the present start of a node that is up in it (I-3). */
  async checkPeer(message: PeerMessage, origin: Origin): Promise<EpochContext> {
    if (message.epoch > this.epoch) await this.reach(message.epoch);
    const context = this.context;
    if (context === undefined || this.stopped) throw new AppError('again', 'not in the cluster yet');
    const { acceptOldEpochs } = this.options.mutants ?? {};
    if (message.epoch !== context.view.epoch && !acceptOldEpochs)
      throw new AppError('old-epoch', `epoch ${message.epoch} is over`);
    if (origin.closed) throw new AppError('network', 'the sender has gone');
    if (acceptOldEpochs) return context;
    const sender = context.view.nodes.get(origin.nodeId);
    if (sender === undefined || !sender.up || sender.incarnation !== origin.incarnation) {
      throw new AppError('old-epoch', `${origin.nodeId} is not a member in epoch ${context.view.epoch}`);
    }
    return context;
  }

  /** Sends a request stamped with the epoch; an answer that arrives after its end counts as none. */
  async ask(context: EpochContext, nodeId: string, message: PeerMessage): Promise<PeerMessage> {
    message.epoch = context.view.epoch;
    message.commit = tell(context.streams.get(nodeId));
    const answer = await this.links.request(nodeId, message);
    if (context !== this.context) throw new EpochEnded();
    return answer;
  }

  /**
   * The replica learns that writes are on all of them, soon. Until then it does not answer reads of these bytes by
   * itself. While writes go on, each tells of those before it; a message of its own would be one more to wake up for.
   */
  announceCommits(context: EpochContext, nodeId: string): void {
    if (this.commitTimers.has(nodeId)) return;
    this.commitTimers.add(nodeId);
    const stream = context.stream(nodeId);
    const { told } = stream;
    this.options.clock.after(COMMIT_DELAY_MS, () => {
      this.commitTimers.delete(nodeId);
      if (context !== this.context) {
        // The next epoch's stream has found this timer running.
        if (this.context?.streams.has(nodeId)) this.announceCommits(this.context, nodeId);
        return;
      }
      if (stream.told === stream.watermark) return;
      if (stream.told > told) {
        this.announceCommits(context, nodeId);
        return;
      }
      const message = emptyMessage(PeerType.commit);
      message.epoch = context.view.epoch;
      message.commit = tell(stream);
      this.links.post(nodeId, message);
    });
  }

  /** Other replicas of a placement that take every write: in sync or catching up. */
  others(placement: Placement): string[] {
    return [...placement.serving, ...placement.targets].filter((id) => id !== this.selfId);
  }

  /** Some change of the object is about to be applied here. */
  noteChange(oid: bigint): void {
    if (this.lookups.size === 0) return;
    for (const lookup of this.lookups) if (lookup.oid === oid) lookup.changed = true;
  }

  /**
   * Where the object lies; undefined when its volume does not exist any more, and then it is removed here. Numbers of
   * volumes are given out again: an object that is changed while it is looked up is one of a new volume.
   */
  async resolveOrDrop(context: EpochContext, oid: bigint): Promise<ObjectAddress | undefined> {
    for (;;) {
      const lookup = { oid, changed: false };
      this.lookups.add(lookup);
      try {
        const address = await this.options.resolve(oid);
        if (context !== this.context || this.stopped) throw new EpochEnded();
        if (address !== undefined) return address;
        // The store keeps the order of the calls: nothing can come between this and the removal.
        if (lookup.changed) continue;
        await this.drop(context, oid);
        return undefined;
      } finally {
        this.lookups.delete(lookup);
      }
    }
  }

  /** Removes an object that this node shall not have. */
  async drop(context: EpochContext, oid: bigint): Promise<void> {
    await this.applyWork(() => this.store.remove(oid, context.view.epoch, false));
    this.unsettled.settle(oid);
    await this.store.clearSuspects([oid]);
  }

  private async settleIn(context: EpochContext): Promise<void> {
    if (this.applying > 0) {
      this.idle ??= new Signal();
      await this.idle.promise;
    }
    // What earlier epochs acknowledged is durable before this one begins: after a power cut only the last epoch a
    // node took part in is in doubt (D-5).
    await this.store.flush();
    context.drained.fire();
    await Promise.all(context.view.peers.map((id) => this.peerWith(context, id)));
    // Everybody has entered this epoch. The history must say so before anything is shown or acknowledged in it.
    if (context !== this.context || !(await this.options.membership.declareRan(context.view))) return;
    if (context === this.context) context.peered.fire();
  }

  private async peerWith(context: EpochContext, nodeId: string): Promise<void> {
    while (context === this.context && !this.stopped) {
      try {
        const answer = await this.ask(context, nodeId, emptyMessage(PeerType.peering));
        for (const oid of decodeOids(answer.payload)) await this.noteUnsettled(context, oid);
        return;
      } catch (error) {
        if (error instanceof EpochEnded) return;
        this.options.log.debug(
          { node: nodeId, err: AppError.from(error).message },
          'peering failed, trying again',
        );
        await this.pause(PEERING_RETRY_MS);
      }
    }
  }

  /** What another node has unsettled matters here when this node is the one to settle it. */
  private async noteUnsettled(context: EpochContext, oid: bigint): Promise<void> {
    const address = await this.options.resolve(oid);
    if (context !== this.context) throw new EpochEnded();
    if (address !== undefined && context.view.locate(address).serving[0] === this.selfId)
      this.unsettled.add(oid);
  }

  pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.options.clock.after(delayMs, resolve);
    });
  }

  /**
   * A pause that the end of the epoch cuts short. Not a race with the epoch's end: a promise that lives for months
   * would keep something of every wait (I-11).
   */
  pauseInEpoch(context: EpochContext, delayMs: number): Promise<void> {
    if (context !== this.context || this.stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        timer.cancel();
        this.waiters.delete(wake);
        resolve();
      };
      const timer = this.options.clock.after(delayMs, wake);
      this.waiters.add(wake);
    });
  }
}

/** The watermark, for a message that is about to be sent; one that gets lost is made up for by the next. */
function tell(stream: CommitStream | undefined): number {
  if (stream === undefined) return 0;
  stream.told = stream.watermark;
  return stream.told;
}
