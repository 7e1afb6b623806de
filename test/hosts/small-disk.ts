/** A small file system of a host's own, in a file, and somebody who fills it. */
import { execFileSync } from 'node:child_process';
import { existsSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from './host.js';

/** Makes an ext4 of `sizeBytes` in the host's folder, mounted where its sheep keeps everything. */
export function mountSmallDisk(host: Host, sizeBytes: number): void {
  const image = join(host.folder, 'disk.img');
  execFileSync('truncate', ['--size', String(sizeBytes), image]);
  execFileSync('mkfs.ext4', ['-q', '-m', '0', image], { stdio: 'pipe' });
  execFileSync('mount', ['-o', 'loop', image, join(host.folder, 'sheep')], { stdio: 'pipe' });
}

export function freeBytes(host: Host): number {
  const { bavail, bsize } = statfsSync(join(host.folder, 'sheep'));
  return bavail * bsize;
}

/** Takes room until only `leaveBytes` are free, as a log file gone wild would. */
export function takeRoom(host: Host, leaveBytes: number): void {
  const takeBytes = freeBytes(host) - leaveBytes;
  if (takeBytes > 0) execFileSync('fallocate', ['--length', String(takeBytes), junk(host)]);
}

export function giveRoom(host: Host): void {
  if (existsSync(junk(host))) execFileSync('rm', [junk(host)]);
}

function junk(host: Host): string {
  return join(host.folder, 'sheep', 'junk');
}
