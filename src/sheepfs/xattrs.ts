import { FuseError } from '../fuse/errors.js';
import { XattrFlag } from '../fuse/protocol.js';
import type { FileRecord } from './file-record.js';
import { XATTR_BYTES_MAX } from './limits.js';

/** Namespaces that are kept. libvirt needs `trusted.` and `security.` to start a domain (ACLs would be `system.`). */
const kept = ['user.', 'trusted.', 'security.'];

export function getXattr(record: FileRecord, name: string): Buffer {
  const value =
    record.xattrs !== undefined && Object.hasOwn(record.xattrs, name) ? record.xattrs[name] : undefined;
  if (value === undefined) throw new FuseError('ENODATA');
  return Buffer.from(value, 'base64');
}

/** Names that each end with a zero byte. */
export function listXattrs(record: FileRecord): Buffer {
  return Buffer.from(
    Object.keys(record.xattrs ?? {})
      .map((name) => `${name}\0`)
      .join(''),
  );
}

export function setXattr(record: FileRecord, name: string, value: Buffer, flags: number): void {
  checkKept(name);
  if (value.length > XATTR_BYTES_MAX) throw new FuseError('E2BIG');
  const there = Object.hasOwn(record.xattrs ?? {}, name);
  if (there && (flags & XattrFlag.CREATE) !== 0) throw new FuseError('EEXIST');
  if (!there && (flags & XattrFlag.REPLACE) !== 0) throw new FuseError('ENODATA');
  // No computed name may reach the prototype.
  record.xattrs = Object.fromEntries([
    ...Object.entries(record.xattrs ?? {}),
    [name, value.toString('base64')],
  ]);
}

export function removeXattr(record: FileRecord, name: string): void {
  if (!Object.hasOwn(record.xattrs ?? {}, name)) throw new FuseError('ENODATA');
  delete record.xattrs![name];
}

export function checkKept(name: string): void {
  if (!kept.some((prefix) => name.startsWith(prefix))) throw new FuseError('EOPNOTSUPP');
}
