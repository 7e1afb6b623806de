import { type Clock, sleep } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Random } from '../base/random.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import { defaultMinCopies } from '../cluster/epochs/authority.js';
import type { Membership } from '../cluster/epochs/membership.js';
import type { ClusterSettings } from '../cluster/epochs/settings.js';
import type { RecoveryProgress } from '../cluster/recovery-meter.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { StoreStats } from '../store/object-store.js';
import type { ClusterInfo, NodeDoors, NodeInfo } from './api.js';
import { wipeFormat } from './kept-keys.js';
import { nodeRows } from './node-rows.js';
import * as check from './params.js';

export const CONFIG_KEY = 'cluster/config';

/** How long a change of settings may take until this sheep itself has seen it. */
const ALTER_SEEN_MS = 5000;
const SEEN_LOOK_MS = 20;

/** Cluster-wide settings, made by format. */
export interface ClusterConfig {
  /** New with each format: stores and links of another one are refused. */
  readonly formatId: string;
  /** Earlier formats of this cluster: their stores may be wiped. */
  readonly former: readonly string[];
  readonly createdMs: number;
  readonly copies: number;
  readonly minCopies: number;
  /** Nobody said how many are needed: each volume needs the default for its own copies. Absent in older formats. */
  readonly minCopiesByCopies?: boolean;
  readonly blockSizeShift: number;
  /** A volume that a client of the sheepdog protocol has open is refused to others. */
  readonly useLock?: boolean;
}

/**
 * In-sync copies that a write needs (I-4): as set when the cluster was formatted, for volumes of at least so many
 * copies as were set then; the default for those of fewer, and for all when nothing was set: a cluster that began with
 * one sheep must not go on with one copy when it has three. Fixed for the life of a format: the history of epochs is
 * read with it.
 */
export function minCopiesOf(config: ClusterConfig | undefined, copies: number): number {
  if (config === undefined || config.minCopiesByCopies === true || copies < config.copies)
    return defaultMinCopies(copies);
  return config.minCopies;
}

/** What a sheep publishes of itself. */
export interface NodeFigures extends Pick<StoreStats, 'totalBytes' | 'freeBytes' | 'usedBytes'> {
  readonly recovery?: RecoveryProgress;
}

export interface ClusterCallsOptions {
  readonly coordinator: Coordinator;
  readonly clock: Clock;
  readonly random: Random;
  readonly config: () => ClusterConfig | undefined;
  /** Copies of a volume that is made without saying how many; 0 before the format. */
  readonly defaultCopies: () => number;
  readonly membership: () => Membership;
  readonly cluster: () => ClusterNode | undefined;
  /** Figures that each sheep publishes about its store, by node id. */
  readonly storeStats: () => ReadonlyMap<string, NodeFigures>;
  readonly settings: () => ClusterSettings;
  readonly counters: () => Promise<Record<string, number>>;
  readonly doors: NodeDoors;
  readonly stopping: () => boolean;
}

export const SHUTDOWN_KEY = 'cluster/shutdown';
/** Copies of new volumes, when they were altered after the format; the format's own are in the history of epochs. */
export const DEFAULT_COPIES_KEY = 'cluster/default-copies';

/** The control calls about the cluster and its nodes. */
export class ClusterCalls {
  constructor(private readonly options: ClusterCallsOptions) {}

  async call(method: string, params: unknown): Promise<{ result: unknown } | undefined> {
    switch (method) {
      case 'cluster.info':
        return { result: this.info() };
      case 'cluster.format':
        return { result: await this.format(check.checkFields(params)) };
      case 'cluster.alter-copy':
        return { result: await this.alterCopies(check.checkFields(params)) };
      case 'cluster.shutdown':
        await this.options.coordinator.txn(
          [],
          [{ type: 'put', key: SHUTDOWN_KEY, value: this.shutdownMark() }],
        );
        return { result: {} };
      case 'node.list':
        return { result: this.nodes() };
      case 'node.doors':
        return { result: this.options.doors };
      case 'node.stat':
        return { result: { counters: await this.options.counters() } };
      default:
        return undefined;
    }
  }

  info(): ClusterInfo {
    const { config, membership, stopping } = this.options;
    const present = config();
    const view = membership().view;
    return {
      status: stopping()
        ? 'shutdown'
        : present === undefined
          ? 'wait-for-format'
          : this.isServed()
            ? 'running'
            : 'wait-for-join',
      clusterId: present?.formatId ?? '',
      createdMs: present?.createdMs ?? 0,
      copies: this.options.defaultCopies(),
      minCopies: present === undefined ? 0 : minCopiesOf(present, this.options.defaultCopies()),
      blockSizeShift: present?.blockSizeShift ?? 0,
      ...(present?.useLock === true && { useLock: true }),
      epoch: view?.epoch ?? 0,
      ...(this.options.settings().recoveryPaused && { recoveryPaused: true }),
      epochs: membership()
        .epochs()
        .map((record) => ({
          epoch: record.epoch,
          wallMs: record.wallMs,
          nodes: record.nodes
            .filter((n) => n.up)
            .map(({ host, port, vnodes }) => ({ host, port, vnodes }))
            .sort((a, b) => a.port - b.port),
        })),
      waiting: this.waiting(),
      nodes: this.nodes(),
    };
  }

  nodes(): NodeInfo[] {
    const { membership, cluster, storeStats } = this.options;
    const objects = cluster()?.objects;
    return nodeRows({
      record: membership().view?.record,
      registrations: membership().registrations,
      figures: storeStats(),
      ...(objects && { own: { id: objects.selfId, syncingObjects: cluster()!.catchUp.remaining } }),
    });
  }

  private async format(fields: check.Fields): Promise<ClusterInfo> {
    const { config, membership, random, clock } = this.options;
    const present = config();
    const force = check.checkOptionalBoolean(fields.force, 'force');
    if (present !== undefined && !force) throw new AppError('exists', 'the cluster is formatted already');
    const copies = check.checkCopies(fields.copies);
    const minCopies = check.checkOptionalInteger(fields.minCopies, 'minCopies', 1, copies);
    const made: ClusterConfig = {
      formatId: random.bytes(16).toString('hex'),
      former: present === undefined ? [] : [...present.former, present.formatId],
      createdMs: clock.wallMs(),
      copies,
      minCopies: minCopies ?? defaultMinCopies(copies),
      ...(minCopies === undefined && { minCopiesByCopies: true }),
      blockSizeShift: check.checkBlockSizeShift(fields.blockSizeShift) ?? check.DEFAULT_BLOCK_SIZE_SHIFT,
      ...(check.checkOptionalBoolean(fields.useLock, 'useLock') && { useLock: true }),
    };
    const before = present === undefined ? undefined : JSON.stringify(present);
    const ok = await membership().format({
      compares: [
        before === undefined ? { key: CONFIG_KEY, exists: false } : { key: CONFIG_KEY, value: before },
      ],
      ops: [
        ...wipeFormat(),
        { type: 'delete', key: DEFAULT_COPIES_KEY },
        { type: 'put', key: CONFIG_KEY, value: JSON.stringify(made) },
      ],
    });
    if (!ok) throw new AppError('exists', 'somebody else has just formatted the cluster');
    while (config()?.formatId !== made.formatId || !this.isServed()) {
      await sleep(clock, SEEN_LOOK_MS);
    }
    return this.info();
  }

  private async alterCopies(fields: check.Fields): Promise<ClusterInfo> {
    const { coordinator, config, clock, defaultCopies } = this.options;
    const copies = check.checkCopies(fields.copies);
    const present = config();
    if (present === undefined) throw new AppError('wait-for-format', 'Waiting for cluster to be formatted');
    const result = await coordinator.txn(
      [{ key: CONFIG_KEY, value: JSON.stringify(present) }],
      [{ type: 'put', key: DEFAULT_COPIES_KEY, value: String(copies) }],
    );
    if (!result.ok) throw new AppError('again', 'the cluster is being formatted');
    // Who is asked next must know: the watch tells this sheep as it tells the others.
    const endMs = clock.nowMs() + ALTER_SEEN_MS;
    while (defaultCopies() !== copies && clock.nowMs() < endMs) {
      await sleep(clock, SEEN_LOOK_MS);
    }
    return this.info();
  }

  /** Volumes can be used: every set of holders has somebody with the newest content. */
  private isServed(): boolean {
    const objects = this.options.cluster()?.objects;
    return objects?.context?.view.everySetServed(objects.options.copiesInUse()) ?? false;
  }

  /** Some objects, perhaps none that this sheep holds, have nobody up with their newest content. */
  private isPartlyAway(): boolean {
    const objects = this.options.cluster()?.objects;
    const sets = objects?.context?.view.unservedSets(objects.options.copiesInUse()) ?? [];
    for (const _ of sets) return true;
    return false;
  }

  private waiting(): string[] {
    const { membership, config } = this.options;
    const view = membership().view;
    if (view === undefined) return [];
    const down = [...view.nodes.values()].filter((n) => n.in && !n.up).map((n) => `${n.host}:${n.port}`);
    if (down.length === 0) return [];
    const up = [...view.nodes.values()].filter((n) => n.in && n.up).length;
    const minCopies = minCopiesOf(config(), this.options.defaultCopies());
    if (!this.isServed() || this.isPartlyAway())
      return [`the newest content of some objects is on nodes that are down: ${down.join(', ')}`];
    if (up < minCopies) return [`writes need ${minCopies} copies and wait for ${down.join(', ')}`];
    return [];
  }

  private shutdownMark(): string {
    return JSON.stringify({ wallMs: this.options.clock.wallMs() });
  }
}
