import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { makeDurably } from '../base/durable-folder.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { DiskChanges, DiskInfo } from '../store/disks/disk-changes.js';
import type { DiskSet } from '../store/disks/disk-set.js';
import { openFileDisk } from '../store/file-disk.js';
import type { DiskList } from './disk-list.js';
import { restoreIdentity } from './identity.js';

export interface NodeDisksOptions {
  readonly set: DiskSet;
  readonly changes: DiskChanges;
  readonly list: DiskList;
  readonly formatId: string;
  readonly nodeId: string;
  /** Of the sheep. */
  readonly dir: string;
  readonly log: Logger;
}

/** The disks of this sheep as directories, in use and as they are to be found at the next start. */
export class NodeDisks {
  constructor(private readonly options: NodeDisksOptions) {
    options.set.onIncomplete(() => this.save());
  }

  info(): DiskInfo[] {
    return this.options.changes.list();
  }

  /** Takes in a directory; AppError 'invalid' | 'exists' | 'missing' | those of opening a store. */
  async plug(path: string): Promise<void> {
    const { changes, formatId } = this.options;
    checkDirectory(path);
    const stores = join(path, 'store');
    const store = join(stores, formatId);
    if (existsSync(stores) && !existsSync(store)) {
      throw new AppError('invalid', `${stores} belongs to another cluster: choose another directory`);
    }
    this.clearFormer(path, store);
    makeDurably(store);
    await changes.plug(path, openFileDisk(store));
    this.save();
  }

  /** The store of a disk that was emptied before it was taken out has nothing that anybody could miss. */
  private clearFormer(path: string, store: string): void {
    const inUse = this.options.set.members.some(({ name }) => name === path);
    if (inUse || !existsSync(store)) return;
    if (hasObjects(join(store, 'obj'))) {
      throw new AppError(
        'invalid',
        `${store} holds objects of an earlier time: remove it first, if nobody needs them`,
      );
    }
    rmSync(store, { recursive: true });
  }

  unplug(path: string, force: boolean): Promise<void> {
    return this.options.changes.unplug(path, force);
  }

  keep(path: string): Promise<void> {
    return this.options.changes.keep(path);
  }

  /** What is in use now is what the next start looks for. `gone`: more that it shall not use. */
  save(gone: readonly string[] = []): void {
    const { set, list, dir, nodeId, formatId, log } = this.options;
    const names = set.members.map(({ name }) => name);
    try {
      const former = list.paths([]).filter((path) => !names.includes(path) && list.exists);
      list.save(names, [...former, ...gone]);
      // It may have been in a directory that was deleted with a disk in it.
      restoreIdentity(dir, { nodeId, version: 1, formatId });
    } catch (error) {
      // The disks' own records say what counts; only what to look for at the next start is not up to date.
      log.error({ err: AppError.from(error).message }, 'the list of disks could not be saved');
    }
  }
}

function hasObjects(folder: string): boolean {
  if (!existsSync(folder)) return false;
  return readdirSync(folder).some((name) => readdirSync(join(folder, name)).length > 0);
}

/** A mistyped path must not become a disk on the root file system. */
function checkDirectory(path: string): void {
  if (!isAbsolute(path)) throw new AppError('invalid', `${path} is not an absolute path`);
  if (!existsSync(path)) throw new AppError('missing', `there is no directory ${path}`);
  if (!statSync(path).isDirectory()) throw new AppError('invalid', `${path} is not a directory`);
}
