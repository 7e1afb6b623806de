import { FuseError } from '../fuse/errors.js';
import { Mode, SetAttr } from '../fuse/protocol.js';
import { RECORD_BYTES_MAX } from './limits.js';

/** Seconds and nanoseconds since 1970. */
export type Time = readonly [s: number, ns: number];

/**
 * How long a file is, where that is not the size of its volume. It counts only while the volume has one of `sizes`:
 * somebody who resizes the volume at another door says how long the file is from then on.
 */
export interface StoredLength {
  readonly bytes: number;
  readonly sizes: readonly number[];
  /** Somebody may be appending: the file reaches at least to the last data in its volume. */
  readonly growing: boolean;
}

/**
 * What a file has and a volume has not: kept as JSON in one attribute of the volume, which goes with it when it is
 * renamed and stays behind when it is deleted.
 */
export interface FileRecord {
  mode: number;
  uid: number;
  gid: number;
  atime: Time;
  mtime: Time;
  ctime: Time;
  length?: StoredLength;
  /** Values in base64. */
  xattrs?: Record<string, string>;
  /** The volume was set aside by a rename over this name, which has not happened yet. */
  replaced?: string;
}

/** The attribute's key. */
export const RECORD_KEY = 'sheepfs';
const VERSION = 1;

export function now(wallMs: number): Time {
  return [Math.floor(wallMs / 1000), Math.floor((wallMs % 1000) * 1e6)];
}

export function newRecord(wallMs: number, owner: { mode: number; uid: number; gid: number }): FileRecord {
  const time = now(wallMs);
  return { ...owner, mode: owner.mode & Mode.PERMISSIONS, atime: time, mtime: time, ctime: time };
}

/** base64, as attributes travel. Throws ENOSPC when it is too long for an attribute. */
export function encodeRecord(record: FileRecord): string {
  const bytes = Buffer.from(JSON.stringify({ v: VERSION, ...record }));
  if (bytes.length > RECORD_BYTES_MAX) throw new FuseError('ENOSPC', 'too many extended attributes');
  return bytes.toString('base64');
}

/** Undefined for what is none of ours: then the volume is a file with default owner and modes. */
export function decodeRecord(value: string): FileRecord | undefined {
  try {
    const found = JSON.parse(Buffer.from(value, 'base64').toString()) as FileRecord & { v: number };
    const { v, mode, uid, gid, atime, mtime, ctime, length, xattrs, replaced } = found;
    const whole = [mode, uid, gid, ...atime, ...mtime, ...ctime].every(isCount);
    if (v !== VERSION || !whole || (length !== undefined && !isLength(length))) return undefined;
    return {
      ...{ mode, uid, gid, atime, mtime, ctime },
      ...(length !== undefined && { length }),
      ...(xattrs !== undefined && { xattrs }),
      ...(typeof replaced === 'string' && { replaced }),
    };
  } catch {
    // Anybody can write attributes.
    return undefined;
  }
}

function isCount(value: unknown): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isLength(length: StoredLength): boolean {
  return isCount(length.bytes) && Array.isArray(length.sizes) && length.sizes.every(isCount);
}

/** The length of a file whose volume has `sizeBytes`. */
export function lengthOf(record: FileRecord, sizeBytes: number): number {
  const { length } = record;
  return length?.sizes.includes(sizeBytes) ? Math.min(length.bytes, sizeBytes) : sizeBytes;
}

/** chmod, chown, utimes, as SETATTR asks for them. Set-user-id and sticky bits are never kept (fuse/init.ts). */
export function applySetAttr(
  record: FileRecord,
  body: Readonly<Record<string, number>>,
  wallMs: number,
): void {
  const { valid = 0 } = body;
  const time = now(wallMs);
  if (valid & SetAttr.MODE) record.mode = body.mode! & Mode.PERMISSIONS;
  if (valid & SetAttr.UID) record.uid = body.uid!;
  if (valid & SetAttr.GID) record.gid = body.gid!;
  if (valid & SetAttr.ATIME) record.atime = [body.atime!, body.atimensec!];
  if (valid & SetAttr.MTIME) record.mtime = [body.mtime!, body.mtimensec!];
  if (valid & SetAttr.ATIME_NOW) record.atime = time;
  if (valid & SetAttr.MTIME_NOW) record.mtime = time;
  record.ctime = time;
}
