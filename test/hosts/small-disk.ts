/** A small file system of a host's own, in a file, and somebody who fills it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from './host.js';

const STEP_BYTES = 1024 * 1024;

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

/** Takes room until only about `leaveBytes` are free, as a log file gone wild would. */
export function takeRoom(host: Host, leaveBytes: number): void {
  mkdirSync(junk(host), { recursive: true });
  for (let part = 0; freeBytes(host) - leaveBytes > STEP_BYTES; part++) {
    // Others take room at the same time: it may already be less.
    const takeBytes = Math.max(STEP_BYTES, Math.floor((freeBytes(host) - leaveBytes) * 0.9));
    spawnSync('fallocate', ['--length', String(takeBytes), join(junk(host), String(part))], {
      stdio: 'ignore',
    });
  }
}

export function giveRoom(host: Host): void {
  rmSync(junk(host), { recursive: true, force: true });
}

function junk(host: Host): string {
  return join(host.folder, 'sheep', 'junk');
}
