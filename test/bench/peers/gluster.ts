/**
 * GlusterFS, as Debian packages it: one glusterd, a volume with three bricks, all other settings its defaults; the disk
 * is a file in the volume, which QEMU's own driver opens. It has no snapshots of files on an ordinary file system.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { runClient } from '../clients.js';
import { type Target, VOLUME } from '../targets.js';
import { type PeerDaemons, withDaemons } from './daemons.js';

/** A brick at 127.0.0.1 is refused. */
const ADDRESS = '127.0.0.2';
const BRICKS = 3;
const START_DEADLINE_MS = 60_000;
/** Where glusterd and its children leave logs, sockets and settings, whatever they are told. */
const FIXED_FOLDERS = ['/var/log/glusterfs', '/var/run/gluster', '/var/lib/glusterd'];

export const glusterTools = ['glusterd', 'gluster', 'unshare'];

export function startGluster(sizeBytes: number): Promise<Target> {
  return withDaemons((daemons) => startIn(daemons, sizeBytes));
}

async function startIn(daemons: PeerDaemons, sizeBytes: number): Promise<Target> {
  const socket = daemons.path('socket');
  const words = [
    'gluster',
    '--mode=script',
    `--glusterd-sock=${socket}`,
    `--log-file=${daemons.path('cli.log')}`,
  ];
  const gluster = (...rest: string[]) =>
    runClient('unshare', inOwnFolders(daemons.folder, [], [...words, ...rest]));
  const bricks = Array.from({ length: BRICKS }, (_, index) => daemons.path(`brick${index}`));
  const fixed = FIXED_FOLDERS.map((_, index) => `fixed${index}`);
  for (const name of ['work', 'run', ...fixed]) mkdirSync(daemons.path(name));
  for (const path of bricks) mkdirSync(path);
  writeFileSync(daemons.path('glusterd.vol'), glusterdConfig(daemons.folder));
  daemons.start('glusterd', 'unshare', glusterdWords(daemons.folder), 'log');
  await daemons.ready(START_DEADLINE_MS, 'glusterd answers', async () =>
    (await gluster('pool', 'list')).includes('Connected'),
  );
  const places = bricks.map((path) => `${ADDRESS}:${path}`);
  await gluster('volume', 'create', VOLUME, 'replica', `${BRICKS}`, ...places, 'force');
  await gluster('volume', 'start', VOLUME);
  await daemons.ready(START_DEADLINE_MS, 'three bricks are online', async () =>
    bricksAreOnline(await gluster('volume', 'status', VOLUME, '--xml')),
  );
  const uri = `gluster://${ADDRESS}/${VOLUME}/disk.raw`;
  await runClient('qemu-img', ['create', '-q', '-f', 'raw', uri, `${sizeBytes}`]);
  const all = daemons.relatives().flatMap(({ pid, words }) => {
    const role = glusterRole(words);
    return role === undefined ? [] : [{ pid, role }];
  });
  return {
    name: 'gluster',
    uri,
    fioMissing: 'only QEMU is its client here',
    pids: all.map(({ pid }) => pid),
    roles: all.map(({ role }) => role),
    stop: () => daemons.stop(),
  };
}

/** So that the bricks and helpers which glusterd lets loose end with it. */
const PROCESS_NAMESPACE = ['--pid', '--fork', '--kill-child=KILL', '--mount-proc'];

/** With folders of ours in place of those that it cannot be talked out of. Needs root, as the bricks do. */
function inOwnFolders(folder: string, namespaces: readonly string[], words: readonly string[]): string[] {
  const mounts = FIXED_FOLDERS.map((path, index) => `mount --bind "${folder}/fixed${index}" ${path}`);
  const shell = ['sh', '-c', `${mounts.join(' && ')} && exec "$@"`, 'sh'];
  return ['--mount', ...namespaces, ...shell, ...words];
}

function glusterdWords(folder: string): string[] {
  const words = ['-N', '-f', `${folder}/glusterd.vol`, '-p', `${folder}/glusterd.pid`, '-l', `${folder}/log`];
  return inOwnFolders(folder, PROCESS_NAMESPACE, ['glusterd', ...words]);
}

export function glusterdConfig(folder: string): string {
  return `volume management
    type mgmt/glusterd
    option working-directory ${folder}/work
    option run-directory ${folder}/run
    option glusterd-sockfile ${folder}/socket
    option transport-type socket
    option transport.address-family inet
    option transport.socket.bind-address ${ADDRESS}
end-volume
`;
}

/** Out of `gluster volume status --xml`. */
export function bricksAreOnline(xml: string): boolean {
  const nodes = xml.split('<node>').filter((node) => node.includes('<path>') && node.includes('/brick'));
  return nodes.length === BRICKS && nodes.every((node) => node.includes('<status>1</status>'));
}

/** What a process is by its command line; none for the shells around them. */
export function glusterRole(words: readonly string[]): string | undefined {
  const program = words[0]?.split('/').at(-1);
  if (program === 'glusterd') return 'glusterd';
  if (program === 'glusterfsd') return 'brick';
  return program === 'glusterfs' ? 'self-heal' : undefined;
}
