import { AppError } from '../../base/errors.js';
import { type Disk, DiskError } from '../../store/disk.js';
import { KeyValueState } from '../key-value-state.js';
import {
  installGeneration,
  LogFile,
  listGenerations,
  logPath,
  removeIfThere,
  translate,
} from './log-file.js';
import type { Yield } from './snapshot.js';

/**
 * Which log file is the current one. Rules:
 * - generation g + 1 is created (by link, so once) only after a rotate record stands in g, and it begins with the
 *   state at that record; every process that gets there would write the same bytes;
 * - the folder is synced before anybody appends to a file, else a power cut could take the whole file back;
 * - old files are kept for a while so that a process that slept follows the log itself;
 * - a process that slept very long may find g + 1 removed and create it anew. So after opening a file everybody looks
 *   whether there is a newer one: then the file must be ended by a rotate record, or it is such a ghost.
 */
export const KEPT_GENERATIONS = 4;
/** Files come and go while a folder is listed; more than a few failures in a row mean something else. */
const OPEN_ATTEMPTS = 10;

/** Opens the newest generation, creating the first one in an empty folder. */
export async function openNewest(
  disk: Disk,
  folder: string,
  temporaryName: string,
): Promise<{ log: LogFile; state: KeyValueState }> {
  for (let attempt = 1; ; attempt++) {
    try {
      const newest = listGenerations(disk, folder).at(-1);
      if (newest === undefined) {
        await installGeneration(disk, folder, 1, new KeyValueState(), temporaryName);
      }
      await syncFolder(disk, folder);
      const log = LogFile.open(disk, folder, newest ?? 1);
      if (!isGhost(disk, folder, log)) return { log, state: snapshotOf(log) };
      log.close();
    } catch (error) {
      if (!AppError.isCode(error, 'missing') || attempt === OPEN_ATTEMPTS) throw error;
    }
  }
}

/**
 * The generation that follows a state, created if need be. With `state` in the answer it is not that one but a
 * later one, as everything in between is gone.
 */
export async function adoptGeneration(
  disk: Disk,
  folder: string,
  generation: number,
  state: KeyValueState,
  temporaryName: string,
  giveWay?: Yield,
): Promise<{ log: LogFile; state?: KeyValueState }> {
  const newest = listGenerations(disk, folder).at(-1) ?? 0;
  if (newest > generation && !disk.exists(logPath(folder, generation))) {
    return openNewest(disk, folder, temporaryName);
  }
  const expected = await installGeneration(disk, folder, generation, state, temporaryName, giveWay);
  await syncFolder(disk, folder);
  const log = openUnlessGone(disk, folder, generation);
  if (!log || isGhost(disk, folder, log)) {
    log?.close();
    return openNewest(disk, folder, temporaryName);
  }
  if (log.header.snapshotCrc !== expected.snapshotCrc) {
    log.close();
    // Two processes replayed one log to two states. Going on would let them drift apart unseen.
    throw new AppError('cluster-error', `${logPath(folder, generation)} begins with another state than ours`);
  }
  return { log };
}

/** Removes the generations nobody awake can still need. */
export function removeOld(disk: Disk, folder: string, current: number): void {
  for (const generation of listGenerations(disk, folder)) {
    if (generation <= current - KEPT_GENERATIONS) removeIfThere(disk, logPath(folder, generation));
  }
}

/** Undefined when it was removed since we saw it: this process was asleep in between. */
function openUnlessGone(disk: Disk, folder: string, generation: number): LogFile | undefined {
  try {
    return LogFile.open(disk, folder, generation);
  } catch (error) {
    if (AppError.isCode(error, 'missing')) return undefined;
    throw error;
  }
}

function isGhost(disk: Disk, folder: string, log: LogFile): boolean {
  const newest = listGenerations(disk, folder).at(-1) ?? 0;
  return newest > log.generation && !log.isEnded();
}

async function syncFolder(disk: Disk, folder: string): Promise<void> {
  try {
    await disk.syncDir(folder);
  } catch (error) {
    throw translate(error);
  }
}

function snapshotOf(log: LogFile): KeyValueState {
  try {
    return log.snapshot();
  } catch (error) {
    log.close();
    throw error instanceof DiskError ? translate(error) : error;
  }
}
