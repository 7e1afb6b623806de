import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import type { Membership } from '../cluster/epochs/membership.js';
import type { Compare, Op } from '../coord/coordinator.js';
import type { Commits } from './commits.js';
import type { Directory, VersionName } from './directory.js';
import type { Garbage } from './garbage.js';
import type { OwnedVolume } from './owned-volume.js';
import type { Progress } from './preallocate.js';
import { isFrozen, keys, type VdiRecord } from './records.js';
import { put, same, sameLine, stillOwned } from './version-records.js';
import type { VolumeManager } from './volume-manager.js';

export interface RemovalOptions {
  readonly cluster: ClusterNode;
  readonly membership: Membership;
  readonly directory: Directory;
  readonly manager: VolumeManager;
  readonly garbage: Garbage;
  readonly commits: Commits;
  readonly log: Logger;
}

/** Deleting versions: in the records at once, their objects afterwards (garbage.ts). */
export class Removal {
  constructor(private readonly options: RemovalOptions) {}

  /** Deletes the working volume, on its owner, or one snapshot, on any node. Resolves when its room is free. */
  async remove(version: VersionName, owned: OwnedVolume | undefined, onProgress?: Progress): Promise<number> {
    const record = await this.forget(version, owned);
    return this.options.garbage.free(record.vid, onProgress);
  }

  /** Like remove, but its room is still to be freed: the sweep does that when the caller does not. */
  async forget(version: VersionName, owned: OwnedVolume | undefined): Promise<VdiRecord> {
    const record = await this.options.directory.findNow(version);
    if (isFrozen(record)) await this.mark(record, version.name, []);
    else if (owned === undefined) throw new AppError('again', 'a volume is deleted by its owner');
    else {
      await owned.device.still(async () => {
        await this.mark(owned.device.record, version.name, [stillOwned(owned)]);
        owned.device.end();
      });
      await this.options.manager.drop(owned);
    }
    return record;
  }

  /** Its client is not kept waiting; when this fails the sweep does it. */
  freeLater(vid: number): void {
    const { garbage, log } = this.options;
    garbage.free(vid).catch((error) => {
      log.warn({ vid, err: AppError.from(error).message }, 'a deleted version is not freed yet');
    });
  }

  /** Marks one version deleted, to be cleaned up here; with the last one of its line the name goes too. */
  private async mark(record: VdiRecord, name: string, compares: Compare[]): Promise<void> {
    const { cluster, commits, directory, membership } = this.options;
    const { line } = record;
    const lineRecord = directory.line(line);
    if (lineRecord === undefined) throw new AppError('no-vdi', 'No VDI found');
    const cleaner = { nodeId: cluster.objects.selfId, incarnation: membership.incarnation };
    const ops: Op[] = [
      put({ ...record, state: 'deleted', cleaner }),
      { type: 'delete', key: keys.usage(record.vid) },
    ];
    if (!directory.vdis().some((r) => r.line === line && r.vid !== record.vid && r.state === 'live')) {
      ops.push({ type: 'delete', key: keys.name(name) }, { type: 'delete', key: keys.line(line) });
      ops.push({ type: 'delete-prefix', prefix: keys.attribute(line, '') });
    }
    await commits.must([same(record), sameLine(lineRecord), ...compares], ops);
  }
}
