/** Where objects lie: `obj/<vid, 6 hex digits>/<oid, 16 hex digits>`. */
import type { Disk } from './disk.js';

export function objectFolder(oid: bigint): string {
  return `obj/${((oid >> 32n) & 0xffffffn).toString(16).padStart(6, '0')}`;
}

/** Whether it is an object of this version; undefined: of any. */
export function isOf(vid: number | undefined, oid: bigint): boolean {
  return vid === undefined || objectFolder(oid) === objectFolder(BigInt(vid) << 32n);
}

/** Objects on a disk: all, or those of a version. */
export function* objectIds(disk: Disk, vid?: number): Generator<bigint> {
  for (const folder of objectFolders(disk, vid)) {
    for (const name of disk.list(folder)) if (/^[0-9a-f]{16}$/.test(name)) yield BigInt(`0x${name}`);
  }
}

/** The folder of a version need not be there. */
function objectFolders(disk: Disk, vid?: number): string[] {
  if (vid !== undefined) return [objectFolder(BigInt(vid) << 32n)];
  return disk.list('obj').map((name) => `obj/${name}`);
}

export function objectPath(oid: bigint): string {
  return `${objectFolder(oid)}/${oid.toString(16).padStart(16, '0')}`;
}
