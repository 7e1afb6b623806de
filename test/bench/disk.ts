/** The disk below the temporary folder, where all stores lie: what it is, in words that fit any machine; its load. */
import { existsSync, readFileSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';

/** The kernel counts in these, whatever the disk's own are. */
const SECTOR_BYTES = 512;

/**
 * Bytes written to the disk since the machine started, by everybody; undefined where the folder is on none. What single
 * processes caused would be better, but the kernel counts a page of a file as a whole, and such a page may be a MiB.
 */
export function diskWrittenBytes(): number | undefined {
  const disk = diskFolder();
  return disk === undefined ? undefined : writtenBytesIn(readFileSync(join(disk, 'stat'), 'utf8'));
}

/** Out of the text of /sys/block/NAME/stat. */
export function writtenBytesIn(stat: string): number {
  return Number(stat.trim().split(/\s+/)[6]) * SECTOR_BYTES;
}

/** No device's name, no path. */
export function describeDisk(): string {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
  const kind = fileSystemOf(mounts, device().join(':')) ?? 'a file system';
  const disk = diskFolder();
  return disk === undefined ? `${kind} without a disk of its own` : `${kind} on ${model(disk)}`;
}

/** Linux' encoding of a device's two numbers. */
export function deviceNumber(dev: bigint): [major: number, minor: number] {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n);
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xffffff00n);
  return [Number(major), Number(minor)];
}

/** The type of the file system on a device, out of /proc/self/mountinfo. */
export function fileSystemOf(mountinfo: string, device: string): string | undefined {
  const line = mountinfo.split('\n').find((entry) => entry.split(' ')[2] === device);
  return line?.split(' - ')[1]?.split(' ')[0];
}

function device(): [major: number, minor: number] {
  return deviceNumber(statSync(tmpdir(), { bigint: true }).dev);
}

function diskFolder(): string | undefined {
  const link = `/sys/dev/block/${device().join(':')}`;
  if (!existsSync(link)) return undefined;
  const path = realpathSync(link);
  return existsSync(join(path, 'partition')) ? dirname(path) : path;
}

function model(disk: string): string {
  const name = join(disk, 'device', 'model');
  if (existsSync(name)) return readFileSync(name, 'utf8').trim();
  const driver = join(disk, 'device', 'driver');
  return existsSync(driver) ? `a disk of ${basename(readlinkSync(driver))}` : 'a disk without a model';
}
