/** The QEMU that has a sheepdog driver, as `scripts/old-qemu.sh` builds and caches it. */
import { join } from 'node:path';
import { ifComplete, type PreparedTest, preparedFolder, requiresPrepared } from './prepared.js';

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

/** The programs, or undefined when nobody has built them here. SHEEPFOLD_OLD_QEMU names their folder itself. */
export function oldQemu(): OldQemu | undefined {
  const folder = process.env.SHEEPFOLD_OLD_QEMU ?? preparedFolder('old-qemu.sh');
  if (folder === undefined) return undefined;
  const bin = (name: string) => join(folder, 'bin', name);
  return ifComplete({
    img: bin('qemu-img'),
    io: bin('qemu-io'),
    nbd: bin('qemu-nbd'),
    storageDaemon: bin('qemu-storage-daemon'),
    system: bin('qemu-system-x86_64'),
    firmware: FIRMWARE,
  });
}

/**
 * A `test` whose body gets the old QEMU, or a skip by name where it is not built.
 * `const withOldQemu = requiresOldQemu(test); withOldQemu('it reads', async (qemu) => ...)`
 */
export function requiresOldQemu(test: PreparedTest) {
  return requiresPrepared(test, oldQemu(), 'the old QEMU: scripts/old-qemu.sh');
}
