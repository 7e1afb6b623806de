import type { Clock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { Random } from '../base/random.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import type { Membership } from '../cluster/epochs/membership.js';
import type { Compare, Coordinator } from '../coord/coordinator.js';
import type { Commits } from './commits.js';
import type { Directory, VersionName } from './directory.js';
import type { Garbage } from './garbage.js';
import { NextVersions } from './next-versions.js';
import type { OwnedVolume } from './owned-volume.js';
import { type PreallocateOptions, type Progress, preallocate } from './preallocate.js';
import { isFrozen, keys, type LineRecord, type Marks, type VdiRecord } from './records.js';
import { Removal } from './removal.js';
import { Reservations } from './reservations.js';
import { live, put, same, sameLine, stillOwned, versionOf } from './version-records.js';
import { objectCount, readIndex, repeatInHeader, usageOf, writeHeader, writeInode } from './volume-index.js';
import type { VolumeManager } from './volume-manager.js';

export interface VolumeServiceOptions {
  readonly cluster: ClusterNode;
  readonly membership: Membership;
  readonly coordinator: Coordinator;
  readonly directory: Directory;
  readonly manager: VolumeManager;
  readonly garbage: Garbage;
  readonly commits: Commits;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface CreateOptions {
  readonly name: string;
  readonly sizeBytes: number;
  readonly copies: number;
  readonly blockSizeShift: number;
  readonly preallocate?: boolean;
}

export interface CloneOptions {
  /** Every object gets its room now, holes too. */
  readonly preallocate?: boolean;
  /** False: the data is copied, and the clone stands alone. It still lies where its origin's family does (D-16). */
  readonly share?: boolean;
  /** At least the origin's, which is the default. */
  readonly sizeBytes?: number;
}

interface PublishOptions {
  /** It must not have changed since it was read. */
  readonly base?: VdiRecord;
  /** The line that the name belongs to, when there is one. */
  readonly former?: LineRecord | undefined;
  /** Nothing is shared with `base` any more. */
  readonly alone?: boolean;
  /** The inode is written, with its index. */
  readonly made?: boolean | undefined;
}

/**
 * Creating and changing volumes. Each operation prepares everything nobody sees yet (a reserved vid, a written inode)
 * and then changes the records in one transaction, which either happens or does not (I-6). What a crash leaves
 * prepared is found by the sweep.
 */
export class VolumeService {
  private readonly reservations: Reservations;
  private readonly nextVersions: NextVersions;
  readonly removal: Removal;

  constructor(private readonly options: VolumeServiceOptions) {
    this.reservations = new Reservations(options);
    this.nextVersions = new NextVersions(options, this.reservations);
    this.removal = new Removal(options);
  }

  async create(options: CreateOptions, onProgress?: Progress): Promise<VdiRecord> {
    const { former, line, snapId } = await this.lineFor(options.name);
    const record = await this.reservations.take(options.name, (vid) => ({
      vid,
      line,
      tag: '',
      snapId,
      parent: 0,
      root: vid,
      sizeBytes: options.sizeBytes,
      copies: options.copies,
      blockSizeShift: options.blockSizeShift,
      createdMs: this.options.clock.wallMs(),
      snapshotMs: 0,
      state: 'pending',
    }));
    return this.reservations.orForget(record, async () => {
      const index = new Uint32Array(objectCount(record));
      if (options.preallocate) await this.makeObjects(record, options.name, index, { onProgress });
      return this.publish(record, options.name, index, { former, made: options.preallocate });
    });
  }

  /** Makes a new volume from a snapshot, sharing everything unless told otherwise. */
  async clone(source: VersionName, name: string, options: CloneOptions = {}, onProgress?: Progress) {
    const { directory, cluster } = this.options;
    const { former, line, snapId } = await this.lineFor(name);
    const base = await directory.findNow(source);
    if (!isFrozen(base)) throw new AppError('invalid', 'only a snapshot can be cloned: make one first');
    const { sizeBytes = base.sizeBytes } = options;
    if (sizeBytes < base.sizeBytes)
      throw new AppError('invalid', 'a clone cannot be smaller than its origin');
    const record = await this.reservations.take(
      name,
      (vid) => ({ ...versionOf(base, vid, this.options.clock.wallMs()), line, snapId, sizeBytes }),
      base,
    );
    const { preallocate: full = false, share = true } = options;
    return this.reservations.orForget(record, async () => {
      try {
        const index = new Uint32Array(objectCount(record));
        index.set(await readIndex(cluster.client, cluster.client.session(), base));
        const made = full || !share;
        if (made) await this.makeObjects(record, name, index, { onProgress, holes: full });
        return await this.publish(record, name, index, { base, former, alone: !share, made });
      } catch (error) {
        if (AppError.isCode(error, 'no-object')) await directory.confirmLive(base);
        throw error;
      }
    });
  }

  /** Whoever cleans up after a crash in here finds the objects by the index that is written first. */
  private async makeObjects(
    record: VdiRecord,
    name: string,
    index: Uint32Array,
    options: PreallocateOptions,
  ): Promise<void> {
    const { client } = this.options.cluster;
    const session = this.reservations.sessionOf(record);
    const { holes = true } = options;
    const planned = index.map((owner) => (owner === 0 && !holes ? 0 : record.vid));
    await writeInode(client, session, record, name, planned);
    await preallocate(client, session, record, index, options);
  }

  /** On the owner only: the volume goes on as a new version. See `NextVersions`. */
  snapshot(owned: OwnedVolume, tag?: string): Promise<{ working: VdiRecord; snapshot: VdiRecord }> {
    return this.nextVersions.snapshot(owned, tag);
  }

  /** On the owner only: the volume becomes what a snapshot of it was; what it is now is deleted. */
  rollback(owned: OwnedVolume, to: VersionName): Promise<VdiRecord> {
    return this.nextVersions.rollback(owned, to);
  }

  /** On the owner only: the volume becomes what a snapshot of it was; what it is now becomes a snapshot. */
  rebase(owned: OwnedVolume, base: VdiRecord): Promise<VdiRecord> {
    return this.nextVersions.rebase(owned, base);
  }

  /** On the owner only. */
  async resize(owned: OwnedVolume, sizeBytes: number): Promise<VdiRecord> {
    return this.edit(owned, (current) => {
      if (sizeBytes < current.sizeBytes) throw new AppError('invalid', 'Shrinking VDIs is not implemented');
      return { ...current, sizeBytes };
    });
  }

  /** On the owner only: what the snapshot that a client of the protocol is about to make will be called. */
  async mark(owned: OwnedVolume, vid: number, marks: Marks): Promise<VdiRecord> {
    return this.edit(owned, (current) => {
      if (current.vid !== vid) throw new AppError('read-only', 'the volume goes on as another version');
      const { tag = current.tag, vmStateBytes = current.vmStateBytes, vmClockNs = current.vmClockNs } = marks;
      return {
        ...current,
        tag,
        ...(vmStateBytes !== undefined && { vmStateBytes }),
        ...(vmClockNs !== undefined && { vmClockNs }),
      };
    });
  }

  /** On the owner only, before the first vmstate object with a number of `vmObjects` or above is made. */
  async reserveVmObjects(owned: OwnedVolume, vid: number, vmObjects: number): Promise<void> {
    await this.edit(owned, (current) => {
      if (current.vid !== vid) throw new AppError('read-only', 'the volume goes on as another version');
      return { ...current, vmObjects: Math.max(vmObjects, current.vmObjects ?? 0) };
    });
  }

  /** On the owner only: what the family's copies are now (D-17); a version that is none any more stays as it is. */
  async noteCopies(owned: OwnedVolume, vid: number, copies: number): Promise<void> {
    await this.edit(owned, (current) => (current.vid === vid ? { ...current, copies } : current));
  }

  private async edit(owned: OwnedVolume, change: (current: VdiRecord) => VdiRecord): Promise<VdiRecord> {
    const { device } = owned;
    const { name } = this.options.directory.existingLine(owned.line);
    return device.still(async () => {
      const current = device.record;
      const next = change(current);
      if (JSON.stringify(next) === JSON.stringify(current)) return current;
      await this.options.commits.must([same(current), stillOwned(owned)], [put(next)]);
      device.continueAs(next);
      await this.repeatInHeader(owned, next, name);
      return next;
    });
  }

  async rename(name: string, newName: string): Promise<VdiRecord> {
    const { directory } = this.options;
    const line = directory.lineOf(name);
    if (line === undefined) throw new AppError('no-vdi', 'No VDI found');
    const moved: LineRecord = { ...line, name: newName };
    const ok = await this.options.commits.try(
      [sameLine(this.options.directory.existingLine(line.id)), { key: keys.name(newName), exists: false }],
      [
        { type: 'delete', key: keys.name(name) },
        { type: 'put', key: keys.name(newName), value: line.id },
        { type: 'put', key: keys.line(line.id), value: JSON.stringify(moved) },
      ],
    );
    if (!ok) throw new AppError('vdi-exists', 'VDI exists already');
    return directory.vdi(line.vid)!;
  }

  private async publish(
    record: VdiRecord,
    name: string,
    index: Uint32Array,
    { base, former, alone = false, made = false }: PublishOptions,
  ): Promise<VdiRecord> {
    const { cluster } = this.options;
    // What shares nothing has no parent; until here it had one, so that nobody freed what was being copied.
    const done = alone ? { ...live(record), parent: 0 } : live(record);
    // An inode that has its index already must not be without it for a moment: objects depend on it.
    const session = this.reservations.sessionOf(record);
    if (made) await writeHeader(cluster.client, session, done, name);
    else await writeInode(cluster.client, session, done, name, index);
    // A number, as the vid alone may be the one that the line had before, given out again.
    const generation = (former?.generation ?? 0) + 1;
    const line: LineRecord = { id: record.line, name, vid: record.vid, generation };
    const compares: Compare[] = [same(record)];
    if (former === undefined) compares.push({ key: keys.name(name), exists: false });
    else compares.push(sameLine(former));
    if (base !== undefined) compares.push(same(base));
    const ok = await this.options.commits.try(compares, [
      put(done),
      { type: 'put', key: keys.name(name), value: line.id },
      { type: 'put', key: keys.line(line.id), value: JSON.stringify(line) },
      { type: 'put', key: keys.usage(record.vid), value: JSON.stringify(usageOf(index, record.vid)) },
    ]);
    if (ok) return done;
    await this.options.garbage.forgetPending(record);
    await this.lineFor(name);
    // The name is free, so the reservation was lost: to others this sheep had left the cluster for a moment.
    throw new AppError('again', 'the volume could not be made: the cluster has changed meanwhile');
  }

  private repeatInHeader(owned: OwnedVolume, record: VdiRecord, name: string): Promise<void> {
    const { cluster, log } = this.options;
    return repeatInHeader(cluster.client, owned.session, record, name, log);
  }

  /** Where a new volume of this name goes. A line of which only snapshots are left goes on with it. */
  private async lineFor(name: string) {
    const { directory } = this.options;
    const isTaken = () => directory.vdi(directory.lineOf(name)?.vid ?? 0)?.state === 'live';
    // What another sheep has just deleted may not have been heard of here.
    if (isTaken()) await directory.catchUp();
    if (isTaken()) throw new AppError('vdi-exists', 'VDI exists already');
    const former = directory.lineOf(name);
    const line = former?.id ?? this.newLineId();
    const snapIds = former === undefined ? [] : directory.versionsOf(line);
    return { former, line, snapId: 1 + Math.max(0, ...snapIds.map((r) => r.snapId)) };
  }

  private newLineId(): string {
    return this.options.random.bytes(6).toString('hex');
  }
}
