import { assert } from '../base/assert.js';
import { type Clock, sleep, type Timer } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { parsedOnce } from '../base/parsed-once.js';
import type { Random } from '../base/random.js';
import { Signal } from '../base/signal.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import { DownOut } from '../cluster/epochs/down-out.js';
import { incarnations, type Registration } from '../cluster/epochs/epoch.js';
import { Membership } from '../cluster/epochs/membership.js';
import { Mirror } from '../cluster/epochs/mirror.js';
import type { Mutants } from '../cluster/epochs/mutants.js';
import { type ClusterSettings, parseSettings, SETTINGS_KEY } from '../cluster/epochs/settings.js';
import type { Origin } from '../cluster/reach/links.js';
import { RecoveryMeter } from '../cluster/recovery-meter.js';
import type { ScrubLimits } from '../cluster/scrub/scrub-pace.js';
import type {
  ClusterInfo,
  ControlCaller,
  ControlHandler,
  ControlProgress,
  NodeDoors,
  ScrubStatus,
} from '../control/api.js';
import { serveCarried } from '../control/carried.js';
import {
  type ClusterConfig,
  CONFIG_KEY,
  DEFAULT_COPIES_KEY,
  minCopiesOf,
  SHUTDOWN_KEY,
} from '../control/cluster-calls.js';
import type { NodeHost } from '../control/node-calls.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { Transport } from '../net/transport.js';
import type { ObjectStore } from '../store/object-store.js';
import type { BlockDevice, DeviceProvider } from '../volume/device.js';
import { emptyMessage, type PeerMessage, PeerType } from '../wire/peer-message.js';
import { assembleInner, type Inner } from './inner.js';
import { Scrubbing } from './scrubbing.js';
import { SheepCalls } from './sheep-calls.js';
import { StoreFigures } from './store-figures.js';
import { StoreStanding } from './store-standing.js';

export type { Inner } from './inner.js';

const SWEEP_INTERVAL_MS = 5000;
const STATS_INTERVAL_MS = 2000;
const STOP_GRACE_MS = 3000;

export interface SheepOptions {
  /** Who this sheep is and where it can be reached. */
  readonly self: Omit<Registration, 'incarnation' | 'lease' | 'caughtUp' | 'lossy'>;
  readonly coordinator: Coordinator;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly leaseTtlMs: number;
  /** Opens this node's store for a format of the cluster; stores of the `former` ones may be removed. */
  readonly openStore: (formatId: string, former: readonly string[]) => Promise<ObjectStore>;
  /** The sheep cannot go on (its store failed) or was asked to stop: the process should call stop and exit. */
  readonly onEnd: (reason: { kind: 'shutdown' | 'failed'; message: string }) => void;
  /** Absent in the simulator, where a sheep has no process of its own. */
  readonly host?: NodeHost;
  readonly counters?: () => Promise<Record<string, number>>;
  readonly doors?: NodeDoors;
  readonly mutants?: Mutants;
  readonly scrub?: Partial<ScrubLimits>;
}

/**
 * A sheep without its doors: joins membership, store, replication and volumes. Production and simulator build it from
 * the same parts and differ in the disk, network, clock, randomness and coordinator that they hand in.
 */
export class SheepCore implements ControlHandler, DeviceProvider {
  readonly membership: Membership;
  readonly scrubbing: Scrubbing;
  private readonly settings: Mirror;
  private readonly figures: StoreFigures;
  private readonly calls: SheepCalls;
  private inner: Inner | undefined;
  private opening: Promise<void> | undefined;
  /**
   * The doors open before the store is replayed: whoever comes in between waits, and is not told of a missing format.
   */
  private readonly started = new Signal();
  private stopping = false;
  /** Changes of the settings are acted upon: not before the store that the first ones name has been opened. */
  private following = false;
  private readonly parseConfig = parsedOnce<ClusterConfig>();
  private knownShutdown: string | undefined;
  private readonly standing: StoreStanding;
  private readonly downOut: DownOut;
  private timers: Timer[] = [];

  constructor(private readonly options: SheepOptions) {
    const { coordinator, clock, random, log, self } = options;
    const core = this;
    this.standing = new StoreStanding(() => this.membership, log);
    this.membership = new Membership({
      coordinator,
      clock,
      log: log.child('membership'),
      self: {
        ...self,
        get lossy() {
          return core.standing.lossy;
        },
        get incomplete() {
          return core.standing.incomplete;
        },
      },
      leaseTtlMs: options.leaseTtlMs,
      minCopiesOf: (copies) => minCopiesOf(this.config, copies),
      newIncarnation: incarnations(() => random.bytes(4).toString('hex')),
      mutants: options.mutants,
    });
    this.membership.onView((view) => this.standing.note(view));
    this.downOut = new DownOut({
      membership: this.membership,
      clock,
      log: log.child('membership'),
      settings: () => this.clusterSettings,
      copiesInUse: () => this.inner?.cluster.objects.options.copiesInUse() ?? [],
    });
    this.settings = new Mirror(coordinator, 'cluster/', () => this.settingsChanged());
    const meter = new RecoveryMeter(clock, () => this.inner?.cluster);
    this.figures = new StoreFigures({
      coordinator,
      clock,
      selfId: self.id,
      store: () => this.store,
      recovery: () => meter.read(),
    });
    this.calls = new SheepCalls(options, {
      figures: this.figures,
      inner: () => this.inner,
      config: () => this.config,
      settings: () => this.clusterSettings,
      defaultCopies: () => this.defaultCopies,
      membership: () => this.membership,
      stopping: () => this.stopping,
      scrub: async () =>
        (await this.scrubbing.calls.call('cluster.scrub', {}))?.result as ScrubStatus | undefined,
    });
    this.scrubbing = new Scrubbing(options, {
      settingOf: (key) => this.settings.entries.get(key),
      healthy: () => this.healthy(),
      nodes: () => this.calls.nodes(),
    });
  }

  async start(): Promise<void> {
    await this.figures.start();
    await this.scrubbing.start();
    await this.settings.start();
    this.knownShutdown = this.settings.entries.get(SHUTDOWN_KEY);
    // The store is opened before this node registers: only then is it known whether it lost anything.
    if (this.config !== undefined) {
      this.opening = this.openInner(this.config);
      await this.opening;
      this.opening = undefined;
    }
    this.following = true;
    this.settingsChanged();
    await this.membership.start();
    this.downOut.start();
    // A sheep that has just joined is to be seen with its room at once.
    void this.figures.publish().catch(() => {});
    this.every(SWEEP_INTERVAL_MS, () => this.sweep());
    this.every(STATS_INTERVAL_MS, async () => {
      if (this.membership.leaseId !== '') await this.figures.publish();
    });
    this.started.fire();
  }

  /** Gives up volumes, closes the store cleanly, leaves. */
  async stop(): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    this.started.fire();
    this.membership.freeze();
    this.downOut.stop();
    for (const timer of this.timers) timer.cancel();
    await this.opening?.catch(() => {});
    const { inner } = this;
    if (inner !== undefined) await this.closeInner(inner);
    this.settings.stop();
    this.figures.stop();
    this.scrubbing.stop();
    await this.membership.stop();
  }

  get store(): ObjectStore | undefined {
    return this.inner?.store;
  }

  /** What the sheepdog door works with; undefined before the format. */
  get parts(): Inner | undefined {
    return this.inner;
  }

  get coordinator(): Coordinator {
    return this.options.coordinator;
  }

  get isStopping(): boolean {
    return this.stopping;
  }

  get cluster(): ClusterNode | undefined {
    return this.inner?.cluster;
  }

  get epoch(): number {
    return this.membership.view?.epoch ?? 0;
  }

  /** What `cluster.info` answers. */
  describe(): ClusterInfo {
    return this.calls.cluster.info();
  }

  /** Every member is up and has caught up, and nothing waits to be settled here. */
  healthy(): boolean {
    const view = this.membership.view;
    const objects = this.inner?.cluster.objects;
    if (view === undefined || objects === undefined || !this.membership.leaseValid()) return false;
    const { base, epoch } = view.history.current;
    return base === epoch && objects.context?.peered.fired === true && objects.unsettled.pending.size === 0;
  }

  async open(exportName: string, options?: { readOnly?: boolean }): Promise<BlockDevice> {
    await this.opened();
    return this.ready().manager.open(exportName, options);
  }

  async list(): Promise<string[]> {
    await this.opened();
    return this.inner === undefined ? [] : this.inner.manager.list();
  }

  async call(
    method: string,
    params: unknown,
    blob: Uint8Array,
    onProgress: (progress: ControlProgress) => void,
    caller?: ControlCaller,
  ): Promise<{ result: unknown; blob?: Uint8Array }> {
    await this.opened();
    if (this.stopping) throw new AppError('shutdown', 'System is shutting down');
    const done =
      (await this.calls.call(method, params, onProgress)) ??
      (await this.scrubbing.calls.call(method, params)) ??
      (await this.ready().calls.call(method, params, blob, onProgress, caller));
    if (done === undefined) throw new AppError('not-supported', `control method ${method} is not known here`);
    return done;
  }

  /** Whoever comes while the store is opened waits, and is not told of a missing format. */
  private async opened(): Promise<void> {
    await this.started.promise;
    await this.opening;
  }

  private get config(): ClusterConfig | undefined {
    return this.parseConfig(this.settings.entries.get(CONFIG_KEY));
  }

  /** Copies of a volume that is made without saying how many; 0 before the format. */
  get defaultCopies(): number {
    return Number(this.settings.entries.get(DEFAULT_COPIES_KEY) ?? this.inner?.config.copies ?? 0);
  }

  private get clusterSettings(): ClusterSettings {
    return parseSettings(this.settings.entries.get(SETTINGS_KEY));
  }

  private ready(): Inner {
    if (this.inner !== undefined) return this.inner;
    if (this.stopping) throw new AppError('shutdown', 'System is shutting down');
    throw new AppError('wait-for-format', 'Waiting for cluster to be formatted');
  }

  private settingsChanged(): void {
    if (this.stopping || !this.following) return;
    if (this.settings.entries.get(SHUTDOWN_KEY) !== this.knownShutdown) {
      this.membership.freeze();
      this.options.onEnd({ kind: 'shutdown', message: 'the cluster is shut down' });
      return;
    }
    this.scrubbing.nudge();
    const { config, inner } = this;
    // While a format is being opened another one may come: this is called again when that is done.
    if (config === undefined || this.opening !== undefined) return;
    if (inner?.config.formatId === config.formatId) return;
    const opened = inner === undefined ? this.openInner(config) : this.openAnew(inner, config);
    this.opening = opened.then(
      () => {
        this.opening = undefined;
        this.settingsChanged();
      },
      (error) => this.options.onEnd({ kind: 'failed', message: AppError.from(error).message }),
    );
  }

  /** The cluster was formatted again: its volumes are gone, and nobody has to start anything for the new one. */
  private async openAnew(former: Inner, config: ClusterConfig): Promise<void> {
    this.options.log.info({ formatId: config.formatId }, 'the cluster has been formatted anew');
    await this.closeInner(former);
    this.inner = undefined;
    this.standing.detach();
    this.figures.forget();
    await this.membership.reset();
    this.membership.onView((view) => this.standing.note(view));
    await this.openInner(config);
  }

  private async closeInner(inner: Inner): Promise<void> {
    this.scrubbing.close();
    // A change that waits for copies (I-4) may wait for ever: it is not acknowledged, its client goes on elsewhere.
    await Promise.race([inner.manager.stop(), sleep(this.options.clock, STOP_GRACE_MS)]);
    inner.cluster.stop();
    inner.directory.stop();
    inner.locks.stop();
    await inner.store.close().catch((error) => {
      this.options.log.error({ err: AppError.from(error).message }, 'the store did not close cleanly');
    });
  }

  private async openInner(config: ClusterConfig): Promise<void> {
    const { options, membership } = this;
    const store = await options.openStore(config.formatId, config.former);
    this.standing.attach(store);
    void store.failed.then((error) => {
      if (!this.stopping) options.onEnd({ kind: 'failed', message: `the store failed: ${error.message}` });
    });
    const inner = await assembleInner({
      ...options,
      config,
      store,
      membership,
      selfId: options.self.id,
      usesIo: options.self.ioHost !== undefined,
      log: options.log.child('cluster', { node: options.self.port }),
      volumeLog: options.log.child('volumes'),
      defaultCopies: () => this.defaultCopies,
      settings: () => this.clusterSettings,
      nodes: () => this.calls.nodes(),
      onOther: (message, origin) => this.serveOther(message, origin),
    });
    membership.onView((view) => inner.manager.enter(view));
    membership.onView((view) => inner.calls.copies.enter(view));
    assert(this.inner === undefined, 'a sheep opens its store once');
    this.inner = inner;
    this.scrubbing.open(inner);
  }

  private async serveOther(message: PeerMessage, origin: Origin): Promise<PeerMessage> {
    if (this.inner === undefined) throw new AppError('again', 'this sheep has not opened its store yet');
    const { manager, calls } = this.inner;
    if (message.type === PeerType.device) return manager.serve(message, origin);
    const answer = emptyMessage(PeerType.control + 1);
    answer.payload = await serveCarried(
      message.payload,
      async (method, params, blob) =>
        (await this.calls.carried(method, params)) ?? calls.call(method, params, blob, () => {}),
    );
    return answer;
  }

  /** The member with the lowest id among those up tidies up what crashed ones left; each, what it has begun itself. */
  private async sweep(): Promise<void> {
    const view = this.membership.view;
    const first = view?.history.current.nodes.find((n) => n.up);
    const isFirst = first?.id === this.options.self.id;
    await this.inner?.garbage.sweep(isFirst ? 'all' : 'own');
    if (isFirst) await this.inner?.calls.copies.sweep();
  }

  private every(intervalMs: number, work: () => Promise<void>): void {
    const again = () => {
      if (this.stopping) return;
      work()
        .catch((error) =>
          this.options.log.warn({ err: AppError.from(error).message }, 'background work failed'),
        )
        .finally(() => {
          if (!this.stopping)
            this.timers = [this.options.clock.after(intervalMs, again), ...this.timers.slice(0, 8)];
        });
    };
    this.timers.push(this.options.clock.after(intervalMs, again));
  }
}
