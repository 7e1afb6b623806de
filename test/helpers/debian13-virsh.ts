/** The virsh of Debian 13, in the tree that `scripts/debian13-virsh.sh` makes and caches. */
import { join } from 'node:path';
import { ifComplete, type PreparedTest, preparedFolder, requiresPrepared } from './prepared.js';
import { hasTool } from './requires.js';
import { PLAIN_URI, PRIVATE_MOUNTS, type VirshPlace } from './virsh-place.js';

export interface Debian13Virsh {
  readonly root: string;
  readonly program: string;
}

/**
 * Runs it with one folder of the machine, in which sockets and files are, under the same name; and a socket where
 * virtstoraged's would be. Its mounts end with it, and it writes into that folder and its own /tmp alone.
 */
const ENTER = `
root=$1 folder=$2 socket=$3
shift 3
mount --bind "$root" "$root"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root$folder" "$root/run/libvirt"
mount --bind "$folder" "$root$folder"
ln -s "$socket" "$root/run/libvirt/virtstoraged-sock"
mount -o remount,bind,ro "$root"
exec chroot "$root" env HOME=/tmp TMPDIR=/tmp virsh "$@"
`;

/** How it is called. */
export function debian13Place({ root }: Debian13Virsh, folder: string, socket: string): VirshPlace {
  const enter = ['sh', '-ec', ENTER, 'sh', root, folder, socket];
  return { uri: PLAIN_URI, program: ['unshare', ...PRIVATE_MOUNTS, ...enter] };
}

function debian13Virsh(): Debian13Virsh | undefined {
  const able = process.getuid?.() === 0 && ['unshare', 'mount', 'chroot'].every(hasTool);
  const root = able ? preparedFolder('debian13-virsh.sh') : undefined;
  return root === undefined ? undefined : ifComplete({ root, program: join(root, 'usr/bin/virsh') });
}

/** A `test` whose body gets it, or a skip by name where nobody has made it or nobody is root. */
export function requiresDebian13Virsh(test: PreparedTest) {
  return requiresPrepared(test, debian13Virsh(), "Debian 13's virsh: scripts/debian13-virsh.sh, and root");
}
