/**
 * What thin objects inherit blocks from: `base/<vid>/<oid>-<instance>-<n>` is a second name (hard link) of the file
 * that the n-th base of that life of the object is. So the file system keeps what is still inherited, whatever becomes
 * of the object it was made for. A file with more than one name is lent: its data never change any more.
 */
import { type Disk, DiskError, type DiskFile } from './disk.js';
import { objectPath } from './object-path.js';
import { OWN } from './thin-file.js';

export const BASE_FOLDER = 'base';
const NAME = /^([0-9a-f]{16})-([0-9a-f]+)-([0-9a-f])$/;

/** One life of an object: its id and instance. */
export interface Life {
  readonly oid: bigint;
  readonly instance: number;
}

export function baseFolder(oid: bigint): string {
  return `${BASE_FOLDER}/${((oid >> 32n) & 0xffffffn).toString(16).padStart(6, '0')}`;
}

/** `n` counts from 1. */
export function basePath({ oid, instance }: Life, n: number): string {
  const name = `${oid.toString(16).padStart(16, '0')}-${instance.toString(16)}-${n.toString(16)}`;
  return `${baseFolder(oid)}/${name}`;
}

/** Whose base it is, and which, by its path; undefined: it is none of ours. */
export function heirOf(path: string): { readonly life: Life; readonly n: number } | undefined {
  const match = NAME.exec(path.slice(path.lastIndexOf('/') + 1));
  if (!match) return undefined;
  const [, oid, instance, n] = match;
  return {
    life: { oid: BigInt(`0x${oid}`), instance: Number.parseInt(instance!, 16) },
    n: Number.parseInt(n!, 16),
  };
}

/** All bases on a disk. */
export function* basePaths(disk: Disk): Generator<string> {
  for (const folder of disk.list(BASE_FOLDER)) {
    for (const name of disk.list(`${BASE_FOLDER}/${folder}`)) yield `${BASE_FOLDER}/${folder}/${name}`;
  }
}

/** The file that an object's blocks of this source lie in. */
export function sourcePath(parent: Life, source: number): string {
  return source === OWN ? objectPath(parent.oid) : basePath(parent, source);
}

/**
 * Gives the heir its bases: of each the parent's source it is made of. Names that are there already are left. DiskError
 * 'missing' when the parent has no such file.
 */
export function linkBases(disk: Disk, heir: Life, parent: Life, origins: readonly number[]): void {
  if (origins.length === 0) return;
  const folder = baseFolder(heir.oid);
  if (!disk.exists(folder)) disk.mkdir(folder);
  origins.forEach((source, i) => {
    const path = basePath(heir, i + 1);
    if (!disk.exists(path)) disk.link(sourcePath(parent, source), path);
  });
}

/** The bases of an object; undefined for one that is missing. */
export function openBases(disk: Disk, heir: Life, count: number): (DiskFile | undefined)[] {
  const files: (DiskFile | undefined)[] = [];
  try {
    for (let n = 1; n <= count; n++) files.push(openIfThere(disk, basePath(heir, n)));
  } catch (error) {
    for (const file of files) file?.close();
    throw error;
  }
  return files;
}

/** Takes away the bases' names. Returns the bytes that nobody else inherits. */
export function unlinkBases(disk: Disk, heir: Life, count: number): number {
  let freed = 0;
  for (let n = 1; n <= count; n++) freed += unlinkBase(disk, basePath(heir, n));
  return freed;
}

/** The same for one; 0 when it is not there. */
export function unlinkBase(disk: Disk, path: string): number {
  const file = openIfThere(disk, path);
  if (file === undefined) return 0;
  const bytes = file.links() === 1 ? file.allocatedBytes() : 0;
  file.close();
  disk.unlink(path);
  return bytes;
}

function openIfThere(disk: Disk, path: string): DiskFile | undefined {
  try {
    return disk.open(path);
  } catch (error) {
    if (error instanceof DiskError && error.code === 'missing') return undefined;
    throw error;
  }
}
