/**
 * The kernel's FUSE protocol as data: operations, flags, records. Version 7.31 is the least that is served (Linux
 * 5.4: pages per request, COPY_FILE_RANGE, LSEEK); what is newer is used where the kernel offers it. Source: the
 * kernel's public header `linux/fuse.h`.
 *
 * Request: in-header (40 bytes), the operation's record, then names (each ends with a zero byte) or a payload.
 * Reply:   out-header (16 bytes), then the operation's record or a payload; an error has the header alone.
 */
import { Layout } from './layout.js';

export const KERNEL_MAJOR = 7;
export const KERNEL_MINOR = 38;
export const KERNEL_MINOR_MIN = 31;
export const ROOT_NODE = 1;

export const Op = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  COPY_FILE_RANGE_64: 53,
} as const;

export type OpName = keyof typeof Op;

/** Of INIT, bits 0 to 31. */
export const InitFlag = {
  ASYNC_READ: 1 << 0,
  BIG_WRITES: 1 << 5,
  DONT_MASK: 1 << 6,
  AUTO_INVAL_DATA: 1 << 12,
  ASYNC_DIO: 1 << 15,
  PARALLEL_DIROPS: 1 << 18,
  ABORT_ERROR: 1 << 21,
  MAX_PAGES: 1 << 22,
  HANDLE_KILLPRIV_V2: 1 << 28,
  INIT_EXT: 1 << 30,
} as const;

/** Of INIT, bits 32 to 63, as they stand in flags2. */
export const InitFlag2 = { DIRECT_IO_ALLOW_MMAP: 1 << 4 } as const;

export const OpenFlag = { DIRECT_IO: 1, KEEP_CACHE: 2, NOFLUSH: 32, PARALLEL_DIRECT_WRITES: 64 } as const;

/** Which fields of SETATTR count. */
export const SetAttr = {
  MODE: 1,
  UID: 2,
  GID: 4,
  SIZE: 8,
  ATIME: 16,
  MTIME: 32,
  FH: 64,
  ATIME_NOW: 128,
  MTIME_NOW: 256,
  CTIME: 1024,
} as const;

export const FSYNC_DATA_ONLY = 1;
export const XattrFlag = { CREATE: 1, REPLACE: 2 } as const;
export const RENAME_NOREPLACE = 1;
export const Whence = { DATA: 3, HOLE: 4 } as const;
export const Falloc = { KEEP_SIZE: 1, PUNCH_HOLE: 2, ZERO_RANGE: 16 } as const;
/** Flags of an open file, as Linux has them on x86 and arm64. */
export const FileFlag = { ACCESS: 3, WRITE_ONLY: 1, READ_WRITE: 2, APPEND: 0o2000, DSYNC: 0o10000 } as const;
export const Mode = { TYPE: 0o170000, FILE: 0o100000, FOLDER: 0o040000, PERMISSIONS: 0o777 } as const;
export const DirentType = { FOLDER: 4, FILE: 8 } as const;

export const inHeader = new Layout([
  ['len', 'u32'],
  ['opcode', 'u32'],
  ['unique', 'u64'],
  ['nodeid', 'u64'],
  ['uid', 'u32'],
  ['gid', 'u32'],
  ['pid', 'u32'],
  ['extensionWords', 'u16'],
  ['padding', 'u16'],
]);

export const outHeader = new Layout([
  ['len', 'u32'],
  ['error', 'i32'],
  ['unique', 'u64'],
]);

const attrFields = [
  ['ino', 'u64'],
  ['size', 'u64'],
  ['blocks', 'u64'],
  ['atime', 'u64'],
  ['mtime', 'u64'],
  ['ctime', 'u64'],
  ['atimensec', 'u32'],
  ['mtimensec', 'u32'],
  ['ctimensec', 'u32'],
  ['mode', 'u32'],
  ['nlink', 'u32'],
  ['uid', 'u32'],
  ['gid', 'u32'],
  ['rdev', 'u32'],
  ['blksize', 'u32'],
  ['flags', 'u32'],
] as const;

/** What the protocol knows of a file; times in seconds and nanoseconds since 1970, `blocks` of 512 bytes. */
export const attr = new Layout(attrFields);

export const reply = {
  entry: new Layout([
    ['nodeid', 'u64'],
    ['generation', 'u64'],
    ['entryValidS', 'u64'],
    ['attrValidS', 'u64'],
    ['entryValidNs', 'u32'],
    ['attrValidNs', 'u32'],
    ...attrFields,
  ]),
  attr: new Layout([['attrValidS', 'u64'], ['attrValidNs', 'u32'], ['padding', 'u32'], ...attrFields]),
  open: new Layout([
    ['fh', 'u64'],
    ['openFlags', 'u32'],
    ['padding', 'u32'],
  ]),
  /** Of WRITE and COPY_FILE_RANGE. */
  count: new Layout([
    ['size', 'u32'],
    ['padding', 'u32'],
  ]),
  /** Of LSEEK and COPY_FILE_RANGE_64. */
  wide: new Layout([['value', 'u64']]),
  statfs: new Layout([
    ['blocks', 'u64'],
    ['bfree', 'u64'],
    ['bavail', 'u64'],
    ['files', 'u64'],
    ['ffree', 'u64'],
    ['bsize', 'u32'],
    ['namelen', 'u32'],
    ['frsize', 'u32'],
    ['padding', 'u32'],
    ['spare0', 'u64'],
    ['spare1', 'u64'],
    ['spare2', 'u64'],
  ]),
  init: new Layout([
    ['major', 'u32'],
    ['minor', 'u32'],
    ['maxReadahead', 'u32'],
    ['flags', 'u32'],
    ['maxBackground', 'u16'],
    ['congestionThreshold', 'u16'],
    ['maxWrite', 'u32'],
    ['timeGranNs', 'u32'],
    ['maxPages', 'u16'],
    ['mapAlignment', 'u16'],
    ['flags2', 'u32'],
    ['unused0', 'u32'],
    ['unused1', 'u64'],
    ['unused2', 'u64'],
    ['unused3', 'u64'],
  ]),
  dirent: new Layout([
    ['ino', 'u64'],
    ['off', 'u64'],
    ['namelen', 'u32'],
    ['type', 'u32'],
  ]),
} as const;

const fh = ['fh', 'u64'] as const;
const copyRange = new Layout([
  ['fhIn', 'u64'],
  ['offsetIn', 'u64'],
  ['nodeidOut', 'u64'],
  ['fhOut', 'u64'],
  ['offsetOut', 'u64'],
  ['length', 'u64'],
  ['flags', 'u64'],
]);
const none = new Layout([]);
const range = [fh, ['offset', 'u64'], ['size', 'u32'], ['opFlags', 'u32']] as const;
const readWrite = new Layout([...range, ['lockOwner', 'u64'], ['flags', 'u32'], ['padding', 'u32']]);
const fsync = new Layout([fh, ['fsyncFlags', 'u32'], ['padding', 'u32']]);
const release = new Layout([fh, ['flags', 'u32'], ['releaseFlags', 'u32'], ['lockOwner', 'u64']]);
const open = new Layout([
  ['flags', 'u32'],
  ['openFlags', 'u32'],
]);

/** Records of requests. INIT is the shortest form that is understood: later kernels send more. */
export const record = {
  LOOKUP: none,
  FORGET: new Layout([['nlookup', 'u64']]),
  GETATTR: new Layout([['getattrFlags', 'u32'], ['padding', 'u32'], fh]),
  SETATTR: new Layout([
    ['valid', 'u32'],
    ['padding', 'u32'],
    fh,
    ['size', 'u64'],
    ['lockOwner', 'u64'],
    ['atime', 'u64'],
    ['mtime', 'u64'],
    ['ctime', 'u64'],
    ['atimensec', 'u32'],
    ['mtimensec', 'u32'],
    ['ctimensec', 'u32'],
    ['mode', 'u32'],
    ['unused4', 'u32'],
    ['uid', 'u32'],
    ['gid', 'u32'],
    ['unused5', 'u32'],
  ]),
  SYMLINK: none,
  MKNOD: new Layout([
    ['mode', 'u32'],
    ['rdev', 'u32'],
    ['umask', 'u32'],
    ['padding', 'u32'],
  ]),
  MKDIR: new Layout([
    ['mode', 'u32'],
    ['umask', 'u32'],
  ]),
  UNLINK: none,
  RMDIR: none,
  RENAME: new Layout([['newdir', 'u64']]),
  LINK: new Layout([['oldnodeid', 'u64']]),
  OPEN: open,
  READ: readWrite,
  WRITE: readWrite,
  STATFS: none,
  RELEASE: release,
  FSYNC: fsync,
  SETXATTR: new Layout([
    ['size', 'u32'],
    ['flags', 'u32'],
  ]),
  GETXATTR: new Layout([
    ['size', 'u32'],
    ['padding', 'u32'],
  ]),
  LISTXATTR: new Layout([
    ['size', 'u32'],
    ['padding', 'u32'],
  ]),
  REMOVEXATTR: none,
  FLUSH: new Layout([fh, ['unused', 'u32'], ['padding', 'u32'], ['lockOwner', 'u64']]),
  INIT: new Layout([
    ['major', 'u32'],
    ['minor', 'u32'],
    ['maxReadahead', 'u32'],
    ['flags', 'u32'],
  ]),
  OPENDIR: open,
  READDIR: readWrite,
  RELEASEDIR: release,
  FSYNCDIR: fsync,
  CREATE: new Layout([
    ['flags', 'u32'],
    ['mode', 'u32'],
    ['umask', 'u32'],
    ['openFlags', 'u32'],
  ]),
  INTERRUPT: new Layout([['unique', 'u64']]),
  DESTROY: none,
  BATCH_FORGET: new Layout([
    ['count', 'u32'],
    ['padding', 'u32'],
  ]),
  FALLOCATE: new Layout([fh, ['offset', 'u64'], ['length', 'u64'], ['mode', 'u32'], ['padding', 'u32']]),
  RENAME2: new Layout([
    ['newdir', 'u64'],
    ['flags', 'u32'],
    ['padding', 'u32'],
  ]),
  LSEEK: new Layout([fh, ['offset', 'u64'], ['whence', 'u32'], ['padding', 'u32']]),
  COPY_FILE_RANGE: copyRange,
  COPY_FILE_RANGE_64: copyRange,
} as const satisfies Record<OpName, unknown>;

/** In FORGET_BATCH, `count` times after the record. */
export const forgetOne = new Layout([
  ['nodeid', 'u64'],
  ['nlookup', 'u64'],
]);

/** How many names follow a record; what else follows is a payload. */
export const namesAfter: Partial<Record<OpName, number>> = {
  LOOKUP: 1,
  SYMLINK: 2,
  MKNOD: 1,
  MKDIR: 1,
  UNLINK: 1,
  RMDIR: 1,
  RENAME: 2,
  RENAME2: 2,
  LINK: 1,
  CREATE: 1,
  SETXATTR: 1,
  GETXATTR: 1,
  REMOVEXATTR: 1,
};

/** The kernel waits for no answer to these. */
export const unanswered: ReadonlySet<OpName> = new Set(['FORGET', 'BATCH_FORGET', 'INTERRUPT']);
