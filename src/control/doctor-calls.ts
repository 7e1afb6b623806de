import type { Clock } from '../base/clock.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import type { EpochRecord } from '../cluster/epochs/epoch.js';
import type { Membership } from '../cluster/epochs/membership.js';
import type { ClusterSettings } from '../cluster/epochs/settings.js';
import type { ClusterView, Placement } from '../cluster/epochs/view.js';
import type { Aside, Report } from '../cluster/reach/reach-board.js';
import { ASIDE_PREFIX, REACH_PREFIX } from '../cluster/reach/reach-board.js';
import { recoveryReserveBytes } from '../cluster/recovery/recovery-space.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { ObjectStore } from '../store/object-store.js';
import { defaultReserveBytes } from '../store/space.js';
import type { Directory } from '../volume/directory.js';
import type { ClusterInfo, ScrubStatus } from './api.js';
import type { DoctorMember, DoctorReport, DoctorSets, DoctorSituation } from './doctor-api.js';

/** Of this program; all sheep of a cluster should run the same. */
export const SHEEP_VERSION = '0.1.0';

const NAMES_MAX = 8;
const UNFINISHED_MS = 3_600_000;
/** The coordinator may be away: the rest is told all the same. */
const COORDINATOR_DEADLINE_MS = 2000;

export interface DoctorParts {
  readonly cluster: ClusterNode;
  readonly store: ObjectStore;
  readonly directory: Directory;
}

export interface DoctorCallsOptions {
  readonly host: string;
  readonly port: number;
  readonly clock: Clock;
  readonly coordinator: Coordinator;
  readonly leaseTtlMs: number;
  readonly membership: () => Membership;
  readonly info: () => ClusterInfo;
  readonly settings: () => ClusterSettings;
  readonly parts: () => DoctorParts | undefined;
  readonly scrub: () => Promise<ScrubStatus | undefined>;
}

/** What a sheep tells `dog doctor` of the cluster and of itself. Never fails: what cannot be told is left out. */
export class DoctorCalls {
  constructor(private readonly options: DoctorCallsOptions) {}

  async call(method: string): Promise<{ result: unknown } | undefined> {
    switch (method) {
      case 'cluster.doctor':
        return { result: await this.situation() };
      case 'node.doctor':
        return { result: this.report() };
      default:
        return undefined;
    }
  }

  private async situation(): Promise<DoctorSituation> {
    const { host, port, clock, membership, info, settings, parts } = this.options;
    const { epochs: _, ...cluster } = info();
    const { downOutMs, recoveryPaused } = settings();
    const { view } = membership();
    const { directory, cluster: node } = parts() ?? {};
    const copiesInUse = node?.objects.options.copiesInUse();
    const { unreached, asides } = await this.reach(view);
    const scrub = await this.options.scrub().catch(() => undefined);
    return {
      host,
      port,
      wallMs: clock.wallMs(),
      cluster,
      members: this.members(view, asides),
      ...(view?.record.move !== undefined && { move: view.record.move }),
      downOutMs,
      recoveryPaused,
      sets: view === undefined ? [] : troubledSets(view, copiesInUse ?? []),
      volumes: directory === undefined ? [] : volumesByCopies(directory),
      ...(scrub !== undefined && { scrub: scrubFacts(scrub) }),
      unreached,
      unfinished: directory === undefined ? [] : unfinished(directory, clock.wallMs()),
    };
  }

  private members(view: ClusterView | undefined, asides: ReadonlyMap<string, Aside>): DoctorMember[] {
    const { membership } = this.options;
    const { registrations } = membership();
    if (view === undefined) {
      return [...registrations.values()].map(({ id, hostId }) => ({ id, hostId }));
    }
    const epochs = membership().epochs();
    return view.record.nodes.map((node) => {
      const registered = registrations.get(node.id);
      const differs = registered && (registered.zone !== node.zone || registered.vnodes !== node.vnodes);
      const aside = asides.get(node.id);
      return {
        id: node.id,
        hostId: node.hostId,
        ...(!node.up && { downSinceWallMs: sinceWallMs(epochs, node.id, (n) => !n.up) }),
        ...(node.maintenance && {
          maintenanceSinceWallMs: sinceWallMs(epochs, node.id, (n) => n.maintenance === true),
        }),
        ...(differs && { startedWith: { zone: registered.zone, vnodes: registered.vnodes } }),
        ...(aside !== undefined && !node.up && { asideReason: aside.reason }),
      };
    });
  }

  /** Who reports that whom cannot be reached, and who keeps out because of that. */
  private async reach(view: ClusterView | undefined) {
    const unreached: [string, string][] = [];
    const asides = new Map<string, Aside>();
    const [reports, away] = await Promise.all([this.list(REACH_PREFIX), this.list(ASIDE_PREFIX)]);
    for (const [id, text] of reports) {
      const { cannot } = JSON.parse(text) as Report;
      for (const other of Object.keys(cannot)) {
        if (view?.nodes.get(other)?.up) unreached.push([id, other]);
      }
    }
    for (const [id, text] of away) asides.set(id, JSON.parse(text) as Aside);
    return { unreached, asides };
  }

  private async list(prefix: string): Promise<[string, string][]> {
    const { coordinator, clock } = this.options;
    const late = new Promise<undefined>((resolve) => {
      clock.after(COORDINATOR_DEADLINE_MS, () => resolve(undefined));
    });
    const found = await Promise.race([coordinator.list(prefix).catch(() => undefined), late]);
    return (found?.entries ?? []).map(({ key, value }) => [key.slice(prefix.length), value]);
  }

  private report(): DoctorReport {
    const { clock, leaseTtlMs, parts } = this.options;
    const present = parts();
    const stats = present?.store.stats();
    const total = stats?.totalBytes ?? 0;
    const progress = present?.cluster.mover.progress;
    const waiting =
      progress?.waiting === undefined
        ? present?.cluster.catchUp.waiting?.reason
        : (progress.reason ?? progress.waiting);
    const pace = present?.cluster.pace.rateBytesPerS ?? Number.POSITIVE_INFINITY;
    return {
      wallMs: clock.wallMs(),
      version: SHEEP_VERSION,
      leaseTtlMs,
      reserveBytes: defaultReserveBytes(total),
      recoveryReserveBytes: recoveryReserveBytes(total),
      incomplete: present?.store.incomplete ?? false,
      checksumErrors: stats?.checksumErrors ?? 0,
      ...(waiting !== undefined && { waiting }),
      ...(Number.isFinite(pace) && { paceBytesPerS: Math.round(pace) }),
    };
  }
}

/** When the newest run of epochs began in which this is true of the node; `epochs`: newest first. */
export function sinceWallMs(
  epochs: readonly EpochRecord[],
  id: string,
  isSo: (node: EpochRecord['nodes'][number]) => boolean,
): number {
  let since = epochs[0]?.wallMs ?? 0;
  for (const record of epochs) {
    const node = record.nodes.find((n) => n.id === id);
    if (node === undefined || !isSo(node)) break;
    since = record.wallMs;
  }
  return since;
}

/** Sets of holders with somebody who is not as it should be, by the number of their copies. */
export function troubledSets(view: ClusterView, copiesInUse: Iterable<number>): DoctorSets[] {
  const byCopies = new Map<number, Placement[]>();
  for (const set of view.setsWith(view.history.disturbed, copiesInUse)) {
    byCopies.set(set.placed.length, [...(byCopies.get(set.placed.length) ?? []), set]);
  }
  return [...byCopies].map(([copies, sets]) => {
    const awaited = new Map<string, string[]>();
    const alone = new Set<string>();
    let blocked: DoctorSets['blocked'];
    for (const { serving, authority, needed } of sets) {
      const newest = [...authority].sort();
      if (serving.length === 0) awaited.set(newest.join(), newest);
      else if (serving.length < needed && (blocked === undefined || serving.length < blocked.have)) {
        blocked = { have: serving.length, needed };
      }
      if (serving.length === 1 && copies > 1) alone.add(serving[0]!);
    }
    return {
      copies,
      awaited: [...awaited.values()],
      ...(blocked !== undefined && { blocked }),
      alone: [...alone].sort(),
    };
  });
}

function volumesByCopies(directory: Directory): DoctorSituation['volumes'] {
  const byCopies = new Map<number, { count: number; names: string[] }>();
  for (const line of directory.lines()) {
    const copies = directory.vdi(line.vid)?.copies;
    if (copies === undefined) continue;
    const row = byCopies.get(copies) ?? { count: 0, names: [] };
    row.count++;
    if (row.names.length < NAMES_MAX) row.names.push(line.name);
    byCopies.set(copies, row);
  }
  return [...byCopies].map(([copies, row]) => ({ copies, ...row })).sort((a, b) => a.copies - b.copies);
}

function unfinished(directory: Directory, wallMs: number): string[] {
  const names = new Set<string>();
  for (const record of directory.vdis()) {
    const old = wallMs - Math.max(record.createdMs, record.snapshotMs) > UNFINISHED_MS;
    if (record.state !== 'pending' || !old) continue;
    names.add(directory.line(record.line)?.name ?? `the version ${record.vid.toString(16)}`);
    if (names.size >= NAMES_MAX) break;
  }
  return [...names];
}

function scrubFacts({ stopped, unrepairable, unlisted }: ScrubStatus): NonNullable<DoctorSituation['scrub']> {
  const places = unrepairable.flatMap(({ place }) => (place === undefined ? [] : [place]));
  return { stopped, unrepairable: unrepairable.length + unlisted, places: places.slice(0, NAMES_MAX) };
}
