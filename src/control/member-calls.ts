import { type Clock, sleep } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import type { Change } from '../cluster/epochs/changes.js';
import type { EpochRecord } from '../cluster/epochs/epoch.js';
import type { Membership } from '../cluster/epochs/membership.js';
import { nextEpoch } from '../cluster/epochs/next-epoch.js';
import { sameContent } from '../cluster/epochs/proposal.js';
import { type ClusterSettings, parseSettings, SETTINGS_KEY } from '../cluster/epochs/settings.js';
import { ClusterView } from '../cluster/epochs/view.js';
import { EpochEnded } from '../cluster/objects/object-node.js';
import { type Estimate, estimateMove } from '../cluster/recovery/estimate.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { ObjectStore } from '../store/object-store.js';
import type { Directory } from '../volume/directory.js';
import type { ControlProgress, NodeInfo } from './api.js';
import { type CallResult, carryCall } from './carried.js';
import { forgetNode } from './kept-keys.js';
import { reportLoss } from './loss-report.js';
import type { LossReport, MemberChange, MovePlan, RecoveryStatus, Settings } from './member-api.js';
import { movePlan, nothingToDo } from './move-plan.js';
import * as check from './params.js';
import { recoveryStatus } from './recovery-status.js';

const TRIES = 20;
const PLAN_TRIES = 10;
const PLAN_RETRY_MS = 300;
/** How long a change of settings may take until this sheep itself has seen it. */
const SEEN_MS = 5000;
const SEEN_LOOK_MS = 20;
/** A sheep that does not answer an estimate is left out after this. */
const ESTIMATE_DEADLINE_MS = 120_000;
const VNODES_MAX = 65535;
const ZONE_MAX = 0xffffffff;
const DOWN_OUT_MAX_MS = 366 * 24 * 60 * 60 * 1000;
const ESTIMATE = 'internal.estimate';

export interface MemberParts {
  readonly cluster: ClusterNode;
  readonly directory: Directory;
  readonly store: ObjectStore;
}

export interface MemberCallsOptions {
  readonly coordinator: Coordinator;
  readonly clock: Clock;
  readonly membership: () => Membership;
  /** Undefined before the format. */
  readonly parts: () => MemberParts | undefined;
  readonly nodes: () => NodeInfo[];
  /** As this sheep knows them. */
  readonly settings: () => ClusterSettings;
  readonly minCopiesOf: (copies: number) => number;
}

type OnProgress = (progress: ControlProgress) => void;

/** The control calls about members, what moves between them, and the settings of that. */
export class MemberCalls {
  constructor(private readonly options: MemberCallsOptions) {}

  async call(method: string, params: unknown, onProgress: OnProgress): Promise<CallResult | undefined> {
    switch (method) {
      case 'member.change': {
        const change = checkChange(params);
        const epoch = await this.membership.change(coreChange(change));
        // It is removed whether that succeeds or not; what stays is small and read by nobody.
        if (change.kind === 'remove')
          await this.options.coordinator.txn([], forgetNode(change.id)).catch(() => {});
        return { result: epoch === undefined ? {} : { epoch } };
      }
      case 'member.plan':
        return { result: await this.planSettled(this.planned(params)) };
      case 'member.loss':
        return { result: await this.loss(checkChange(params), onProgress) };
      case 'cluster.settings':
        return { result: await this.alterSettings(check.checkFields(params)) };
      case 'cluster.recovery':
        return { result: this.status() };
      default:
        return undefined;
    }
  }

  /** Calls of other sheep. */
  async carried(method: string, params: unknown): Promise<CallResult | undefined> {
    if (method !== ESTIMATE) return undefined;
    const { next } = check.checkFields(params) as { next?: EpochRecord };
    if (next === undefined) throw new AppError('invalid', 'an epoch is needed');
    return { result: await this.ownEstimate(next) };
  }

  private get membership(): Membership {
    return this.options.membership();
  }

  private get parts(): MemberParts {
    const parts = this.options.parts();
    if (parts === undefined) throw new AppError('wait-for-format', 'Waiting for cluster to be formatted');
    return parts;
  }

  private get view(): ClusterView {
    const view = this.parts.cluster.objects.context?.view;
    if (view === undefined) throw new AppError('wait-for-join', 'this sheep has not joined the cluster yet');
    return view;
  }

  status(): RecoveryStatus {
    const { view } = this;
    const { move } = view.record;
    const begun = this.membership.epochs().find((record) => record.epoch === move);
    return recoveryStatus({
      view,
      settings: this.options.settings(),
      copiesInUse: this.parts.cluster.objects.options.copiesInUse(),
      nodes: this.options.nodes(),
      moveSinceWallMs: begun?.wallMs,
    });
  }

  /** The epoch that the change would make; undefined when it would make no difference. */
  private epochWith(change: Change): EpochRecord | undefined {
    const { record } = this.view;
    const { registrations } = this.membership;
    const step = { wallMs: this.options.clock.wallMs(), ran: true };
    const next = nextEpoch(record, registrations, { ...step, change });
    return next === undefined || sameContent(next, nextEpoch(record, registrations, step)) ? undefined : next;
  }

  private planned(params: unknown): Change {
    const fields = check.checkFields(params);
    if (fields.kind !== 'copies') return coreChange(checkChange(params));
    const { root, copies: present } = this.parts.directory.find({ name: check.checkName(fields.name) });
    return { kind: 'copies', root, present, copies: check.checkCopies(fields.copies) };
  }

  /** An epoch that begins meanwhile makes what the sheep have said worthless: they are asked anew. */
  private async planSettled(change: Change): Promise<MovePlan> {
    for (let tries = PLAN_TRIES; ; tries--) {
      try {
        return await this.plan(change);
      } catch (error) {
        if (!AppError.isCode(error, 'again') || tries === 0) throw error;
      }
      await sleep(this.options.clock, PLAN_RETRY_MS);
    }
  }

  private async plan(change: Change): Promise<MovePlan> {
    const { view } = this;
    const next = this.epochWith(change);
    if (next === undefined) return nothingToDo();
    const unasked: string[] = [];
    const asked = [view.selfId, ...view.peers].map(async (id) => {
      const late = sleep(this.options.clock, ESTIMATE_DEADLINE_MS).then(() => undefined);
      const answer = await Promise.race([this.estimateOf(id, next), late]);
      if (answer === undefined) unasked.push(id);
      return answer;
    });
    const estimates = (await Promise.all(asked)).filter((one) => one !== undefined);
    if (view !== this.view) throw new AppError('again', 'the cluster has changed meanwhile: ask again');
    return movePlan({
      record: view.record,
      next,
      estimates,
      unasked,
      nodes: this.options.nodes(),
      copiesMax: this.copiesMax(),
      awaited: [...this.awaited(view)],
    });
  }

  private async estimateOf(id: string, next: EpochRecord): Promise<Estimate | undefined> {
    try {
      if (id === this.view.selfId) return await this.ownEstimate(next);
      const { links } = this.parts.cluster;
      return (await carryCall(links, id, ESTIMATE, { next })).result as Estimate;
    } catch (error) {
      if (AppError.isCode(error, 'again')) throw error;
      return undefined;
    }
  }

  private async ownEstimate(next: EpochRecord): Promise<Estimate> {
    const { cluster, store } = this.parts;
    try {
      await cluster.objects.reach(next.epoch - 1);
      return await estimateMove(cluster.objects, next, store.stats().usedBytes);
    } catch (error) {
      if (!(error instanceof EpochEnded)) throw error;
      throw new AppError('again', 'the cluster has changed meanwhile: ask again');
    }
  }

  /** Sheep that are down and have the only newest content of something. */
  private awaited(view: ClusterView): Set<string> {
    const ids = new Set<string>();
    for (const { authority } of view.unservedSets(this.parts.cluster.objects.options.copiesInUse())) {
      for (const id of authority) ids.add(id);
    }
    return ids;
  }

  private copiesMax(): number {
    const { directory } = this.parts;
    const { families } = this.view.record;
    const altered = Object.values(families ?? {}).map((f) => f.next ?? f.copies);
    return Math.max(0, ...altered, ...directory.vdis().map((record) => this.view.copiesOf(record)));
  }

  private async loss(change: MemberChange, onProgress: OnProgress): Promise<LossReport> {
    const { view, parts } = this;
    let after = view;
    if (change.kind !== 'accept-loss') {
      const next = this.epochWith(coreChange(change));
      if (next === undefined) return { versions: [], checked: 0 };
      after = new ClusterView(view.history.extend(next), view.selfId, this.options.minCopiesOf);
    }
    return reportLoss({ ...parts, clock: this.options.clock }, after, (done, total) =>
      onProgress({ done, total, unit: 'versions' }),
    );
  }

  private async alterSettings(fields: check.Fields): Promise<Settings> {
    const { coordinator, settings, clock } = this.options;
    const change = {
      ...(fields.downOutMs !== undefined && {
        downOutMs: check.checkInteger(fields.downOutMs, 'downOutMs', 0, DOWN_OUT_MAX_MS),
      }),
      ...(fields.recoveryPaused !== undefined && {
        recoveryPaused: check.checkOptionalBoolean(fields.recoveryPaused, 'recoveryPaused'),
      }),
    };
    if (Object.keys(change).length === 0) return settings();
    void this.parts;
    for (let i = 0; i < TRIES; i++) {
      const kv = await coordinator.get(SETTINGS_KEY);
      const next: ClusterSettings = { ...parseSettings(kv?.value), ...change };
      const same =
        kv === undefined
          ? { key: SETTINGS_KEY, exists: false }
          : { key: SETTINGS_KEY, modRevision: kv.modRevision };
      const put = { type: 'put', key: SETTINGS_KEY, value: JSON.stringify(next) } as const;
      if (!(await coordinator.txn([same], [put])).ok) continue;
      // Who is asked next must know: the watch tells this sheep as it tells the others.
      const endMs = clock.nowMs() + SEEN_MS;
      while (JSON.stringify(settings()) !== JSON.stringify(next) && clock.nowMs() < endMs) {
        await sleep(clock, SEEN_LOOK_MS);
      }
      return next;
    }
    throw new AppError('again', 'others change the same settings');
  }
}

function coreChange(change: MemberChange): Change {
  if (change.kind === 'out') return { kind: 'out', id: change.id, by: 'admin' };
  return change as Exclude<MemberChange, { kind: 'in' | 'out' }> | { kind: 'in'; id: string };
}

/** What came over the network, typed (I-10). */
function checkChange(params: unknown): MemberChange {
  const fields = check.checkFields(params);
  const { kind } = fields;
  if (kind === 'accept-loss') return { kind };
  const id = check.checkText(fields.id, 'id', check.NAME_BYTES_MAX);
  switch (kind) {
    case 'in':
    case 'out':
    case 'lost':
    case 'remove':
      return { kind, id };
    case 'weight':
      return { kind, id, vnodes: check.checkInteger(fields.vnodes, 'vnodes', 0, VNODES_MAX) };
    case 'zone':
      return { kind, id, zone: check.checkInteger(fields.zone, 'zone', 0, ZONE_MAX) };
    case 'maintenance':
      return { kind, id, on: check.checkOptionalBoolean(fields.on, 'on') };
    default:
      throw new AppError(
        'invalid',
        'kind must be in, out, weight, zone, maintenance, lost, remove or accept-loss',
      );
  }
}
