import { AppError } from '../base/errors.js';
import { FuseError } from '../fuse/errors.js';
import { DirentType, RENAME_NOREPLACE } from '../fuse/protocol.js';
import type { DirectoryEntry } from '../fuse/replies.js';
import type { AsideNames } from './aside.js';
import { asFuseError } from './errors.js';
import { encodeRecord, newRecord, RECORD_KEY } from './file-record.js';
import { FrozenFile } from './frozen-file.js';
import { checkNewName, isShown, SNAPSHOTS_NAME, snapshotName } from './names.js';
import { type Node, Nodes, type VolumeNode } from './nodes.js';
import { type FileWorld, VolumeFile } from './volume-file.js';

/** The size of the volume of a file without a byte: none is smaller. */
const EMPTY_VOLUME_BYTES = 1;

export interface Owner {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Names: looking up, listing, making, renaming and removing. The kernel lets one change of a folder in at a time. */
export class Tree {
  readonly nodes = new Nodes();

  constructor(
    private readonly world: FileWorld,
    private readonly aside: AsideNames,
  ) {}

  /** Rejects with ENOENT. What is found is fresh from the cluster. */
  async lookUp(parent: Node, name: string): Promise<Node> {
    switch (parent.kind) {
      case 'root':
        return name === SNAPSHOTS_NAME ? this.nodes.snapshots : this.findVolume(name);
      case 'snapshots':
        return this.findHistory(name);
      case 'history':
        return this.findSnapshot(parent.name, name);
      default:
        throw new FuseError('ENOTDIR');
    }
  }

  private async findVolume(name: string): Promise<VolumeNode> {
    if (!isShown(name)) throw new FuseError('ENOENT');
    const known = this.nodes.volume(name);
    if (known === undefined) return this.nodes.addVolume(await VolumeFile.find(this.world, name));
    try {
      await known.file.refresh();
      return known;
    } catch (error) {
      // Deleted at another door: the name is free, whoever has it open will see.
      if (error instanceof FuseError && error.code === 'ENOENT') this.nodes.unname(known);
      throw error;
    }
  }

  private async findHistory(name: string): Promise<Node> {
    if (!isShown(name) || (await this.snapshotsOf(name)).length === 0) throw new FuseError('ENOENT');
    return this.nodes.history(name);
  }

  private async findSnapshot(volume: string, name: string): Promise<Node> {
    const row = (await this.snapshotsOf(volume)).find((each) => snapshotName(each) === name);
    if (row === undefined) throw new FuseError('ENOENT');
    return this.nodes.snapshot(() => new FrozenFile(this.world, row), row);
  }

  private async snapshotsOf(name: string) {
    const rows = await this.world.cluster.call('vdi.list', { name }).catch(rethrow);
    return rows.filter((row) => row.snapshot);
  }

  async list(folder: Node): Promise<DirectoryEntry[]> {
    const { cluster } = this.world;
    const dots = ['.', '..'].map((name) => ({ name, ino: folder.id, type: DirentType.FOLDER }));
    if (folder.kind === 'history') {
      const rows = await this.snapshotsOf(folder.name);
      return [
        ...dots,
        ...rows.map((row) => ({ name: snapshotName(row), ino: row.vid, type: DirentType.FILE })),
      ];
    }
    const rows = await cluster.call('vdi.list', {}).catch(rethrow);
    const shown = rows.filter((row) => isShown(row.name));
    if (folder.kind === 'snapshots') {
      const names = new Set(shown.filter((row) => row.snapshot).map((row) => row.name));
      return [...dots, ...[...names].map((name) => ({ name, ino: folder.id, type: DirentType.FOLDER }))];
    }
    // `.snapshots` is there for who names it, but not listed: libvirt would take it for a volume, cp -r would copy it.
    const files = shown.filter((row) => !row.snapshot);
    return [...dots, ...files.map(({ name, vid }) => ({ name, ino: vid, type: DirentType.FILE }))];
  }

  /** A new file without a byte. Rejects with EEXIST. */
  async create(parent: Node, name: string, owner: Owner): Promise<VolumeNode> {
    this.checkFolder(parent);
    checkNewName(name);
    const { cluster, clock } = this.world;
    const sizeBytes = EMPTY_VOLUME_BYTES;
    const info = await cluster.call('vdi.create', { name, sizeBytes }).catch(rethrow);
    const length = { bytes: 0, sizes: [sizeBytes], growing: false };
    const record = { ...newRecord(clock.wallMs(), owner), length };
    const value = encodeRecord(record);
    await cluster.call('vdi.setattr', { name, key: RECORD_KEY, mode: 'set', value }).catch(rethrow);
    return this.nodes.addVolume(new VolumeFile(this.world, name, info, record));
  }

  /** What somebody has open goes on under a name that nobody sees, until the last one closes it. */
  async unlink(parent: Node, name: string): Promise<void> {
    this.checkFolder(parent);
    const node = await this.lookUp(parent, name);
    if (node.kind !== 'volume') throw new FuseError('EISDIR');
    if (node.file.users > 0) {
      await this.refuseSnapshots(name);
      await this.setAside(node);
    } else await this.delete(name);
    this.unlinked(node);
  }

  /**
   * The file that has the new name is set aside first, with a record that says so: a crash in between leaves the old
   * file under its name, or is undone by the next mount.
   */
  async rename(from: Node, name: string, to: Node, newName: string, flags: number): Promise<void> {
    this.checkFolder(from);
    this.checkFolder(to);
    if ((flags & ~RENAME_NOREPLACE) !== 0) throw new FuseError('EINVAL');
    checkNewName(newName);
    const node = await this.lookUp(from, name);
    if (node.kind !== 'volume') throw new FuseError('EBUSY');
    if (name === newName) return;
    const former = await this.findVolume(newName).catch(orMissing);
    if (former !== undefined && (flags & RENAME_NOREPLACE) !== 0) throw new FuseError('EEXIST');
    if (former !== undefined) {
      await this.refuseSnapshots(newName);
      await former.file.change((record) => {
        record.replaced = newName;
      });
      await this.setAside(former);
    }
    await this.world.cluster.call('vdi.rename', { name, newName }).catch(rethrow);
    node.file.renamed(newName);
    this.nodes.renameVolume(node, newName);
    if (former !== undefined) await this.dropReplaced(former);
  }

  private async dropReplaced(former: VolumeNode): Promise<void> {
    if (former.file.users === 0) await this.delete(former.file.name);
    this.unlinked(former);
  }

  /** They would go with the volume, to a name that nobody sees. */
  private async refuseSnapshots(name: string): Promise<void> {
    if ((await this.snapshotsOf(name)).length > 0) throw new FuseError('EBUSY', 'the volume has snapshots');
  }

  private async setAside(node: VolumeNode): Promise<void> {
    const { file } = node;
    const aside = this.aside.next();
    await this.world.cluster.call('vdi.rename', { name: file.name, newName: aside }).catch(rethrow);
    file.renamed(aside);
    this.nodes.unname(node);
  }

  private unlinked(node: VolumeNode): void {
    this.nodes.unname(node);
    node.key = '';
  }

  /** The last one has closed a file that was unlinked. */
  async closedUnlinked(node: VolumeNode): Promise<void> {
    if (node.key === '' && node.file.users === 0) await this.delete(node.file.name);
  }

  private async delete(name: string): Promise<void> {
    await this.world.cluster.call('vdi.delete', { name }).catch((error: unknown) => {
      if (!AppError.isCode(error, 'no-vdi')) throw asFuseError(error);
    });
  }

  /** Files are made and removed in the root only: snapshots are made by `dog vdi snapshot`. */
  private checkFolder(node: Node): void {
    if (node.kind === 'snapshots' || node.kind === 'history') throw new FuseError('EROFS');
    if (node.kind !== 'root') throw new FuseError('ENOTDIR');
  }
}

function rethrow(error: unknown): never {
  throw asFuseError(error);
}

function orMissing(error: unknown): undefined {
  if (error instanceof FuseError && error.code === 'ENOENT') return undefined;
  throw error;
}
