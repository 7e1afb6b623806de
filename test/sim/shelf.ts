/**
 * All volumes of a run with their models. What happens to them is told by the world (VolumeChange); what clients are
 * answered is held against it.
 */
import type { SeededRandom } from '../../src/base/random.js';
import type { VolumeChange } from '../helpers/sim-volumes.js';
import { type SnapshotOp, WriteIds, type WriteOp } from './history.js';
import { ModelViolation, VolumeModel } from './model.js';
import { SECTOR_BYTES } from './pattern.js';

export interface Volume {
  readonly name: string;
  readonly model: VolumeModel;
  /** It has been deleted. */
  gone: boolean;
}

export interface Snapshot {
  readonly name: string;
  readonly tag: string;
  readonly model: VolumeModel;
  readonly op: SnapshotOp;
  readonly sizeBytes: number;
  /** Name by name the same as that of the working volume, while there is one. */
  readonly line: string;
  /** What each sector shows, when all have been read. */
  content: Int32Array | undefined;
  gone: boolean;
}

export interface ShelfOptions {
  readonly strictDeaths: boolean;
  readonly snapshotsDurable: boolean;
  readonly count: (event: string) => void;
}

export class Shelf {
  private readonly ids = new WriteIds();
  private readonly working = new Map<string, Volume>();
  private readonly versions = new Map<string, Snapshot>();
  private readonly all: Volume[] = [];
  private readonly known: string[] = [];

  constructor(private readonly options: ShelfOptions) {}

  /** Volumes that exist. */
  get volumes(): Volume[] {
    return [...this.working.values()];
  }

  /** Snapshots that exist. */
  get snapshots(): Snapshot[] {
    return [...this.versions.values()];
  }

  find(name: string): Volume | undefined {
    return this.volumes.find((volume) => volume.name === name);
  }

  /** Snapshots that the volume can go back to. */
  snapshotsOf(volume: Volume): Snapshot[] {
    const line = [...this.working].find(([, v]) => v === volume)?.[0];
    return this.snapshots.filter((snapshot) => snapshot.line === line);
  }

  /** Mostly the first one, which is never deleted. */
  pick(random: SeededRandom): Volume | undefined {
    const { volumes } = this;
    return random.chance(0.6) ? volumes[0] : random.pick(volumes);
  }

  /** How often a change like this has happened, to compare before and after a call. */
  happened(what: string): number {
    return this.known.filter((line) => line === what).length;
  }

  apply(change: VolumeChange): void {
    const { known } = this;
    switch (change.type) {
      case 'created':
        known.push(`create ${change.name}`);
        this.create(change);
        return;
      case 'snapshot':
        known.push(`snapshot ${change.tag}`);
        this.takeSnapshot(change);
        return;
      case 'rolledBack': {
        const volume = this.working.get(change.volume)!;
        known.push(`rollback ${volume.name}`);
        const { content, tag } = this.versions.get(change.to)!;
        volume.model.rollBack(content!, change.sizeBytes, `rollback to ${tag}`);
        return;
      }
      case 'resized':
        this.working.get(change.volume)!.model.sizeBytes = change.sizeBytes;
        return;
      case 'snapshotDeleted': {
        const snapshot = this.versions.get(change.version)!;
        known.push(`delete ${snapshot.tag}`);
        snapshot.gone = true;
        this.versions.delete(change.version);
        return;
      }
      case 'deleted': {
        const volume = this.working.get(change.volume)!;
        known.push(`delete ${volume.name}`);
        volume.gone = true;
        this.working.delete(change.volume);
      }
    }
  }

  /** Something was acknowledged: it must have happened since. `before`: what `happened` said at the call. */
  mustHaveHappened(what: string, before: number): void {
    if (this.happened(what) > before) return;
    throw new ModelViolation(`${what} was acknowledged, and has not happened`);
  }

  powerCut(pending: ReadonlySet<WriteOp>): void {
    for (const { model } of this.all) model.powerCut(pending);
  }

  /** All of the snapshot has been read, and so is known for ever. */
  remember(snapshot: Snapshot): void {
    const { seen } = snapshot.op;
    const sectors = snapshot.sizeBytes / SECTOR_BYTES;
    if (seen.size < sectors) return;
    snapshot.content = Int32Array.from({ length: sectors }, (_, i) => seen.get(i)!);
  }

  counters(): Record<string, number> {
    const sum: Record<string, number> = {};
    for (const { model } of this.all) {
      for (const [name, value] of Object.entries(model.counters)) sum[name] = (sum[name] ?? 0) + value;
    }
    return sum;
  }

  private create({ volume, name, sizeBytes, from }: VolumeChange & { type: 'created' }): void {
    const { strictDeaths, snapshotsDurable } = this.options;
    const content = from === undefined ? undefined : this.versions.get(from)!.content!;
    const model = new VolumeModel(sizeBytes, { strictDeaths, snapshotsDurable, ids: this.ids, content });
    const created: Volume = { name, model, gone: false };
    this.working.set(volume, created);
    this.all.push(created);
    this.options.count(from === undefined ? 'volume created' : 'volume cloned');
  }

  private takeSnapshot({ volume, version, tag }: VolumeChange & { type: 'snapshot' }): void {
    const { name, model } = this.working.get(volume)!;
    const op = model.snapshotNow(tag);
    const { sizeBytes } = model;
    const common = { name, tag, model, op, sizeBytes, line: volume };
    this.versions.set(version, { ...common, content: undefined, gone: false });
  }
}
