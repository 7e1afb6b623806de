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
import { loosened, put, same, sameLine, stillOwned } from './version-records.js';
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
    const { record, dropped } = await this.end(version, owned);
    const [freed, drop] = await Promise.allSettled([
      this.options.garbage.free(record.vid, onProgress),
      dropped,
    ]);
    if (freed.status === 'rejected') throw freed.reason;
    if (drop.status === 'rejected') throw drop.reason;
    return freed.value;
  }

  /** Like remove, but its room is still to be freed: the sweep does that when the caller does not. */
  async forget(version: VersionName, owned: OwnedVolume | undefined): Promise<VdiRecord> {
    const { record, dropped } = await this.end(version, owned);
    await dropped;
    return record;
  }

  /** The version is deleted in the records. `dropped`: nobody owns the volume any more whose working version it was. */
  private async end(
    version: VersionName,
    owned: OwnedVolume | undefined,
  ): Promise<{ record: VdiRecord; dropped: Promise<void> }> {
    const record = await this.options.directory.findNow(version);
    if (isFrozen(record)) {
      await this.mark(record, version.name, []);
      return { record, dropped: Promise.resolve() };
    }
    if (owned === undefined) throw new AppError('again', 'a volume is deleted by its owner');
    await owned.device.still(async () => {
      const { record: working, loose } = owned.device;
      await this.mark(working, version.name, [stillOwned(owned)], loose);
      owned.device.end();
    });
    return { record, dropped: this.options.manager.drop(owned) };
  }

  /** Its client is not kept waiting; when this fails the sweep does it. */
  freeLater(vid: number): void {
    const { garbage, log } = this.options;
    garbage.free(vid).catch((error) => {
      log.warn({ vid, err: AppError.from(error).message }, 'a deleted version is not freed yet');
    });
  }

  /** Marks one version deleted, to be cleaned up here; with the last one of its line the name goes too. */
  private async mark(record: VdiRecord, name: string, compares: Compare[], loose = false): Promise<void> {
    const { cluster, commits, directory, membership } = this.options;
    const { line } = record;
    const lineRecord = directory.existingLine(line);
    const cleaner = { nodeId: cluster.objects.selfId, incarnation: membership.incarnation };
    const ops: Op[] = [
      put({ ...loosened(record, loose), state: 'deleted', cleaner }),
      { type: 'delete', key: keys.usage(record.vid) },
    ];
    if (!directory.versionsOf(line).some((r) => r.vid !== record.vid && r.state === 'live')) {
      ops.push({ type: 'delete', key: keys.name(name) }, { type: 'delete', key: keys.line(line) });
      ops.push({ type: 'delete-prefix', prefix: keys.attribute(line, '') });
    }
    await commits.must([same(record), sameLine(lineRecord), ...compares], ops);
  }
}
