/** The real guest that `scripts/guest.sh` makes and caches: a kernel, what it starts with, and a root file system. */
import { join } from 'node:path';
import { ifComplete, type PreparedTest, preparedFolder, requiresPrepared } from './prepared.js';

export interface GuestFiles {
  readonly kernel: string;
  readonly initrd: string;
  /** Raw image of an ext4 file system. */
  readonly root: string;
}

/** The files, or undefined when nobody has made them here. */
export function guestFiles(): GuestFiles | undefined {
  const folder = preparedFolder('guest.sh');
  if (folder === undefined) return undefined;
  return ifComplete({
    kernel: join(folder, 'vmlinuz'),
    initrd: join(folder, 'initrd.gz'),
    root: join(folder, 'root.ext4'),
  });
}

/** A `test` whose body gets the guest's files, or a skip by name where they are not made. */
export function requiresGuest(test: PreparedTest) {
  return requiresPrepared(test, guestFiles(), 'the guest: scripts/guest.sh');
}
