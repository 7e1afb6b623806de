/** The real guest that `scripts/guest.sh` makes and caches: a kernel, what it starts with, and a root file system. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface GuestFiles {
  readonly kernel: string;
  readonly initrd: string;
  /** Raw image of an ext4 file system. */
  readonly root: string;
}

const SCRIPT = join('scripts', 'guest.sh');

/** The files, or undefined when nobody has made them here. */
export function guestFiles(): GuestFiles | undefined {
  const folder = cached();
  if (folder === undefined) return undefined;
  const found = {
    kernel: join(folder, 'vmlinuz'),
    initrd: join(folder, 'initrd.gz'),
    root: join(folder, 'root.ext4'),
  };
  return Object.values(found).every((path) => existsSync(path)) ? found : undefined;
}

/** The script alone knows where its present version is, so it is asked. */
function cached(): string | undefined {
  try {
    const words = [join(projectRoot(), SCRIPT), '--where'];
    return execFileSync('bash', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    // Not made, or no script beside this copy of the tests.
    return undefined;
  }
}

/** Tests are compiled to dist/ or deeper. */
function projectRoot(): string {
  let folder = fileURLToPath(new URL('.', import.meta.url));
  while (!existsSync(join(folder, SCRIPT)) && folder !== '/') folder = join(folder, '..');
  return folder;
}

interface Skippable {
  (name: string, run: () => Promise<void> | void): void;
  skip(name: string, run: () => Promise<void> | void): void;
}

/** A `test` whose body gets the guest's files, or a skip by name where they are not made. */
export function requiresGuest(test: Skippable) {
  const files = guestFiles();
  return (name: string, run: (files: GuestFiles) => Promise<void> | void): void => {
    if (files !== undefined) {
      test(name, () => run(files));
      return;
    }
    process.stderr.write(`skipped: ${name} (needs the guest: ${SCRIPT})\n`);
    test.skip(name, () => {});
  };
}
