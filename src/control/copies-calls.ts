import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import { ALTERED_FAMILIES_MAX } from '../cluster/epochs/changes.js';
import type { FamilyCopies } from '../cluster/epochs/epoch.js';
import type { Membership } from '../cluster/epochs/membership.js';
import type { ClusterView } from '../cluster/epochs/view.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { Directory } from '../volume/directory.js';
import { isFrozen, type VdiRecord } from '../volume/records.js';
import { put, same } from '../volume/version-records.js';
import { repeatInHeader } from '../volume/volume-index.js';
import type { CallResult } from './carried.js';
import type { FamilyInfo } from './member-api.js';
import * as check from './params.js';

export interface CopiesCallsOptions {
  readonly cluster: ClusterNode;
  readonly coordinator: Coordinator;
  readonly directory: Directory;
  readonly membership: Membership;
  readonly log: Logger;
  /** Any call, here or where the volume is owned. */
  readonly call: (method: string, params: unknown) => Promise<CallResult | undefined>;
}

/**
 * Copies of volumes in use. All versions of a family lie together (D-16), so they change together. The number counts
 * from the epoch record on; the versions' records and headers repeat it for people, and are mended afterwards, one by
 * one: whoever dies in between leaves old numbers that nothing goes by.
 */
export class CopiesCalls {
  private mendedFor: string | undefined;

  constructor(private readonly options: CopiesCallsOptions) {}

  async call(method: string, fields: check.Fields): Promise<CallResult | undefined> {
    switch (method) {
      case 'vdi.alter-copy':
        return { result: await this.alter(check.checkName(fields.name), check.checkCopies(fields.copies)) };
      case 'vdi.family':
        return { result: this.describe(await this.options.directory.findNow(check.checkVdiRef(fields))) };
      default:
        return undefined;
    }
  }

  /** Called with every epoch: after a switch the records are mended at once, by one node. */
  enter(view: ClusterView): void {
    const families = JSON.stringify(view.record.families);
    const first = view.record.nodes.find((n) => n.up)?.id === view.selfId;
    if (first && families !== this.mendedFor) {
      this.sweep().catch((error) => {
        this.options.log.debug({ err: AppError.from(error).message }, 'records are mended later');
      });
    }
    this.mendedFor = families;
  }

  /** Mends the records of all families whose copies have been altered; also after a crash of who was to do it. */
  async sweep(): Promise<void> {
    for (const [root, family] of Object.entries(this.view.record.families ?? {})) {
      if (family.next === undefined) await this.mend(Number.parseInt(root, 16), family.copies);
    }
  }

  private get view(): ClusterView {
    const { view } = this.options.membership;
    if (view === undefined) throw new AppError('wait-for-join', 'this sheep has not joined the cluster yet');
    return view;
  }

  private async alter(name: string, copies: number): Promise<FamilyInfo> {
    const { directory, membership } = this.options;
    const record = await directory.findNow({ name });
    await this.forgetGone();
    await membership.change({ kind: 'copies', root: record.root, present: record.copies, copies });
    return this.describe(await directory.findNow({ name }));
  }

  private familyOf(record: VdiRecord): FamilyCopies | undefined {
    return this.view.record.families?.[record.root.toString(16)];
  }

  private describe(record: VdiRecord): FamilyInfo {
    const { directory } = this.options;
    const family = this.familyOf(record);
    const copies = family?.copies ?? record.copies;
    const versions = [...directory.family(record.root).values()].filter((r) => r.state === 'live');
    return {
      rootVid: record.root,
      copies,
      ...(family?.next !== undefined && { next: family.next }),
      versions: versions.map((r) => ({
        name: directory.line(r.line)?.name ?? '',
        tag: r.snapshotMs > 0 ? r.tag : '',
        snapId: r.snapshotMs > 0 ? r.snapId : 0,
      })),
      recorded: versions.every((r) => r.copies === copies),
    };
  }

  private async mend(root: number, copies: number): Promise<void> {
    const { directory, log } = this.options;
    for (const record of directory.family(root).values()) {
      // What is being made or removed is in the hands of who does that, who compares it in the end.
      if (record.copies === copies || record.state !== 'live') continue;
      try {
        await this.mendOne(record, copies);
      } catch (error) {
        log.warn(
          { vid: record.vid, err: AppError.from(error).message },
          'a record keeps an old number of copies',
        );
      }
    }
  }

  private async mendOne(record: VdiRecord, copies: number): Promise<void> {
    const { cluster, coordinator, directory, log } = this.options;
    const name = directory.line(record.line)?.name;
    if (name === undefined) return;
    if (!isFrozen(record)) {
      // Its owner goes by what it last wrote into the record.
      await this.options.call('version.copies', { name, vid: record.vid, copies });
      return;
    }
    const mended = { ...record, copies };
    const done = await coordinator.txn([same(record)], [put(mended)]);
    if (!done.ok) return;
    await directory.seen(done.revision);
    await repeatInHeader(cluster.client, cluster.client.session(), mended, name, log);
  }

  /** Families are few in the epoch records: room is made when half of it is taken. */
  private async forgetGone(): Promise<void> {
    const { directory, membership } = this.options;
    const { families, epoch } = this.view.record;
    const roots = Object.keys(families ?? {}).map((root) => Number.parseInt(root, 16));
    if (roots.length < ALTERED_FAMILIES_MAX / 2) return;
    await directory.catchUp();
    const gone = roots.filter((root) => directory.family(root).size === 0);
    if (gone.length > 0) await membership.change({ kind: 'forget-copies', roots: gone, epoch: epoch + 1 });
  }
}
