import { FuseError } from '../fuse/errors.js';
import { Falloc, FileFlag, Whence } from '../fuse/protocol.js';
import { type Answer, encodeCount, encodeOpen, encodeStatfs, encodeWide } from '../fuse/replies.js';
import type { Request } from '../fuse/request.js';
import type { Handlers } from '../fuse/session.js';
import { cloneWhole, copyData, hasSnapshots, isWholeCopy } from './copy.js';
import { asFuseError } from './errors.js';
import { allocate, seek } from './extents.js';
import { COPY_CALL_BYTES_MAX, NAME_BYTES_MAX } from './limits.js';
import type { Mount } from './mount.js';
import { writable } from './name-operations.js';
import { type FileNode, isFile, type Node } from './nodes.js';

const COUNT_MAX = 0xffff_f000;
const STATFS_BLOCK_BYTES = 4096;

/** Operations on open files, and on the file system as a whole. */
export function dataOperations(mount: Mount): Handlers {
  const { handles } = mount;
  const { nodes } = mount.tree;
  const fileOf = (fh: number): FileNode['file'] => fileNode(handles.get(fh).node).file;
  const writableOf = (fh: number) => writable(handles.get(fh).node);

  async function fallocate({ body }: Request): Promise<Answer> {
    const { offset = 0, length = 0, mode = 0 } = body;
    const file = writableOf(body.fh!);
    const end = offset + length;
    file.checkLength(end);
    if ((mode & Falloc.KEEP_SIZE) === 0 && end > file.length) {
      await file.refresh();
      if (end > file.length) await file.setLength(end);
    }
    // What lies behind the end of the file has no room in any volume; there is nothing to reserve it in.
    const inside = Math.min(end, file.length);
    if (inside <= offset) return undefined;
    try {
      if (mode & (Falloc.PUNCH_HOLE | Falloc.ZERO_RANGE)) {
        await file.data.zero(offset, inside - offset, { mayUnmap: (mode & Falloc.PUNCH_HOLE) !== 0 });
        file.touch();
      } else await allocate(file.data, offset, inside);
    } catch (error) {
      throw asFuseError(error);
    }
    return undefined;
  }

  /** Bytes copied. */
  async function copyRange({ body }: Request): Promise<number> {
    const source = fileOf(body.fhIn!);
    const target = writableOf(body.fhOut!);
    if (body.flags !== 0) throw new FuseError('EINVAL');
    if (source instanceof Object && 'refresh' in source) await source.refresh();
    const { offsetIn = 0, offsetOut = 0 } = body;
    const length = Math.min(body.length!, source.length - offsetIn);
    if (length <= 0) return 0;
    target.checkLength(offsetOut + length);
    const range = { from: offsetIn, to: offsetOut, length };
    const whole = source !== target && isWholeCopy(source, target, range);
    if (whole && !(await hasSnapshots(mount.world.cluster, target.name).catch(rethrow))) {
      await cloneWhole(source, target, mount.aside.next());
      return length;
    }
    const step = Math.min(length, COPY_CALL_BYTES_MAX);
    await copyData(source, target, { ...range, length: step }).catch((error: unknown) => {
      throw asFuseError(error);
    });
    return step;
  }

  async function open({ nodeid, body }: Request): Promise<Answer> {
    const node = fileNode(nodes.get(nodeid));
    if (node.kind === 'volume' && node.key !== '') await node.file.refresh();
    const { fh, openFlags } = mount.open(node, body.flags!);
    return encodeOpen(fh, openFlags);
  }

  async function release({ body }: Request): Promise<Answer> {
    const { node, writes } = handles.get(body.fh!);
    try {
      if (node.kind === 'snapshot') node.file.released();
      if (node.kind !== 'volume') return undefined;
      await node.file.released(writes);
      await mount.tree.closedUnlinked(node);
      return undefined;
    } finally {
      // Only now: a mount that ends waits for the last of them.
      handles.take(body.fh!);
    }
  }

  async function write({ body, payload }: Request): Promise<Answer> {
    const size = body.size!;
    const durable = (body.flags! & FileFlag.DSYNC) !== 0;
    await writableOf(body.fh!).write(body.offset!, payload.subarray(0, size), { durable });
    return encodeCount(size);
  }

  async function sync(fh: number, how: 'sync' | 'save'): Promise<undefined> {
    const { node } = handles.get(fh);
    if (node.kind === 'volume' && !node.file.isImage) await node.file[how]();
    return undefined;
  }

  return {
    OPEN: open,
    RELEASE: release,
    READ: ({ body }) => fileOf(body.fh!).read(body.offset!, body.size!),
    WRITE: write,
    FSYNC: ({ body }) => sync(body.fh!, 'sync'),
    // Called at every close: how long the file is must be known to others from then on.
    FLUSH: ({ body }) => sync(body.fh!, 'save'),
    FALLOCATE: fallocate,
    LSEEK: async ({ body }) => {
      const { whence } = body;
      if (whence !== Whence.DATA && whence !== Whence.HOLE) throw new FuseError('EINVAL');
      const file = fileOf(body.fh!);
      return encodeWide(await seek(file.data, body.offset!, whence, file.length).catch(rethrow));
    },
    // The old form has no room for more.
    COPY_FILE_RANGE: async (request) => encodeCount(Math.min(COUNT_MAX, await copyRange(request))),
    COPY_FILE_RANGE_64: async (request) => encodeWide(await copyRange(request)),
    STATFS: async () => {
      const { totalBytes, freeBytes } = await mount.space.now().catch(rethrow);
      return encodeStatfs({
        blocks: Math.floor(totalBytes / STATFS_BLOCK_BYTES),
        bfree: Math.floor(freeBytes / STATFS_BLOCK_BYTES),
        bavail: Math.floor(freeBytes / STATFS_BLOCK_BYTES),
        bsize: STATFS_BLOCK_BYTES,
        frsize: STATFS_BLOCK_BYTES,
        namelen: NAME_BYTES_MAX,
      });
    },
  };
}

function fileNode(node: Node): FileNode {
  if (isFile(node)) return node;
  throw new FuseError('EISDIR');
}

function rethrow(error: unknown): never {
  throw asFuseError(error);
}
