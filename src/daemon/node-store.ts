import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { systemClock } from '../base/clock.js';
import { makeDurably } from '../base/durable-folder.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { systemRandom } from '../base/random.js';
import { DiskError } from '../store/disk.js';
import { DiskChanges } from '../store/disks/disk-changes.js';
import type { DiskSet } from '../store/disks/disk-set.js';
import { openDiskSet } from '../store/disks/open-disk-set.js';
import type { RootOf } from '../store/disks/placement.js';
import { openFileDisk } from '../store/file-disk.js';
import { SUPERBLOCK_PATH } from '../store/superblock.js';
import type { SheepConfig } from './config.js';
import { DiskList } from './disk-list.js';
import { loadIdentity, noteStore } from './identity.js';
import { NodeDisks } from './node-disks.js';

export interface NodeStoreOptions {
  readonly config: Pick<SheepConfig, 'dir' | 'disk' | 'missingDisk'>;
  readonly nodeId: string;
  readonly bootId: string;
  readonly formatId: string;
  /** Earlier formats of the cluster, whose stores are removed. */
  readonly former: readonly string[];
  readonly rootOf: RootOf;
  readonly log: Logger;
}

export interface NodeStore {
  readonly store: DiskSet;
  readonly disks: NodeDisks;
}

/**
 * Each format of a cluster has a store of its own on each disk; those of earlier formats go, those of other clusters
 * are refused. AppError 'system' when a disk of this sheep is not there, with what can be done.
 */
export async function openNodeStore(options: NodeStoreOptions): Promise<NodeStore> {
  const { config, nodeId, bootId, formatId, former, rootOf, log } = options;
  const { dir } = config;
  const named = config.disk?.map((path) => resolve(path)) ?? [];
  const list = new DiskList(resolve(dir));
  const paths = list.paths(named);
  for (const path of list.ignored(named)) {
    const hint = `it was taken out or lost before; 'dog node md plug ${path}' takes it in again`;
    log.warn({ disk: path }, `this disk is not used: ${hint}`);
  }
  // Of the first start with this format nothing is there yet. Later an empty store would answer "no such object" for
  // everything this node is known to hold.
  const hasStores = loadIdentity(dir).formatId === formatId;
  const anyStore = paths.some((path) => existsSync(join(storePath(path, formatId), SUPERBLOCK_PATH)));
  const mustBeThere = (path: string) => hasStores && (list.exists ? list.has(path) : !anyStore);
  for (const path of paths) checkStores(path, formatId, former, log);
  const common = {
    clock: systemClock,
    log,
    identity: { clusterId: formatId, nodeId },
    bootId,
    newId: () => systemRandom.bytes(8).toString('hex'),
  };
  const disks = paths.map((path) => ({
    name: path,
    disk: () => openDisk(path, formatId, mustBeThere(path)),
  }));
  const missing = config.missingDisk ?? 'refuse';
  const { set, stale } = await openDiskSet({ ...common, disks, rootOf, missing }).catch((error) => {
    throw explain(error, paths);
  });
  noteStore(dir, formatId);
  const changes = new DiskChanges({ ...common, set, onGone: () => nodeDisks.save() });
  const nodeDisks = new NodeDisks({ set, changes, list, formatId, nodeId, dir, log });
  nodeDisks.save([...stale, ...paths.filter((path) => !set.members.some(({ name }) => name === path))]);
  return { store: set, disks: nodeDisks };
}

export function storePath(path: string, formatId: string): string {
  return join(path, 'store', formatId);
}

/** Removes stores of earlier formats; AppError 'system' for what is none of ours. */
export function checkStores(path: string, formatId: string, former: readonly string[], log: Logger): void {
  const stores = join(path, 'store');
  for (const name of existsSync(stores) ? readdirSync(stores) : []) {
    if (name === formatId) continue;
    if (!former.includes(name)) {
      throw new AppError(
        'system',
        `${join(stores, name)} belongs to another cluster: choose another directory`,
      );
    }
    log.info({ store: name }, 'removing the store of an earlier format');
    rmSync(join(stores, name), { recursive: true, force: true });
  }
}

function openDisk(path: string, formatId: string, mustBeThere: boolean) {
  const store = storePath(path, formatId);
  if (mustBeThere && !existsSync(join(store, SUPERBLOCK_PATH))) {
    throw new DiskError('missing', `the store ${store} is missing: is its disk mounted?`);
  }
  makeDurably(store);
  return openFileDisk(store);
}

/** What is wrong, and what the administrator can do about it. */
function explain(error: unknown, paths: readonly string[]): unknown {
  if (!AppError.isCode(error, 'missing')) return error;
  if (paths.length === 1) return new AppError('system', error.message, { cause: error });
  const next =
    'Bring the disk back, or start the sheep once with --missing-disk drop: ' +
    'its objects are then restored from the other nodes, as far as these have copies';
  return new AppError('system', `${error.message}. ${next}`, { cause: error });
}
