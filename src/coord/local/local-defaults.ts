import { basename, dirname, resolve } from 'node:path';
import { systemClock } from '../../base/clock.js';
import type { Logger } from '../../base/log.js';
import { systemRandom } from '../../base/random.js';
import { openFileDisk } from '../../store/file-disk.js';
import { type LocalCoordinator, openLocalCoordinator } from './local-coordinator.js';
import { translated } from './log-file.js';
import { folderNotifier } from './notifier.js';
import { LinuxProcesses } from './processes.js';

/**
 * The coordinator of this host in a folder given by its path (its parent must exist).
 * The folder must be on a file system of this host (network file systems promise neither atomic appends nor one
 * page cache). Rejects as openLocalCoordinator does.
 */
export async function openHostCoordinator(options: {
  path: string;
  log: Logger;
  create?: boolean;
}): Promise<LocalCoordinator> {
  const path = resolve(options.path);
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
