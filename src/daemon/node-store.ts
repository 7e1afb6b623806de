import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { openFileDisk } from '../store/file-disk.js';
import type { ObjectStore } from '../store/object-store.js';
import { openStore } from '../store/open-store.js';
import { SUPERBLOCK_PATH } from '../store/superblock.js';
import { loadIdentity, noteStore } from './identity.js';

/**
 * Each format of a cluster has a store of its own; those of earlier formats go, those of other clusters are refused.
 * `dir` has the sheep's identity, `disk` its stores.
 */
export async function openNodeStore(
  { dir, disk }: { dir: string; disk: string },
  nodeId: string,
  bootId: string,
  formatId: string,
  former: readonly string[],
  log: Logger,
): Promise<ObjectStore> {
  const stores = join(disk, 'store');
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
  const path = join(stores, formatId);
  // An empty store would answer "no such object" for everything this node is known to hold.
  if (loadIdentity(dir).formatId === formatId && !existsSync(join(path, SUPERBLOCK_PATH))) {
    throw new AppError('system', `the store ${path} is missing: is its disk mounted?`);
  }
  mkdirSync(path, { recursive: true });
  const store = await openStore({
    disk: openFileDisk(path),
    clock: systemClock,
    log: log.child('store'),
    identity: { clusterId: formatId, nodeId },
    bootId,
  });
  noteStore(dir, formatId);
  return store;
}
