import type { Clock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import { forEachLimit } from '../base/signal.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import type { Directory } from '../volume/directory.js';
import { readFrozenIndex } from '../volume/frozen-volume.js';
import type { Usage, VdiRecord } from '../volume/records.js';
import { usageOf } from '../volume/volume-index.js';
import type { VolumeManager } from '../volume/volume-manager.js';
import type { VdiInfo } from './api.js';
import type { CallResult } from './carried.js';
import { deletedMeanwhile, describeVdi } from './volume-info.js';

/** Rows made between two turns of the event loop: clients are served by the same process. */
const SLICE_ROWS = 500;
/** Owners asked, and indexes read, at a time. */
const ASKED_AT_ONCE = 32;

export interface VolumeRowsOptions {
  readonly cluster: ClusterNode;
  readonly directory: Directory;
  readonly manager: VolumeManager;
  readonly clock: Clock;
  readonly carry: (nodeId: string, method: string, params: unknown) => Promise<CallResult>;
}

/** Volumes and snapshots as `vdi list` shows them: what the records say, and how much each occupies. */
export class VolumeRows {
  constructor(private readonly options: VolumeRowsOptions) {}

  /** Of one name, or all; ascending by vid. */
  async list(name: string | undefined): Promise<VdiInfo[]> {
    const { directory, clock } = this.options;
    const line = name === undefined ? undefined : directory.lineOf(name);
    if (name !== undefined && line === undefined) return [];
    const versions = line === undefined ? directory.vdis() : directory.versionsOf(line.id);
    const records = versions.filter((r) => r.state === 'live').sort((a, b) => a.vid - b.vid);
    const rows: (VdiInfo | undefined)[] = [];
    const unknown: number[] = [];
    for (const [at, record] of records.entries()) {
      if (at % SLICE_ROWS === SLICE_ROWS - 1) await new Promise<void>((resolve) => clock.defer(resolve));
      const usage = this.knownUsage(record);
      if (usage === undefined) unknown.push(at);
      else rows[at] = this.row(record, usage);
    }
    await forEachLimit(unknown, ASKED_AT_ONCE, async (at) => {
      rows[at] = await this.describe(records[at]!).catch(deletedMeanwhile);
    });
    return rows.filter((row) => row !== undefined);
  }

  async describe(record: VdiRecord): Promise<VdiInfo> {
    return this.row(record, this.knownUsage(record) ?? (await this.askedUsage(record)));
  }

  /** Undefined: this sheep does not own the volume. */
  ownUsage(line: string): Usage | undefined {
    const device = this.options.manager.ownedBy(line)?.device;
    return device === undefined ? undefined : usageOf(device.index.entries, device.record.vid);
  }

  /** Of a version that may be deleted meanwhile: 'no-vdi' or 'no-tag' then. */
  indexOf(record: VdiRecord): Promise<Uint32Array> {
    return readFrozenIndex(this.options, this.options.cluster.client.session(), record);
  }

  private row(record: VdiRecord, usage: Usage): VdiInfo {
    const { directory, cluster } = this.options;
    // A record may lag behind what its family's copies are now.
    const copies = cluster.objects.context?.view.copiesOf(record) ?? record.copies;
    return describeVdi(directory, { ...record, copies }, usage);
  }

  /** Without asking anybody. */
  private knownUsage(record: VdiRecord): Usage | undefined {
    const { directory } = this.options;
    return record.usage ?? this.ownUsage(record.line) ?? directory.usage(record.vid);
  }

  private async askedUsage(record: VdiRecord): Promise<Usage> {
    const { directory, cluster, carry } = this.options;
    const owner = directory.owner(record.line);
    if (owner !== undefined && owner.nodeId !== cluster.objects.selfId) {
      try {
        const { result } = await carry(owner.nodeId, 'internal.usage', { line: record.line });
        if (result !== null) return result as Usage;
      } catch (error) {
        if (!AppError.isCode(error, 'network', 'again')) throw error;
      }
    }
    return usageOf(await this.indexOf(record), record.vid);
  }
}
