import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { sleep, systemClock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import { tryLock } from '../store/syscalls.js';
import { IDENTITY_FILE, loadIdentity } from './identity.js';

/**
 * What `-c local` means: one cluster for each host, which every sheep finds without being told where. The original
 * kept it in shared memory and the rest in the stores; ours is a directory:
 *
 *     coordinator/          the embedded coordinator
 *     stores                the directories of the sheep that have taken part, one a line
 *     lock                  held while a sheep finds its place here
 *     coordinator.MS        one whose stores were all gone when a sheep started (milliseconds since 1970)
 *
 * As with the original, a cluster is gone when all its stores are: tests wipe them and start anew. The coordinator is
 * then moved aside, and not removed: a disk that is not mounted looks the same, and volume names live there (D-17).
 */
const LOCK_RETRY_MS = 20;
const LOCK_DEADLINE_MS = 30_000;

/** `$SHEEPFOLD_HOME/local`, or under the usual place: of the system for root, of the user for others. */
export function localClusterDirectory(
  option: string,
  env: Readonly<Record<string, string | undefined>>,
): string {
  if (option !== '') return resolve(option);
  if (env.SHEEPFOLD_HOME) return resolve(env.SHEEPFOLD_HOME, 'local');
  if (process.getuid?.() === 0) return '/var/lib/sheepfold/local';
  return join(env.HOME ?? homedir(), '.local', 'state', 'sheepfold', 'local');
}

/** Notes that the sheep of `dir` takes part; returns where a coordinator was moved whose stores are all gone. */
export async function joinLocalCluster(directory: string, dir: string): Promise<string | undefined> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const lock = await takeLock(join(directory, 'lock'));
  try {
    const file = join(directory, 'stores');
    const known = existsSync(file)
      ? readFileSync(file, 'utf8')
          .split('\n')
          .filter((line) => line !== '')
      : [];
    const gone = known.length > 0 && !known.some((store) => existsSync(join(store, IDENTITY_FILE)));
    const aside = gone ? moveAside(join(directory, 'coordinator')) : undefined;
    // Before the lock is given back: the next sheep must see that this store is there.
    loadIdentity(dir);
    const stores = gone ? [dir] : [...new Set([...known, dir])];
    writeFileSync(`${file}.new`, stores.map((store) => `${store}\n`).join(''), { flush: true });
    renameSync(`${file}.new`, file);
    return aside;
  } finally {
    closeSync(lock);
  }
}

function moveAside(coordinator: string): string | undefined {
  if (!existsSync(coordinator)) return undefined;
  const aside = `${coordinator}.${Date.now()}`;
  renameSync(coordinator, aside);
  return aside;
}

async function takeLock(path: string): Promise<number> {
  const fd = openSync(path, 'a', 0o600);
  const endMs = performance.now() + LOCK_DEADLINE_MS;
  while (!tryLock(fd)) {
    if (performance.now() > endMs) {
      closeSync(fd);
      throw new AppError('system', `${path} is held by another process for too long`);
    }
    await sleep(systemClock, LOCK_RETRY_MS);
  }
  return fd;
}
