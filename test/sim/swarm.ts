/**
 * One seed: builds a cluster, breaks it under load, heals it, and holds it to the model. After the last fault
 * everything must come right by itself before a deadline (liveness), every node must show the same volume, and all
 * replicas must be equal.
 */
import { SeededRandom } from '../../src/base/random.js';
import { addCounters, ask, type Life, SimCluster } from '../helpers/sim-cluster.js';
import type { ClusterKind, Mutants } from '../helpers/sim-kind.js';
import { Client } from './clients.js';
import { eventCounter } from './coverage.js';
import { Faults } from './faults.js';
import { compareTables, countStated, findLeak, type Replica, storedOn } from './final-checks.js';
import type { WriteOp } from './history.js';
import { type Load, VOLUME } from './load.js';
import { ModelViolation, type VolumeModel } from './model.js';
import { Shelf, type Snapshot, type Volume } from './shelf.js';
import { configFor, type SwarmConfig, without } from './swarm-config.js';

const DEATH_POLL_MS = 2;
const SETUP_DEADLINE_MS = 30_000;
const SETTLE_MS = 500;
const HEAL_DEADLINE_MS = 120_000;
const STRAYS_LOOK_MS = 3000;
const FINAL_READ_BYTES = 256 * 1024;
const EVENTS_MAX = 3_000_000;
const NO_BYTES = new Uint8Array(0);

export interface SeedResult {
  readonly seed: number;
  /** Undefined: all is well. */
  readonly failure: string | undefined;
  /** Equal for two runs of one seed of one version of the code. */
  readonly traceHash: string;
  readonly simulatedMs: number;
  readonly events: number;
  readonly counters: Record<string, number>;
}

export interface SeedOptions {
  kind: ClusterKind;
  seed: number;
  mutants?: Mutants;
  trace?: (line: string) => void;
  /** Overrides parts of what the seed says, for tests. */
  config?: Partial<SwarmConfig>;
}

export async function runSeed(options: SeedOptions): Promise<SeedResult> {
  const run = new SeedRun(options);
  let failure: string | undefined;
  try {
    await run.all();
  } catch (error) {
    failure = error instanceof Error ? describeError(error) : String(error);
  }
  const { clock } = run.cluster;
  return {
    seed: options.seed,
    failure,
    traceHash: (clock.traceHash >>> 0).toString(16).padStart(8, '0'),
    simulatedMs: Math.round(clock.nowMs()),
    events: clock.events,
    counters: run.allCounters(),
  };
}

class SeedRun {
  readonly cluster: SimCluster;
  private readonly config: SwarmConfig;
  private readonly shelf: Shelf;
  private readonly random: SeededRandom;
  private readonly faults: Faults;
  private readonly load: Load;
  private readonly clients: Client[] = [];
  private readonly counters: Record<string, number> = {};
  private failure: unknown;

  constructor(options: SeedOptions) {
    const { kind, seed, mutants = {}, trace } = options;
    this.random = new SeededRandom(seed);
    this.config = without({ ...configFor(seed, this.random), ...options.config }, kind.without);
    const { nodes, spares, zones, coordinatorDelayMs, slowMessageChance, slowMessageMs, clockRates } =
      this.config;
    this.cluster = new SimCluster({
      kind,
      seed,
      nodes: nodes + spares,
      zones,
      scrubs: this.config.scrubs,
      mutants,
      coordinatorDelayMs,
      slowMessageChance,
      slowMessageMs,
      clockRates,
      onLog: eventCounter(this.counters),
      ...(trace ? { trace } : {}),
    });
    this.cluster.trace(`seed ${seed}: ${JSON.stringify(this.config)}`);
    const { strictDeaths, snapshotsDurable } = kind;
    const count = (event: string, by = 1) => addCounters(this.counters, { [event]: by });
    this.shelf = new Shelf({ strictDeaths, snapshotsDurable, count });
    kind.watchVolumes(this.cluster, (change) => {
      this.cluster.trace(`records: ${JSON.stringify(change)}`);
      this.shelf.apply(change);
    });
    this.load = this.makeLoad(count);
    this.faults = new Faults(
      this.cluster,
      this.config,
      new SeededRandom(seed + 0x30003),
      {
        count: this.load.count,
        onLossyPowerCut: () => this.lossyPowerCut(),
        fail: this.load.fail,
      },
      this.shelf,
    );
    this.cluster.excuses = (machine) => this.faults.disks.excuses(machine);
  }

  /** Unanswered writes of dead gateways that not every node knows to be dead. */
  private readonly dying = new Map<WriteOp, { life: Life; model: VolumeModel }>();

  async all(): Promise<void> {
    await this.setUp();
    await this.breakUnderLoad();
    await this.heal();
    await this.readEverything();
    // Some records are mended behind: replicas differ while such a change is on its way.
    await this.runUntil(() => this.cluster.healthy(), HEAL_DEADLINE_MS, 'nothing is under way');
    await this.compareReplicas();
    await this.lookForLeaks();
  }

  allCounters(): Record<string, number> {
    const sum = { ...this.counters };
    addCounters(sum, this.cluster.counters());
    addCounters(sum, this.shelf.counters());
    const { lateAfterReconnect, lostInFlight, delivered } = this.cluster.network.counters;
    for (const [code, times] of Object.entries(this.cluster.network.refusals))
      addCounters(sum, { [`answered: ${code}`]: times });
    addCounters(sum, {
      'messages delivered': delivered,
      'messages lost in flight': lostInFlight,
      'message of an old channel after a new one was open': lateAfterReconnect,
    });
    return sum;
  }

  private makeLoad(count: Load['count']): Load {
    return {
      cluster: this.cluster,
      config: this.config,
      shelf: this.shelf,
      count,
      fail: (error) => {
        this.failure ??= error;
      },
      onCall: () => this.faults.onCall(),
      inFlight: new Set(),
      died: (op, model, life) => this.died(op, model, life),
      tolerates: (code) => this.faults.disks.tolerates(code),
      operationsLeft: this.config.operations,
      stopping: false,
    };
  }

  private async setUp(): Promise<void> {
    const { cluster, config } = this;
    for (const machine of cluster.machines) machine.spare = machine.index >= config.nodes;
    for (const machine of cluster.used()) cluster.start(machine);
    await this.runUntil(
      () => cluster.living().length === config.nodes,
      SETUP_DEADLINE_MS,
      'all nodes are up',
    );
    // Every node has to have seen every other before it knows whom to make members.
    await this.run(cluster.clock.nowMs() + SETTLE_MS, () => false);
    const { copies, objectShift, volumeBytes } = config;
    await this.control('cluster.format', { copies, blockSizeShift: objectShift });
    await this.runUntil(() => cluster.healthy(), SETUP_DEADLINE_MS, 'the new cluster is healthy');
    if (config.downOutMs > 0) await this.control('cluster.settings', { downOutMs: config.downOutMs });
    await this.control('vdi.create', {
      name: VOLUME,
      sizeBytes: volumeBytes,
      copies,
      blockSizeShift: objectShift,
    });
  }

  private async breakUnderLoad(): Promise<void> {
    const { cluster, config } = this;
    for (let i = 0; i < config.clients; i++) {
      this.clients.push(new Client(`c${i}`, this.load, new SeededRandom(config.seed * 7919 + i)));
    }
    for (const client of this.clients) client.start();
    this.faults.start();
    const endMs = cluster.clock.nowMs() + config.durationMs;
    await this.run(endMs, () => false);
  }

  private async heal(): Promise<void> {
    this.cluster.trace('the end of all faults');
    this.load.stopping = true;
    this.faults.healAll();
    await this.runUntil(
      () => this.clients.every((c) => c.done),
      HEAL_DEADLINE_MS,
      'all clients have their answers',
    );
    const { members } = this.faults;
    const isWell = () => members.done && this.cluster.healthy();
    await this.runUntil(isWell, HEAL_DEADLINE_MS, 'the healed cluster is healthy');
    const { tidy } = this.cluster.kind;
    if (tidy) await this.runUntil(() => tidy(this.cluster), HEAL_DEADLINE_MS, 'all that is deleted is freed');
  }

  private async readEverything(): Promise<void> {
    const { cluster, shelf } = this;
    for (const life of cluster.living()) {
      for (const volume of shelf.volumes) {
        // The one that every run has, through all nodes.
        if (volume.name === VOLUME || this.random.chance(0.3)) await this.readVolume(life, volume);
      }
    }
    const life = this.random.pick(cluster.living());
    for (const snapshot of shelf.snapshots) await this.readSnapshot(life, snapshot);
  }

  private readVolume(life: Life, { name, model }: Volume): Promise<void> {
    this.load.count('sectors read at the end', model.sizeBytes / 512);
    return this.readAll(life, name, model.sizeBytes, (offset, length, read) => {
      const op = model.startRead(offset, length, `final read on ${life.machine.name}`);
      return read().then((data) => model.endRead(op, data));
    });
  }

  private readSnapshot(life: Life, { name, tag, sizeBytes, op, model }: Snapshot): Promise<void> {
    return this.readAll(life, `${name}@${tag}`, sizeBytes, async (offset, _length, read) => {
      model.checkSnapshot(op, offset, await read());
    });
  }

  /** Reads a whole volume through one node, piece by piece. */
  private async readAll(
    life: Life,
    name: string,
    sizeBytes: number,
    onPiece: (offset: number, length: number, read: () => Promise<Uint8Array>) => Promise<void>,
  ): Promise<void> {
    const readOnly = name.includes('@');
    const device = await this.answer(life, `open ${name}`, (node) => node.openDevice(name, { readOnly }));
    for (let offset = 0; offset < sizeBytes; offset += FINAL_READ_BYTES) {
      const length = Math.min(FINAL_READ_BYTES, sizeBytes - offset);
      await onPiece(offset, length, () =>
        this.answer(life, `final read of ${name} at ${offset}`, () => device.read(offset, length)),
      );
    }
    await this.answer(life, `close ${name}`, () => device.close());
  }

  /** An owner may still save its index while it is looked: what differs then is looked at once more. */
  private async compareReplicas(): Promise<void> {
    try {
      await this.compareNow();
    } catch (error) {
      if (!(error instanceof ModelViolation)) throw error;
      await this.run(this.cluster.clock.nowMs() + SETTLE_MS, () => false);
      await this.compareNow();
    }
  }

  private async compareNow(): Promise<void> {
    const objects = new Map<string, Replica[]>();
    for (const life of this.cluster.living()) {
      if (!life.node?.replicaTables) continue;
      const own = await this.answer(life, 'replica tables', (node) => node.replicaTables!());
      for (const [oid, { table, holders }] of own) {
        const replicas = objects.get(oid) ?? [];
        replicas.push({ node: life.machine.name, table, holders });
        objects.set(oid, replicas);
        this.load.count('replicas compared');
      }
    }
    for (const [oid, replicas] of objects) compareTables(oid, replicas);
  }

  private async lookForLeaks(): Promise<void> {
    const { cluster } = this;
    const living = cluster.living();
    if (!living[0]?.node?.storedObjects) return;
    const list = () =>
      storedOn(living, (life) => this.answer(life, 'the list of objects', (node) => node.storedObjects!()));
    const purposes = () => this.answer(living[0]!, 'what objects are for', (node) => node.purposes!());
    // What lies where it does not belong any more is removed in the background; and what a gateway that is gone asked
    // for may still be under way, its objects being made or freed.
    const endMs = cluster.clock.nowMs() + HEAL_DEADLINE_MS;
    for (let stored = await list(); ; stored = await list()) {
      const kindOf = await purposes();
      const stray = (await this.findStray(living[0], stored)) ?? findLeak(stored, kindOf);
      if (stray === undefined) {
        countStated(stored, kindOf, this.load.count);
        return;
      }
      if (cluster.clock.nowMs() > endMs) throw new ModelViolation(`${stray} and is not removed`);
      this.load.count('member: strays were waited for');
      await this.run(cluster.clock.nowMs() + STRAYS_LOOK_MS, () => false);
    }
  }

  private async findStray(
    life: Life,
    stored: ReadonlyMap<string, readonly string[]>,
  ): Promise<string | undefined> {
    for (const [oid, nodes] of stored) {
      const place = await this.answer(life, 'where objects lie', (node) => node.holdersOf!(oid));
      if (place === undefined) continue;
      const stray = nodes.find((id) => !place.holders.includes(id));
      if (stray !== undefined) return `object ${oid} lies on ${stray}, where it does not belong,`;
      const zonesWanted = Math.min(place.holders.length, place.zonesInUse);
      if (place.zones < zonesWanted)
        throw new ModelViolation(`object ${oid} lies in ${place.zones} zones, and could in ${zonesWanted}`);
    }
    return undefined;
  }

  private async control(method: string, params: object): Promise<void> {
    const life = this.random.pick(this.cluster.living());
    await this.answer(life, method, (node) => node.control.call(method, params, NO_BYTES, () => {}));
  }

  /** Runs the world until a node has answered; used when nothing is broken, so an error is a failure. */
  private async answer<T>(
    life: Life,
    what: string,
    call: (node: NonNullable<Life['node']>) => Promise<T>,
  ): Promise<T> {
    let outcome: Awaited<ReturnType<typeof ask<T>>> | undefined;
    void ask(life, call).then((o) => {
      outcome = o;
    });
    await this.runUntil(
      () => outcome !== undefined,
      HEAL_DEADLINE_MS,
      `${what} on ${life.machine.name} is answered`,
    );
    if (outcome && 'ok' in outcome) return outcome.ok;
    const error = outcome && 'error' in outcome ? outcome.error : undefined;
    throw new ModelViolation(`${what} on ${life.machine.name} failed: ${String(error)}`, { cause: error });
  }

  /**
   * What a dead process had sent may still arrive, until the others exclude it: so long its write may happen, as
   * that of a process which is only slow. From then on it has happened or never will (I-2).
   */
  private died(op: WriteOp, model: VolumeModel, life: Life): void {
    this.dying.set(op, { life, model });
    this.tellDeaths();
  }

  private tellDeaths(): void {
    const sure = [...this.dying]
      .filter(([, { life }]) => this.cluster.deathIsNoticed(life))
      .map(([op]) => op);
    this.tell(sure);
    if (this.dying.size > 0) this.cluster.clock.after(DEATH_POLL_MS, () => this.tellDeaths());
  }

  private tell(ops: WriteOp[]): void {
    for (const op of ops) {
      this.dying.get(op)!.model.died([op]);
      this.dying.delete(op);
    }
  }

  /** After all that has died has been told to the model, and before anything else happens. */
  private lossyPowerCut(): void {
    this.cluster.clock.after(0, () => {
      this.tell([...this.dying.keys()]);
      this.shelf.powerCut(new Set(this.load.inFlight));
    });
  }

  private async runUntil(condition: () => boolean, withinMs: number, what: string): Promise<void> {
    const deadlineMs = this.cluster.clock.nowMs() + withinMs;
    await this.run(deadlineMs, condition);
    if (condition()) return;
    const stuck = this.clients.filter((c) => !c.done).map((c) => `${c.name}: ${c.doing}`);
    const lines = [...stuck, ...this.faults.members.complaints, ...this.cluster.complaints()].map(
      (line) => `  ${line}`,
    );
    throw new ModelViolation(
      `no liveness: in ${withinMs} ms it never came true that ${what}\n${lines.join('\n')}`,
    );
  }

  private async run(untilMs: number, condition: () => boolean): Promise<void> {
    const broken = (): boolean => this.failure !== undefined || this.cluster.failure !== undefined;
    await this.cluster.clock.run({ untilMs, stop: () => broken() || condition(), eventsMax: EVENTS_MAX });
    if (this.failure !== undefined) throw this.failure;
    if (this.cluster.failure) throw this.cluster.failure;
  }
}

function describeError(error: Error): string {
  const text = error instanceof ModelViolation ? error.message : (error.stack ?? error.message);
  return error.cause instanceof Error ? `${text}\ncaused by: ${error.cause.stack}` : text;
}
