/** The QEMU that has a sheepdog driver, as `scripts/old-qemu.sh` builds and caches it. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface OldQemu {
  readonly img: string;
  readonly io: string;
  readonly nbd: string;
  readonly storageDaemon: string;
  readonly system: string;
  /** Folder of the firmware, for `-L`; the emulator looks there by itself too. */
  readonly firmware: string;
}

const FIRMWARE = '/usr/share/seabios';
const SCRIPT = join('scripts', 'old-qemu.sh');

/** The programs, or undefined when nobody has built them here. SHEEPFOLD_OLD_QEMU names their folder itself. */
export function oldQemu(): OldQemu | undefined {
  const folder = process.env.SHEEPFOLD_OLD_QEMU ?? cached();
  if (folder === undefined) return undefined;
  const bin = (name: string) => join(folder, 'bin', name);
  const found = {
    img: bin('qemu-img'),
    io: bin('qemu-io'),
    nbd: bin('qemu-nbd'),
    storageDaemon: bin('qemu-storage-daemon'),
    system: bin('qemu-system-x86_64'),
    firmware: FIRMWARE,
  };
  return Object.values(found).every((path) => existsSync(path)) ? found : undefined;
}

/** The script alone knows the version, so it is asked. */
function cached(): string | undefined {
  try {
    const words = [join(projectRoot(), SCRIPT), '--where'];
    return execFileSync('bash', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    // Not built, or no script beside this copy of the tests.
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

/**
 * A `test` whose body gets the old QEMU, or a skip by name where it is not built.
 * `const withOldQemu = requiresOldQemu(test); withOldQemu('it reads', async (qemu) => ...)`
 */
export function requiresOldQemu(test: Skippable) {
  const qemu = oldQemu();
  return (name: string, run: (qemu: OldQemu) => Promise<void> | void): void => {
    if (qemu !== undefined) {
      test(name, () => run(qemu));
      return;
    }
    process.stderr.write(`skipped: ${name} (needs the old QEMU: ${SCRIPT})\n`);
    test.skip(name, () => {});
  };
}
