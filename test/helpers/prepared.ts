/** What a script of the project makes for tests alone, and caches outside the tree: minutes of work. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** `guest.sh` for `scripts/guest.sh`. The script alone knows where its present version is, so it is asked. */
export function preparedFolder(script: string): string | undefined {
  try {
    const words = [join(projectRoot(script), 'scripts', script), '--where'];
    return execFileSync('bash', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    // Not made, or no script beside this copy of the tests.
    return undefined;
  }
}

/** The paths, if all of them are there. */
export function ifComplete<T extends object>(paths: T): T | undefined {
  return Object.values(paths).every((path) => existsSync(path)) ? paths : undefined;
}

/** Tests are compiled to dist/ or deeper. */
function projectRoot(script: string): string {
  let folder = fileURLToPath(new URL('.', import.meta.url));
  while (!existsSync(join(folder, 'scripts', script)) && folder !== '/') folder = join(folder, '..');
  return folder;
}

interface Skippable {
  (name: string, run: () => Promise<void> | void): void;
  skip(name: string, run: () => Promise<void> | void): void;
}

/** A `test` whose body gets what was prepared, or a skip by name; `what` names that and its script. */
export function requiresPrepared<T>(test: Skippable, prepared: T | undefined, what: string) {
  return (name: string, run: (prepared: T) => Promise<void> | void): void => {
    if (prepared !== undefined) {
      test(name, () => run(prepared));
      return;
    }
    process.stderr.write(`skipped: ${name} (needs ${what})\n`);
    test.skip(name, () => {});
  };
}

export type PreparedTest = Parameters<typeof requiresPrepared>[0];
