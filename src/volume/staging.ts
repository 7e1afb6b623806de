import type { Clock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { Random } from '../base/random.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import type { Membership } from '../cluster/epochs/membership.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { Commits } from './commits.js';
import type { Directory, VersionName } from './directory.js';
import { readFrozenIndex } from './frozen-volume.js';
import type { Garbage } from './garbage.js';
import type { OwnedVolume } from './owned-volume.js';
import { type ImageMark, keys, type LineRecord, type Usage, type VdiRecord } from './records.js';
import { Reservations } from './reservations.js';
import { live, put, same, stillOwned, versionOf } from './version-records.js';
import { VolumeDevice } from './volume-device.js';
import {
  objectCount,
  repeatInHeader,
  usageOf,
  VolumeIndex,
  writeHeader,
  writeInode,
} from './volume-index.js';

/** Versions being filled at a time, on this sheep. */
const STAGED_MAX = 16;
/** A version that nobody has written to for so long is given up: its client is gone. */
const IDLE_MS = 60_000;
/** Images are this much longer than their file at most: clients of the sheepdog protocol know whole sectors only. */
const SECTOR_BYTES = 512;

export interface StagingOptions {
  readonly cluster: ClusterNode;
  readonly membership: Membership;
  readonly coordinator: Coordinator;
  readonly directory: Directory;
  readonly garbage: Garbage;
  readonly commits: Commits;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** A version that is being filled and that nobody sees yet. */
export interface Staged {
  readonly id: string;
  readonly name: string;
  readonly record: VdiRecord;
  /** Of a restored version: the snapshot it starts from. */
  readonly base: VdiRecord | undefined;
  readonly device: VolumeDevice;
}

interface Kept extends Staged {
  lastUsedMs: number;
}

/** What is known of a version only when all of it is there. */
export interface Finished {
  readonly sizeBytes: number;
  readonly usage: Usage;
  /** Writing an object failed once: see the record's. */
  readonly loose?: true;
}

/**
 * Versions whose content arrives in many calls and that appear all at once when it is complete: images, restored
 * backups (I-6). Until then each is a pending record and an inode with its index, which the sweep forgets together with
 * its objects when this node dies; objects whose index entry was under way in that moment stay until the vid is used
 * again. Versions are given up with their client's connection, or when nothing has come for a while.
 */
export class Staging {
  private readonly staged = new Map<string, Kept>();
  private readonly reservations: Reservations;

  constructor(private readonly options: StagingOptions) {
    this.reservations = new Reservations(options);
  }

  /** An image of `sizeBytes`, or of at most that. Rejects with 'vdi-exists' when there is anything of this name. */
  async beginImage(name: string, shape: Pick<VdiRecord, 'sizeBytes' | 'copies' | 'blockSizeShift'>) {
    if (this.options.directory.lineOf(name) !== undefined) throw nameIsTaken();
    const line = this.options.random.bytes(6).toString('hex');
    const createdMs = this.options.clock.wallMs();
    const state = 'pending' as const;
    const common = { line, tag: '', snapId: 1, parent: 0, snapshotMs: 0, createdMs, state };
    const record = await this.reserve(name, (vid) => ({ ...common, ...shape, vid, root: vid }));
    return this.open(name, record, undefined, new Uint32Array(objectCount(record)));
  }

  /** A new snapshot of a volume, which starts as a copy of `from`, one of its snapshots. */
  async beginRestore(from: VersionName, sizeBytes: number | undefined): Promise<Staged> {
    const { directory, cluster } = this.options;
    const base = await directory.findNow(from);
    const line = directory.line(base.line);
    if (base.snapshotMs === 0 || line === undefined)
      throw new AppError('invalid', 'only a snapshot is a base');
    const size = Math.max(base.sizeBytes, sizeBytes ?? 0);
    const createdMs = this.options.clock.wallMs();
    const build = (vid: number) => ({ ...versionOf(base, vid, createdMs), sizeBytes: size });
    const record = await this.reserve(line.name, build, base);
    const index = new Uint32Array(objectCount(record));
    index.set(await readFrozenIndex({ cluster, directory }, cluster.client.session(), base));
    return this.open(line.name, record, base, index);
  }

  /** Rejects with 'missing' when it was given up meanwhile. */
  get(id: string): Staged {
    const found = this.staged.get(id);
    if (found === undefined) throw new AppError('missing', 'this upload was given up; start again');
    found.lastUsedMs = this.options.clock.nowMs();
    return found;
  }

  /** The image appears, whole and durable. Rejects with 'vdi-exists' when the name was taken meanwhile. */
  async publishImage(id: string, contentBytes: number, sha256: string): Promise<VdiRecord> {
    const { clock } = this.options;
    const staged = this.get(id);
    const { record, name } = staged;
    const sizeBytes = Math.ceil(contentBytes / SECTOR_BYTES) * SECTOR_BYTES;
    if (sizeBytes > record.sizeBytes) throw new AppError('invalid', 'the image is longer than was said');
    const image: ImageMark = { contentBytes, sha256 };
    const { usage } = await this.finish(staged, sizeBytes);
    const done: VdiRecord = { ...live(record), sizeBytes, createdMs: clock.wallMs(), usage, image };
    const line: LineRecord = { id: done.line, name, vid: done.vid };
    await writeHeader(this.options.cluster.client, this.reservations.sessionOf(record), done, name);
    const ok = await this.options.commits.try(
      [same(record), { key: keys.name(name), exists: false }],
      [
        put(done),
        { type: 'put', key: keys.name(name), value: line.id },
        { type: 'put', key: keys.line(line.id), value: JSON.stringify(line) },
      ],
    );
    if (!ok) throw nameIsTaken();
    this.staged.delete(id);
    return done;
  }

  /** Everything written is durable, and nothing is written any more. */
  async finish(staged: Staged, sizeBytes: number): Promise<Finished> {
    const { device, record } = staged;
    return device.still(async () => {
      device.end();
      await device.flush();
      const usage = usageOf(device.index.entries, record.vid);
      return { sizeBytes, usage, ...(device.loose && { loose: true as const }) };
    });
  }

  /**
   * On the owner of the volume only: the pending version `vid` becomes its newest snapshot, and the volume goes on as
   * it is (its number grows: the working version has the highest). Nothing of the working version is touched.
   */
  async attach(owned: OwnedVolume, vid: number, finished: Finished): Promise<VdiRecord> {
    const { directory, clock } = this.options;
    return owned.device.still(async () => {
      const pending = directory.vdi(vid);
      const base = pending && directory.vdi(pending.parent);
      const line = directory.line(owned.line);
      if (pending?.state !== 'pending' || pending.line !== owned.line || base === undefined || !line)
        throw new AppError('again', 'what is to be restored is not known here yet');
      if (base.state !== 'live') throw new AppError('no-tag', 'the base has been deleted meanwhile');
      const current = owned.device.record;
      const kept = { ...live(pending), ...finished, snapId: current.snapId };
      const snapshot: VdiRecord = { ...kept, createdMs: clock.wallMs(), snapshotMs: clock.wallMs() };
      const working: VdiRecord = { ...current, snapId: current.snapId + 1 };
      await writeHeader(this.options.cluster.client, owned.session, snapshot, line.name);
      await this.options.commits.must(
        [same(current), same(pending), same(base), stillOwned(owned)],
        [put(snapshot), put(working)],
      );
      owned.device.continueAs(working);
      await repeatInHeader(this.options.cluster.client, owned.session, working, line.name, this.options.log);
      return snapshot;
    });
  }

  /** Its content is part of a volume now. */
  attached(id: string): void {
    this.staged.delete(id);
  }

  /** Gives up what was not published; its objects are freed. Does nothing when it was published after all. */
  async abort(id: string): Promise<void> {
    const found = this.staged.get(id);
    if (found === undefined) return;
    this.staged.delete(id);
    found.device.end();
    // Writes under way could make objects behind the back of what follows.
    await found.device.still(async () => {});
    await this.options.garbage.forgetPending(found.record);
  }

  private async open(name: string, record: VdiRecord, base: VdiRecord | undefined, index: Uint32Array) {
    const { cluster, random } = this.options;
    const { client } = cluster;
    const session = this.reservations.sessionOf(record);
    try {
      // With its index from the start: whoever has to clean up finds the objects.
      await writeInode(client, session, record, name, index);
    } catch (error) {
      await this.options.garbage.forgetPending(record).catch(() => {});
      throw error;
    }
    const device = new VolumeDevice({
      client,
      session,
      name,
      record,
      index: new VolumeIndex(client, session, record, index),
      readOnly: false,
      entriesFirst: true,
      onReleased: () => {},
    });
    const id = random.bytes(8).toString('hex');
    const staged: Kept = { id, name, record, base, device, lastUsedMs: this.options.clock.nowMs() };
    this.staged.set(id, staged);
    this.giveUpWhenIdle(staged);
    return staged;
  }

  private giveUpWhenIdle(staged: Kept): void {
    const { clock, log } = this.options;
    clock.after(Math.max(1000, staged.lastUsedMs + IDLE_MS - clock.nowMs()), () => {
      if (this.staged.get(staged.id) !== staged) return;
      if (clock.nowMs() - staged.lastUsedMs < IDLE_MS) return this.giveUpWhenIdle(staged);
      log.info({ name: staged.name }, 'an upload is given up: its client is gone');
      this.abort(staged.id).catch((error) => {
        log.warn({ err: AppError.from(error).message }, 'an upload that was given up is left to the sweep');
      });
    });
  }

  private reserve(name: string, build: (vid: number) => VdiRecord, base?: VdiRecord): Promise<VdiRecord> {
    if (this.staged.size >= STAGED_MAX) throw new AppError('system', 'too many uploads at a time');
    return this.reservations.take(name, build, base);
  }
}

function nameIsTaken(): AppError {
  return new AppError('vdi-exists', 'VDI exists already');
}
