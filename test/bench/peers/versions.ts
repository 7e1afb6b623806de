/** Which version of each program was measured. */
import { readFileSync } from 'node:fs';
import { hasTool } from '../../helpers/requires.js';
import { runClient } from '../clients.js';
import type { PeerSettings } from '../options.js';
import type { Target, TargetName } from '../targets.js';

type Commands = Record<string, readonly [command: string, ...words: string[]]>;

const clients: Commands = { 'qemu-img': ['qemu-img', '--version'], fio: ['fio', '--version'] };

/** Of the clients, and of those targets that run. */
export async function versionsOf(
  targets: readonly Target[],
  { sheepdog }: PeerSettings,
): Promise<Record<string, string>> {
  const ofTarget: Partial<Record<TargetName, Commands>> = {
    ceph: { Ceph: ['ceph', '--version'] },
    gluster: { GlusterFS: ['glusterd', '--version'] },
    nbdkit: { nbdkit: ['nbdkit', '--version'] },
    ...(sheepdog && { sheepdog: { 'C Sheepdog': [sheepdog.sheep, '-v'] } }),
  };
  const versions: Record<string, string> = { Sheepfold: ownVersion() };
  const commands = [clients, ...targets.map(({ name }) => ofTarget[name] ?? {})];
  for (const [name, [command, ...words]] of commands.flatMap((some) => Object.entries(some))) {
    if (!command.includes('/') && !hasTool(command)) continue;
    versions[name] = versionIn(await runClient(command, words).catch(() => ''));
  }
  const old = targets.find(({ qemuImg }) => qemuImg !== undefined);
  if (old !== undefined)
    versions[`qemu-img of ${old.name}`] = versionIn(await runClient(old.qemuImg!, ['--version']));
  return versions;
}

/** The first thing with a dot between digits. */
export function versionIn(output: string): string {
  return /\d+\.[\d.]*\d/.exec(output)?.[0] ?? 'unknown';
}

function ownVersion(): string {
  const path = new URL('../../../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}
