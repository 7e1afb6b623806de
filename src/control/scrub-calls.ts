import { AppError } from '../base/errors.js';
import {
  parseScrubSetting,
  SCRUB_SETTING_KEY,
  type ScrubRecord,
  type ScrubSetting,
} from '../cluster/scrub/scrub-record.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { Directory } from '../volume/directory.js';
import { parseOid } from '../wire/oid.js';
import type { NodeInfo, ScrubNode, ScrubStatus, ScrubUnrepairable } from './api.js';
import { placeOf } from './object-place.js';
import * as check from './params.js';

const TRIES = 20;
/** Longest period: what is not looked at for longer might as well not be. */
const PERIOD_MAX_MS = 366 * 24 * 60 * 60 * 1000;

export interface ScrubCallsOptions {
  readonly coordinator: Coordinator;
  readonly selfId: string;
  readonly nodes: () => NodeInfo[];
  /** The last known records of all sheep; undefined before the format. */
  readonly records: () => ReadonlyMap<string, ScrubRecord> | undefined;
  /** This sheep's own, as it is now. */
  readonly own: () => ScrubRecord | undefined;
  readonly directory: () => Directory | undefined;
  readonly defaultPeriodMs: number;
  /** Why nothing is scrubbed at present. */
  readonly mayScrub: () => boolean;
}

/** The control call about background scrubbing: its setting, and what it has found. */
export class ScrubCalls {
  constructor(private readonly options: ScrubCallsOptions) {}

  async call(method: string, params: unknown): Promise<{ result: unknown } | undefined> {
    if (method !== 'cluster.scrub') return undefined;
    const fields = check.checkFields(params);
    if (this.options.records() === undefined) {
      throw new AppError('wait-for-format', 'Waiting for cluster to be formatted');
    }
    const change = changeOf(fields);
    const setting = change === undefined ? await this.setting() : await this.alter(change);
    return { result: this.status(setting) };
  }

  private async setting(): Promise<ScrubSetting> {
    return parseScrubSetting((await this.options.coordinator.get(SCRUB_SETTING_KEY))?.value);
  }

  private async alter(change: (setting: ScrubSetting) => ScrubSetting): Promise<ScrubSetting> {
    const { coordinator } = this.options;
    for (let i = 0; i < TRIES; i++) {
      const kv = await coordinator.get(SCRUB_SETTING_KEY);
      const next = change(parseScrubSetting(kv?.value));
      const same =
        kv === undefined
          ? { key: SCRUB_SETTING_KEY, exists: false }
          : { key: SCRUB_SETTING_KEY, modRevision: kv.modRevision };
      const put = { type: 'put', key: SCRUB_SETTING_KEY, value: JSON.stringify(next) } as const;
      if ((await coordinator.txn([same], [put])).ok) return next;
    }
    throw new AppError('again', 'others change the same setting');
  }

  private status(setting: ScrubSetting): ScrubStatus {
    const { nodes, selfId, own, mayScrub, defaultPeriodMs } = this.options;
    const records = new Map(this.options.records());
    const mine = own();
    if (mine !== undefined) records.set(selfId, mine);
    const rows: ScrubNode[] = [];
    const unrepairable: ScrubUnrepairable[] = [];
    let unlisted = 0;
    for (const node of nodes()) {
      const record = records.get(node.id);
      if (record === undefined) continue;
      rows.push(rowOf(node, record, setting));
      unrepairable.push(...this.unrepairable(record));
      unlisted += record.unrepairableCount - record.unrepairable.length;
    }
    const { periodMs = defaultPeriodMs, stopped, round } = setting;
    return {
      periodMs,
      stopped,
      round,
      waiting: !stopped && !mayScrub(),
      nodes: rows,
      unrepairable,
      unlisted,
    };
  }

  private unrepairable(record: ScrubRecord): ScrubUnrepairable[] {
    const directory = this.options.directory();
    return record.unrepairable.map(({ oid, blocks }) => {
      const place = directory && placeOf(directory, parseOid(oid) ?? 0n, blocks);
      return { oid, blocks: [...blocks], ...(place && { place }) };
    });
  }
}

function changeOf(fields: check.Fields): ((setting: ScrubSetting) => ScrubSetting) | undefined {
  const { action } = fields;
  const periodMs = check.checkOptionalInteger(fields.periodMs, 'periodMs', 0, PERIOD_MAX_MS);
  if (action !== undefined && action !== 'start' && action !== 'stop') {
    throw new AppError('invalid', 'action must be start or stop');
  }
  if (action === undefined && periodMs === undefined) return undefined;
  return (setting) => ({
    ...setting,
    ...(periodMs !== undefined && { periodMs }),
    ...(action === 'start' && { stopped: false, round: setting.round + 1 }),
    ...(action === 'stop' && { stopped: true }),
  });
}

function rowOf(node: NodeInfo, record: ScrubRecord, setting: ScrubSetting): ScrubNode {
  const { counts, running, passes, elapsedMs, last, round, unrepairableCount } = record;
  const wanted = setting.round > round && !setting.stopped;
  return {
    host: node.host,
    port: node.port,
    up: node.up,
    state: running || wanted ? (setting.stopped ? 'stopped' : 'running') : 'idle',
    passes,
    elapsedMs: Math.round(elapsedMs),
    counts: { ...counts },
    doneBytes: counts.bytes,
    storedBytes: node.usedBytes,
    unrepairable: unrepairableCount,
    ...(last && { last: { ...last } }),
  };
}
