import { Mode } from '../fuse/protocol.js';
import type { Attributes } from '../fuse/replies.js';
import type { FileRecord, Time } from './file-record.js';
import { isFile, type Node } from './nodes.js';

const BLOCK_BYTES = 512;
const IO_BYTES = 4096;

/** Owner and modes of the folders of a mount; kept as long as it is mounted. */
export type FolderRecord = Pick<FileRecord, 'mode' | 'uid' | 'gid' | 'atime' | 'mtime' | 'ctime'>;

/** What stat tells of a node. */
export function attributesOf(node: Node, folder: FolderRecord): Attributes {
  if (!isFile(node)) {
    const mode = node.kind === 'root' ? folder.mode : folder.mode & 0o555;
    return { ino: node.id, mode: Mode.FOLDER | mode, nlink: 2, blksize: IO_BYTES, ...owner(folder) };
  }
  const { file } = node;
  const unlinked = node.kind === 'volume' && node.key === '';
  const writeMask = node.kind === 'volume' && node.file.isImage ? 0o555 : Mode.PERMISSIONS;
  return {
    ino: node.id,
    size: file.length,
    blocks: Math.ceil(file.allocatedBytes / BLOCK_BYTES),
    mode: Mode.FILE | (file.record.mode & writeMask),
    nlink: unlinked ? 0 : 1,
    blksize: IO_BYTES,
    ...owner(file.record),
  };
}

function owner({ uid, gid, atime, mtime, ctime }: FolderRecord): Attributes {
  return { uid, gid, ...time('atime', atime), ...time('mtime', mtime), ...time('ctime', ctime) };
}

function time(name: 'atime' | 'mtime' | 'ctime', [s, ns]: Time): Attributes {
  return { [name]: s, [`${name}nsec`]: ns };
}
