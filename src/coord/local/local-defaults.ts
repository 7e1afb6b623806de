import { existsSync, statfsSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { systemClock } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import { systemRandom } from '../../base/random.js';
import { openFileDisk } from '../../store/file-disk.js';
import { type LocalCoordinator, openLocalCoordinator } from './local-coordinator.js';
import { translated } from './log-file.js';
import { folderNotifier } from './notifier.js';
import { LinuxProcesses } from './processes.js';

/**
 * The coordinator of this host in a folder given by its path (its parent must exist).
 * The folder must be on a file system of this host: network file systems promise neither atomic appends nor one
 * page cache, and another host's processes look dead from here. Rejects as openLocalCoordinator does, and with
 * 'not-supported' on a network file system it knows.
 */
export async function openHostCoordinator(options: {
  path: string;
  log: Logger;
  create?: boolean;
}): Promise<LocalCoordinator> {
  const path = resolve(options.path);
  refuseNetworkFolder(dirname(path));
  return openLocalCoordinator({
    disk: translated(() => openFileDisk(dirname(path))),
    folder: basename(path),
    clock: systemClock,
    random: systemRandom,
    log: options.log,
    processes: new LinuxProcesses(),
    notifier: folderNotifier(path),
    create: options.create ?? false,
  });
}

/** File system types of statfs(2). */
const networkTypes: Record<number, string> = {
  26985: 'NFS',
  20859: 'SMB',
  4283649346: 'CIFS',
  4266872130: 'SMB2',
  12805120: 'Ceph',
  198183888: 'Lustre',
  18225520: 'GFS2',
  1952539503: 'OCFS2',
};

function refuseNetworkFolder(parent: string): void {
  if (!existsSync(parent)) return;
  const network = networkTypes[statfsSync(parent).type >>> 0];
  if (!network) return;
  const advice = 'the local coordinator needs a folder on a disk of this host';
  throw new AppError('not-supported', `${parent} is on ${network}; ${advice}`);
}
