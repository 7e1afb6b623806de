import { type Clock, sleep } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Compare, Coordinator, Lease, Op } from '../../coord/coordinator.js';
import { AuthorityHistory, defaultMinCopies } from './authority.js';
import type { Change } from './changes.js';
import { type EpochRecord, formatEpoch, type Registration } from './epoch.js';
import { EpochRecords } from './epoch-records.js';
import { Mirror } from './mirror.js';
import type { Mutants } from './mutants.js';
import { firstEpoch } from './next-epoch.js';
import { EPOCH_PREFIX, epochKey, NODE_PREFIX, RAN_PREFIX } from './proposal.js';
import { Proposer, type Proposing } from './proposer.js';
import { ClusterView } from './view.js';

const REGISTER_RETRY_MS = 50;

export interface MembershipOptions {
  readonly coordinator: Coordinator;
  readonly clock: Clock;
  readonly log: Logger;
  readonly self: Omit<Registration, 'incarnation' | 'lease' | 'caughtUp'>;
  readonly leaseTtlMs: number;
  /** Copies that a write needs, from the number of holders (I-4). */
  readonly minCopiesOf?: (copies: number) => number;
  readonly newIncarnation: () => string;
  readonly mutants?: Mutants | undefined;
}

/**
 * This node's place in the cluster: it keeps its registration alive, follows the epochs, and proposes the next one
 * when registrations and record differ. A node is declared down only when its registration, and so its lease, is
 * gone: never on a mere suspicion (I-3).
 */
export class Membership implements Proposing {
  view: ClusterView | undefined;
  readonly registrations = new Map<string, Registration>();
  private readonly nodesMirror: Mirror;
  private readonly epochMirror: Mirror;
  private readonly ranMirror: Mirror;
  private readonly records: EpochRecords;
  private readonly proposer: Proposer;
  private lease: Lease | undefined;
  private registration: Registration | undefined;
  private stopped = false;
  private frozen = false;
  /** An epoch has taken note of what this start of the node had lost; a later registration has lost nothing more. */
  private lossKnown = false;
  /** It may register anew when this is resolved. */
  private ready: Promise<void> = Promise.resolve();
  private listeners: ((view: ClusterView) => void)[] = [];

  constructor(private readonly options: MembershipOptions) {
    this.nodesMirror = new Mirror(options.coordinator, NODE_PREFIX, (keys) => {
      for (const key of keys) this.readRegistration(key);
      this.refresh();
    });
    this.epochMirror = new Mirror(options.coordinator, EPOCH_PREFIX, () => this.refresh());
    this.records = new EpochRecords(this.epochMirror);
    this.ranMirror = new Mirror(options.coordinator, RAN_PREFIX, () => {});
    this.proposer = new Proposer(this, options, this.epochMirror, this.ranMirror);
  }

  /** Called with every new view, in order. */
  onView(listener: (view: ClusterView) => void): void {
    this.listeners.push(listener);
    if (this.view !== undefined) listener(this.view);
  }

  async start(): Promise<void> {
    await this.registerUntilDone();
    await this.nodesMirror.start();
    for (const key of this.nodesMirror.entries.keys()) this.readRegistration(key);
    await this.ranMirror.start();
    await this.epochMirror.start();
    this.refresh();
  }

  /** The whole cluster is being stopped: nobody is declared down for that. */
  freeze(): void {
    this.frozen = true;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.nodesMirror.stop();
    this.epochMirror.stop();
    this.ranMirror.stop();
    this.view?.ended.fire();
    await this.lease?.revoke().catch(() => {
      // The lease ends by itself when it is not renewed.
    });
  }

  get selfId(): string {
    return this.options.self.id;
  }

  /** The id of the present start of this node. */
  get incarnation(): string {
    return this.registration?.incarnation ?? '';
  }

  /** False: others may have excluded this node; it must not answer from its own copies (I-3). */
  leaseValid(): boolean {
    // A new lease says nothing for an epoch that knows this node by its former one: it may have been excluded since.
    if (this.lease === undefined || this.view?.self?.incarnation !== this.incarnation) return false;
    return this.options.clock.nowMs() < this.lease.validUntilMs();
  }

  get leaseId(): string {
    return this.lease?.id ?? '';
  }

  /** The registration of a node exactly as the coordinator has it, to compare with in a transaction. */
  registrationText(nodeId: string): string | undefined {
    return this.nodesMirror.entries.get(`${NODE_PREFIX}${nodeId}`);
  }

  /**
   * Gives this node's place up and takes it again once `ready`: what it is has changed so much that nothing it said may
   * count any more. It serves nothing in between.
   */
  async startAnew(reason: string, ready: Promise<void> = Promise.resolve()): Promise<void> {
    const { lease } = this;
    if (lease === undefined || this.stopped) return;
    this.options.log.warn({ reason }, 'this node gives up its place in the cluster for the moment');
    this.ready = ready;
    this.lease = undefined;
    await lease.revoke().catch(() => {
      // The lease ends by itself when it is not renewed.
    });
  }

  /** The data path met a closed door at this node. */
  suspect(nodeId: string): void {
    const lease = this.registrations.get(nodeId)?.lease;
    if (lease !== undefined) this.options.coordinator.suspect(lease);
  }

  /** Everything missed before the epoch in which this node came up has been caught up with. */
  declareCaughtUp(upSince: number): Promise<void> {
    return this.declare({ caughtUp: upSince });
  }

  /** This node has everything that it shall hold when the move is done. */
  declareMoved(move: number): Promise<void> {
    return this.declare({ moved: move });
  }

  /** Throws 'again' when it could not be said. */
  private async declare(fields: Partial<Pick<Registration, 'caughtUp' | 'moved'>>): Promise<void> {
    const { registration } = this;
    if (registration === undefined) throw new AppError('again', 'this node is not registered');
    const said = { ...registration, ...fields };
    if (said.caughtUp === registration.caughtUp && said.moved === registration.moved) return;
    // Only the registration of this very incarnation may say so.
    const same: Compare[] = [{ key: this.key, value: JSON.stringify(registration) }];
    const done = await this.putRegistration(said, same);
    // It is being registered anew, which says nothing yet.
    if (this.registration !== registration) throw new AppError('again', 'the registration has changed');
    if (!done) await this.readBack(registration);
    else this.registration = said;
  }

  /** What was said earlier and answered to nobody may be there all the same: otherwise nothing could be said again. */
  private async readBack(known: Registration): Promise<never> {
    const kv = await this.options.coordinator.get(this.key);
    const found = kv === undefined ? undefined : (JSON.parse(kv.value) as Registration);
    const isOurs = found?.incarnation === known.incarnation && found.lease === known.lease;
    if (isOurs && this.registration === known) this.registration = found;
    throw new AppError('again', 'the registration has changed');
  }

  /** See Proposer. */
  declareRan(view: ClusterView): Promise<boolean> {
    return this.proposer.declareRan(view);
  }

  change(change: Change): Promise<number | undefined> {
    return this.proposer.change(change);
  }

  whatIf(change: Change): EpochRecord | undefined {
    return this.proposer.whatIf(change);
  }

  get isStopped(): boolean {
    return this.stopped;
  }

  /** It takes part in making epochs. */
  get mayPropose(): boolean {
    return !this.stopped && !this.frozen && this.registrations.has(this.options.self.id);
  }

  /** Writes the first epoch of a new format: all registered nodes are members. Throws 'again' before this one is. */
  async format(extra: { compares: Compare[]; ops: Op[] }): Promise<boolean> {
    // The doors open before this node has registered: a first epoch without members could never get any.
    if (!this.registrations.has(this.options.self.id))
      throw new AppError('again', 'this sheep has not joined yet');
    const record = firstEpoch(this.registrations.values(), this.options.clock.wallMs());
    const result = await this.options.coordinator.txn(extra.compares, [
      ...extra.ops,
      { type: 'delete-prefix', prefix: EPOCH_PREFIX },
      { type: 'delete-prefix', prefix: RAN_PREFIX },
      { type: 'put', key: epochKey(record.epoch), value: JSON.stringify(record) },
    ]);
    return result.ok;
  }

  /** The cluster was formatted anew: what follows is another history, for other listeners. */
  async reset(): Promise<void> {
    await this.epochMirror.catchUp();
    const former = this.view;
    this.view = undefined;
    this.listeners = [];
    former?.ended.fire();
    await this.forgetCaughtUp();
    this.refresh();
  }

  /** What this node had caught up with belongs to the former history. */
  private async forgetCaughtUp(): Promise<void> {
    const { registration } = this;
    if (registration === undefined) return;
    if (registration.caughtUp === undefined && registration.moved === undefined) return;
    const { caughtUp: _, moved: __, ...fresh } = registration;
    const same: Compare[] = [{ key: this.key, value: JSON.stringify(registration) }];
    const done = await this.putRegistration(fresh, same).catch(() => false);
    // Otherwise it is being registered anew, which says nothing of the past.
    if (done && this.registration === registration) this.registration = fresh;
  }

  /** All epoch records that are kept, newest first. */
  epochs(): EpochRecord[] {
    return this.records.since(0).reverse();
  }

  private get key(): string {
    return `${NODE_PREFIX}${this.options.self.id}`;
  }

  private async register(): Promise<void> {
    const { coordinator, clock, self, leaseTtlMs } = this.options;
    const lease = await coordinator.grantLease(leaseTtlMs);
    this.lease = lease;
    const lossy = self.lossy && !this.lossKnown;
    this.registration = { ...self, lossy, incarnation: this.options.newIncarnation(), lease: lease.id };
    try {
      const free: Compare[] = [{ key: this.key, exists: false }];
      while (!this.stopped && !(await this.putRegistration(this.registration, free))) {
        // An earlier start of this node still holds the key: it is dead, or it must lose its lease first.
        const old = await coordinator.get(this.key);
        if (old?.lease !== undefined) coordinator.suspect(old.lease);
        await sleep(clock, REGISTER_RETRY_MS);
      }
    } catch (error) {
      // It may have been registered without our knowing: a lease kept alive would block every later try.
      void lease.revoke().catch(() => {});
      throw error;
    }
    void lease.lost.then(() => this.reregister(lease));
  }

  private async reregister(lost: Lease): Promise<void> {
    if (this.stopped) return;
    this.options.log.warn(
      { lease: lost.id },
      'the lease was lost: this node stops serving and registers anew',
    );
    await this.ready;
    await this.registerUntilDone();
  }

  /** A coordinator out of reach and a lease that ended on the way are waited out. */
  private async registerUntilDone(): Promise<void> {
    const { log, clock } = this.options;
    while (!this.stopped) {
      try {
        return await this.register();
      } catch (error) {
        log.warn({ err: AppError.from(error).message }, 'registering failed, trying again');
      }
      await sleep(clock, 10 * REGISTER_RETRY_MS);
    }
  }

  private async putRegistration(registration: Registration, compares: Compare[]): Promise<boolean> {
    const value = JSON.stringify(registration);
    const lease = this.lease!.id;
    const result = await this.options.coordinator.txn(compares, [
      { type: 'put', key: this.key, value, lease },
    ]);
    return result.ok;
  }

  private refresh(): void {
    if (this.stopped) return;
    this.adoptEpochs();
    void this.proposer.propose();
  }

  private readRegistration(key: string): void {
    const text = this.nodesMirror.entries.get(key);
    if (text === undefined) this.registrations.delete(key.slice(NODE_PREFIX.length));
    else this.registrations.set(key.slice(NODE_PREFIX.length), JSON.parse(text) as Registration);
  }

  private adoptEpochs(): void {
    const last = this.records.newest();
    if (last === undefined || (this.view !== undefined && this.view.epoch >= last.epoch)) return;
    // Straight to the newest epoch: the ones in between are history, which the authority takes into account.
    const history = new AuthorityHistory(this.records.since(last.base));
    const previous = this.view;
    const self = last.nodes.find((n) => n.id === this.options.self.id);
    if (self?.up && self.incarnation === this.incarnation) this.lossKnown = true;
    const {
      self: { id },
      minCopiesOf = defaultMinCopies,
      mutants,
    } = this.options;
    this.view = new ClusterView(history, id, minCopiesOf, mutants);
    previous?.ended.fire();
    this.options.log.info({ epoch: last.epoch }, formatEpoch(last));
    for (const listener of this.listeners) listener(this.view);
  }
}
