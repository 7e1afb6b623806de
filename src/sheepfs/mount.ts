import type { Logger } from '../base/log.js';
import { FuseError } from '../fuse/errors.js';
import { FileFlag, Mode, OpenFlag } from '../fuse/protocol.js';
import type { Handlers } from '../fuse/session.js';
import { AsideNames } from './aside.js';
import type { FolderRecord } from './attributes.js';
import { dataOperations } from './data-operations.js';
import { newRecord } from './file-record.js';
import { Handles } from './handles.js';
import { NO_CACHE, nameOperations } from './name-operations.js';
import type { FileNode } from './nodes.js';
import { ClusterSpace } from './space.js';
import { Tree } from './tree.js';
import type { FileWorld } from './volume-file.js';

const FOLDER_MODE = 0o755;

/** One mounted tree of volumes: what all operations share. */
export class Mount {
  readonly handles = new Handles();
  readonly aside: AsideNames;
  readonly tree: Tree;
  readonly space: ClusterSpace;
  /** Owner and modes of the folders, as long as this is mounted. */
  readonly folder: FolderRecord;
  readonly handlers: Handlers;

  constructor(
    readonly world: FileWorld,
    mountpoint: string,
  ) {
    const { cluster, clock, defaults } = world;
    this.aside = new AsideNames(mountpoint);
    this.tree = new Tree(world, this.aside);
    this.space = new ClusterSpace(cluster, clock);
    this.folder = { ...newRecord(clock.wallMs(), { ...defaults, mode: FOLDER_MODE & Mode.PERMISSIONS }) };
    this.handlers = { ...nameOperations(this), ...dataOperations(this) };
  }

  /** Removes what a crash of an earlier mount in this place has left. */
  sweep(log: Logger): Promise<void> {
    return this.aside.sweep(this.world.cluster, log);
  }

  /**
   * Working volumes are never in the page cache: they change at other doors, and on other hosts. Snapshots never
   * change, and stay in it from one open to the next. Throws EROFS.
   */
  open(node: FileNode, flags: number): { fh: number; openFlags: number } {
    const access = flags & FileFlag.ACCESS;
    const writes = access !== 0;
    if (node.kind === 'snapshot') {
      if (writes) throw new FuseError('EROFS');
      node.file.opened();
      return { fh: this.handles.add({ node, writes }), openFlags: OpenFlag.KEEP_CACHE | OpenFlag.NOFLUSH };
    }
    if (writes && node.file.isImage) throw new FuseError('EROFS');
    node.file.opened(writes);
    return { fh: this.handles.add({ node, writes }), openFlags: NO_CACHE };
  }

  /** Before the end: how long the files are that are being written. */
  async saveAll(): Promise<void> {
    const files = [...this.handles.values()].flatMap(({ node }) =>
      node.kind === 'volume' ? [node.file] : [],
    );
    await Promise.all([...new Set(files)].map((file) => file.save()));
  }
}
