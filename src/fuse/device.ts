import { type StdioOptions, spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { AppError } from '../base/errors.js';
import { setNonBlocking } from './device-calls.js';

const DEVICE = '/dev/fuse';
const FILE_SYSTEM = 'sheepfs';
/** Where the mount program finds the device. */
const CHILD_FD = 3;

export interface MountOptions {
  /** Everybody may use the mount, as the modes of its files allow. */
  readonly allowOther: boolean;
  /** More words for `-o`. */
  readonly extra?: readonly string[];
}

/**
 * Mounts a new file system and returns its end of the device. The system's own mount program does it, so that neither
 * a native add-on nor a helper with special rights is needed, but root is. Rejects with AppError 'system' in its
 * words.
 */
export function mountDevice(mountpoint: string, options: MountOptions): number {
  const folder = resolve(mountpoint);
  let fd: number;
  try {
    if (!statSync(folder).isDirectory()) throw new Error('not a directory');
    fd = openSync(DEVICE, 'r+');
  } catch (error) {
    throw new AppError('system', `cannot mount on ${folder}: ${(error as Error).message}`, { cause: error });
  }
  // default_permissions: the kernel compares modes and owners, nothing of that is done here.
  const words = [
    `fd=${CHILD_FD},rootmode=40000,user_id=0,group_id=0,default_permissions`,
    ...(options.allowOther ? ['allow_other'] : []),
    ...(options.extra ?? []),
  ];
  const stdio: StdioOptions = ['ignore', 'ignore', 'pipe', fd];
  const { status, stderr, error } = spawnSync(
    'mount',
    ['-i', '-t', `fuse.${FILE_SYSTEM}`, '-o', words.join(','), FILE_SYSTEM, folder],
    { stdio, encoding: 'utf8' },
  );
  if (status === 0) {
    setNonBlocking(fd);
    return fd;
  }
  closeSync(fd);
  throw new AppError('system', `cannot mount on ${folder}: ${error?.message ?? stderr.trim()}`);
}

/**
 * False when somebody is in it. `lazy`: takes the name away in any case; what is open there stays open. The process
 * that serves the mount must go on serving meanwhile: the program looks at what it unmounts.
 */
export function unmount(mountpoint: string, options: { lazy: boolean }): Promise<boolean> {
  const words = ['-i', ...(options.lazy ? ['-l'] : []), resolve(mountpoint)];
  return new Promise((done) => {
    const child = spawn('umount', words, { stdio: 'ignore' });
    child.once('error', () => done(false));
    child.once('exit', (status) => done(status === 0));
  });
}

/** A mount of ours whose process is gone: every access fails with ENOTCONN until it is unmounted. */
export function isDeadMount(mountpoint: string): boolean {
  try {
    statSync(mountpoint);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOTCONN' && mountId(mountpoint) !== undefined;
  }
}

/** Reads ahead further than the system's default of 128 KiB; where that cannot be set it stays. */
export function setReadAhead(mountpoint: string, bytes: number): void {
  const id = mountId(mountpoint);
  if (id === undefined) return;
  try {
    writeFileSync(`/sys/class/bdi/${id}/read_ahead_kb`, String(bytes / 1024));
  } catch {
    // A container without /sys: reading ahead less is only slower.
  }
}

/** MAJOR:MINOR of a mount of ours; undefined: none is there. */
function mountId(mountpoint: string): string | undefined {
  const folder = resolve(mountpoint);
  const rows = readFileSync('/proc/self/mountinfo', 'utf8').trimEnd().split('\n');
  for (const row of rows.reverse()) {
    const [own = '', rest = ''] = row.split(' - ');
    const [, , id, , where = ''] = own.split(' ');
    if (unescapeMount(where) === folder && rest.startsWith(`fuse.${FILE_SYSTEM} `)) return id;
  }
  return undefined;
}

/** Blanks and the like stand as octal numbers there. */
function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
