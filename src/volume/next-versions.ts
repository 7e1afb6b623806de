import type { Clock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import type { Op } from '../coord/coordinator.js';
import type { Commits } from './commits.js';
import type { Directory, VersionName } from './directory.js';
import { readFrozenIndex } from './frozen-volume.js';
import type { Garbage } from './garbage.js';
import type { OwnedVolume } from './owned-volume.js';
import { keys, type VdiRecord } from './records.js';
import type { Reservations } from './reservations.js';
import {
  live,
  loosened,
  put,
  same,
  sameLine,
  stillOwned,
  versionOf,
  withoutMarks,
} from './version-records.js';
import { repeatInHeader, usageOf, writeInode } from './volume-index.js';

export interface NextVersionsOptions {
  readonly cluster: ClusterNode;
  readonly directory: Directory;
  readonly garbage: Garbage;
  readonly commits: Commits;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Volumes that go on as another version: after a snapshot, a rollback, a rebase. All on the volume's owner only. What
 * the new version is made of is flushed as one, with what clients wrote, before one transaction lets it exist (I-6).
 */
export class NextVersions {
  constructor(
    private readonly options: NextVersionsOptions,
    private readonly reservations: Reservations,
  ) {}

  /**
   * On the owner only. The volume holds still while its index is copied; then it goes on as a new version. Without a
   * tag the snapshot keeps what a client wrote into the header for it.
   */
  async snapshot(owned: OwnedVolume, tag?: string): Promise<{ working: VdiRecord; snapshot: VdiRecord }> {
    const { clock, cluster } = this.options;
    const { device } = owned;
    const { name } = this.options.directory.existingLine(owned.line);
    if (tag !== undefined) this.refuseUsedTag(owned.line, tag);
    const flushed = this.flushAhead(owned);
    const next = await this.reservations.take(name, (vid) =>
      this.nextVersion(device.record, vid, device.record.snapId),
    );
    const { movingSnapshot } = cluster.objects.options.mutants ?? {};
    const still: typeof device.still = (work) => (movingSnapshot ? work() : device.still(work));
    return this.reservations.orForget(next, async () => {
      await flushed;
      const made = await still(async () => {
        const current = device.record;
        if (current.vid !== next.parent)
          throw new AppError('again', 'another snapshot was made at the same time');
        await device.index.save();
        const entries = device.index.entries;
        const working: VdiRecord = { ...live(next), sizeBytes: current.sizeBytes };
        await writeInode(cluster.client, owned.session, working, name, entries, { sync: false });
        // A snapshot never changes, not even by a power cut: what it holds is durable before it exists, and so is the
        // inode of the version that the volume goes on as.
        await cluster.client.flush(owned.session, current);
        const usage = usageOf(entries, current.vid);
        const named = tag === undefined ? current : { ...withoutMarks(current), tag };
        const kept = { ...named, snapshotMs: clock.wallMs(), usage };
        const snapshot = loosened(kept, device.loose);
        await this.options.commits.must(
          [
            same(current),
            same(next),
            sameLine(this.options.directory.existingLine(owned.line)),
            stillOwned(owned),
          ],
          [put(snapshot), put(working), this.workingOf(owned.line, working.vid)],
        );
        device.continueAs(working);
        return { working, snapshot };
      });
      await this.repeatInHeader(owned, made.snapshot, name);
      return made;
    });
  }

  /**
   * Syncs what clients have written until now while they go on, so that little is left to sync while the volume stands
   * still. To be awaited later; what goes wrong is told then.
   */
  private flushAhead({ session, device }: OwnedVolume): Promise<void> {
    const flushed = this.options.cluster.client.flush(session, device.record);
    flushed.catch(() => {});
    return flushed;
  }

  /** On the owner only: the volume becomes what a snapshot of it was; what it is now is deleted. */
  async rollback(owned: OwnedVolume, to: VersionName): Promise<VdiRecord> {
    const { directory, garbage } = this.options;
    const { old, working } = await this.goBack(owned, await directory.findNow(to), (current) => ({
      ...current,
      state: 'deleted',
    }));
    await garbage.free(old.vid);
    return working;
  }

  /** On the owner only: the volume becomes what a snapshot of it was; what it is now becomes a snapshot. */
  async rebase(owned: OwnedVolume, base: VdiRecord): Promise<VdiRecord> {
    const { clock } = this.options;
    const { working } = await this.goBack(owned, base, (current) => ({
      ...current,
      snapshotMs: clock.wallMs(),
      usage: usageOf(owned.device.index.entries, current.vid),
    }));
    return working;
  }

  private async goBack(
    owned: OwnedVolume,
    base: VdiRecord,
    keep: (current: VdiRecord) => VdiRecord,
  ): Promise<{ old: VdiRecord; working: VdiRecord }> {
    const { cluster } = this.options;
    const { device } = owned;
    const { name } = this.options.directory.existingLine(owned.line);
    if (base.line !== owned.line || base.snapshotMs === 0)
      throw new AppError('no-tag', 'Failed to find requested tag');
    const next = await this.reservations.take(
      name,
      (vid) => this.nextVersion(base, vid, device.record.snapId),
      base,
    );
    const working = live(next);
    const old = await this.reservations.orForget(next, () =>
      device.still(async () => {
        const current = device.record;
        if (current.snapId + 1 !== next.snapId)
          throw new AppError('again', 'the volume has changed meanwhile');
        const old = loosened(keep(current), device.loose);
        if (old.state === 'live') await device.index.save();
        const index = await readFrozenIndex(this.options, owned.session, base);
        await writeInode(cluster.client, owned.session, working, name, index, { sync: false });
        // The inode too is durable before the volume is what it says.
        await cluster.client.flush(owned.session, current);
        // From the moment of the transaction on nobody may be shown what was before.
        await device.unread(async () => {
          await this.options.commits.must(
            [
              same(current),
              same(next),
              same(base),
              sameLine(this.options.directory.existingLine(owned.line)),
              stillOwned(owned),
            ],
            [put(old), put(working), this.workingOf(owned.line, working.vid)],
          );
          device.index.entries = index;
          device.continueAs(working);
        });
        return current;
      }),
    );
    return { old, working };
  }

  private repeatInHeader(owned: OwnedVolume, record: VdiRecord, name: string): Promise<void> {
    const { cluster, log } = this.options;
    return repeatInHeader(cluster.client, owned.session, record, name, log);
  }

  private nextVersion(base: VdiRecord, vid: number, lastSnapId: number): VdiRecord {
    return { ...versionOf(base, vid, this.options.clock.wallMs()), snapId: lastSnapId + 1 };
  }

  private refuseUsedTag(line: string, tag: string): void {
    if (tag === '') return;
    const used = this.options.directory
      .versionsOf(line)
      .some((r) => r.state === 'live' && r.snapshotMs > 0 && r.tag === tag);
    if (used) throw new AppError('vdi-exists', `snapshot tag (${tag}) exists already`);
  }

  private workingOf(line: string, vid: number): Op {
    return {
      type: 'put',
      key: keys.line(line),
      value: JSON.stringify({ ...this.options.directory.existingLine(line), vid }),
    };
  }
}
