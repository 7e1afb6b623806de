import { FuseError } from '../fuse/errors.js';
import { NAME_BYTES_MAX } from './limits.js';

/** The folder of the snapshots, in the root. */
export const SNAPSHOTS_NAME = '.snapshots';
/** Volumes that are set aside: unlinked while open, or about to be replaced. They are not shown. */
export const ASIDE_PREFIX = '.sheepfs-';

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const UNNAMEABLE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029@/]/;

/**
 * Whether a volume's name can stand in a folder: it has no slash, is neither `.` nor `..`, and is not what this file
 * system uses itself. Volumes that old clients have named otherwise are not shown.
 */
export function isShown(name: string): boolean {
  if (name === '' || name === '.' || name === '..' || name === SNAPSHOTS_NAME) return false;
  return (
    !UNNAMEABLE.test(name) && !name.startsWith(ASIDE_PREFIX) && Buffer.byteLength(name) <= NAME_BYTES_MAX
  );
}

/**
 * Throws what a new file of that name is refused with: volumes cannot have `@` or control characters in their names.
 */
export function checkNewName(name: string): void {
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) throw new FuseError('ENAMETOOLONG');
  if (!isShown(name)) throw new FuseError(name === SNAPSHOTS_NAME ? 'EEXIST' : 'EINVAL');
}

/** How a snapshot is called in its folder: by its tag, or by its number when it has none. */
export function snapshotName(row: { tag: string; snapId: number }): string {
  return row.tag !== '' && row.tag !== '.' && row.tag !== '..' && !row.tag.includes('/')
    ? row.tag
    : String(row.snapId);
}
