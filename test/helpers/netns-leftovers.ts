/**
 * Whose namespaces, mounts and folders are whose: all carry the process id and the start time of the run that made
 * them, so that what a killed run left behind can be told and removed by the next one.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const NAMESPACE = /^sfh(\d+x\d+)-/;
const FOLDER = /^sheepfold-hosts-(\d+x\d+)-/;

/** `<pid>x<start time>`: a pid that was given to another process is not taken for the owner. */
function ownerOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return `${pid}x${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
  } catch {
    // No such process.
    return undefined;
  }
}

const self = ownerOf(process.pid);
/** How the names of this process's namespaces begin. */
export const namespacePrefix = `sfh${self}-`;
/** How the path of a folder of this process begins. */
export const folderPrefix = join(tmpdir(), `sheepfold-hosts-${self}-`);

/** Removes what belongs to nobody any more; returns the names. Processes in such namespaces are ended. */
export function removeLeftovers(): string[] {
  const namespaces = listNamespaces().filter((name) => isOrphan(NAMESPACE.exec(name)?.[1]));
  for (const name of namespaces) removeNamespace(name);
  const folders = readdirSync(tmpdir()).filter((name) => isOrphan(FOLDER.exec(name)?.[1]));
  for (const name of folders) removeFolder(join(tmpdir(), name));
  return [...namespaces, ...folders];
}

/** Ends every process in a namespace, and removes it. */
export function removeNamespace(name: string): void {
  const pids = spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8' }).stdout ?? '';
  for (const pid of pids.split('\n').map(Number)) {
    try {
      if (pid > 1) process.kill(pid, 'SIGKILL');
    } catch {
      // It ended in this moment.
    }
  }
  spawnSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
}

/** Removes a folder with all that is mounted in it. */
export function removeFolder(path: string): void {
  const mounted = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .flatMap((line) => line.split(' ')[1] ?? [])
    .filter((at) => at.startsWith(`${path}/`));
  for (const at of mounted.reverse()) spawnSync('umount', ['--lazy', at], { stdio: 'ignore' });
  if (existsSync(path)) rmSync(path, { recursive: true, force: true });
}

function listNamespaces(): string[] {
  const text = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout ?? '';
  return text.split('\n').flatMap((line) => line.split(' ')[0] || []);
}

function isOrphan(owner: string | undefined): boolean {
  return owner !== undefined && ownerOf(Number(owner.split('x')[0])) !== owner;
}
