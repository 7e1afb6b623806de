/** The machine's virsh, for which a socket of a test's own is where virtstoraged's would be. */
import { hasTool } from './requires.js';

/** Words for `unshare`: what is mounted ends with the program. */
export const PRIVATE_MOUNTS = ['--mount', '--propagation', 'private'] as const;

/** All of /run, so that no folder need be made in the machine's. */
const ENTER = `
socket=$1
shift
mount -t tmpfs tmpfs /run
mkdir /run/libvirt
ln -s "$socket" /run/libvirt/virtstoraged-sock
exec virsh "$@"
`;

/** How a virsh is called: what runs before its arguments, and the URI that is one of them. */
export interface VirshPlace {
  readonly uri: string;
  readonly program?: readonly [string, ...string[]];
}

/** The URI that names no socket. */
export const PLAIN_URI = 'storage:///system';

/** Root finds the socket in virtstoraged's place; others, who mount nothing, are told where it is. */
export function virshInPlace(socket: string): VirshPlace {
  const able = process.getuid?.() === 0 && ['unshare', 'mount'].every(hasTool);
  if (!able) return { uri: `storage+unix:///system?socket=${socket}` };
  return { uri: PLAIN_URI, program: ['unshare', ...PRIVATE_MOUNTS, 'sh', '-ec', ENTER, 'sh', socket] };
}
