import { FuseError } from '../fuse/errors.js';
import { forgetOne, Mode, OpenFlag, ROOT_NODE, SetAttr } from '../fuse/protocol.js';
import {
  type Answer,
  encodeAttr,
  encodeDirectory,
  encodeEntry,
  encodeOpen,
  encodeXattr,
} from '../fuse/replies.js';
import type { Request } from '../fuse/request.js';
import type { Handlers } from '../fuse/session.js';
import { attributesOf } from './attributes.js';
import { applySetAttr } from './file-record.js';
import { SNAPSHOT_VALID_S } from './limits.js';
import type { Mount } from './mount.js';
import type { Node, VolumeNode } from './nodes.js';
import { checkKept, getXattr, listXattrs, removeXattr, setXattr } from './xattrs.js';

/** Operations on names and attributes. */
export function nameOperations(mount: Mount): Handlers {
  const { tree, handles } = mount;
  const { nodes } = tree;

  /** Working volumes change at other doors: nothing of them may be believed twice. */
  const validityOf = (node: Node) => (node.kind === 'snapshot' ? SNAPSHOT_VALID_S : 0);

  function entry(node: Node): Buffer {
    node.lookups++;
    const attrS = validityOf(node);
    return encodeEntry(node.id, attributesOf(node, mount.folder), { entryS: 0, attrS });
  }

  function attributes(node: Node): Buffer {
    return encodeAttr(attributesOf(node, mount.folder), validityOf(node));
  }

  async function create(request: Request): Promise<VolumeNode> {
    const { nodeid, names, body, uid, gid } = request;
    const mode = body.mode! & ~body.umask!;
    return tree.create(nodes.get(nodeid), names[0]!, { mode, uid, gid });
  }

  async function getAttr({ nodeid }: Request): Promise<Answer> {
    const node = nodes.get(nodeid);
    if (node.kind === 'volume') await node.file.refresh();
    return attributes(node);
  }

  async function setAttr({ nodeid, body }: Request): Promise<Answer> {
    const node = nodes.get(nodeid);
    if (node.kind === 'root') {
      applySetAttr(mount.folder, body, mount.world.clock.wallMs());
      return attributes(node);
    }
    const file = writable(node);
    const { valid = 0 } = body;
    if ((valid & SetAttr.SIZE) !== 0) await file.setLength(body.size!);
    const rest = SetAttr.MODE | SetAttr.UID | SetAttr.GID | SetAttr.ATIME | SetAttr.MTIME;
    if ((valid & (rest | SetAttr.ATIME_NOW | SetAttr.MTIME_NOW)) !== 0) {
      await file.change((record) => applySetAttr(record, body, mount.world.clock.wallMs()));
    }
    return attributes(node);
  }

  async function readDirectory({ body, nodeid }: Request): Promise<Answer> {
    const handle = handles.get(body.fh!);
    // From the start again: whoever rewinds wants to see what is new.
    if (body.offset === 0 || handle.entries === undefined)
      handle.entries = await tree.list(nodes.get(nodeid));
    return encodeDirectory(handle.entries, body.offset!, body.size!);
  }

  return {
    LOOKUP: async ({ nodeid, names }) => entry(await tree.lookUp(nodes.get(nodeid), names[0]!)),
    FORGET: ({ nodeid, body }) => nodes.forget(nodeid, body.nlookup!) as undefined,
    BATCH_FORGET: ({ body, payload }) => {
      for (let i = 0; i < body.count!; i++) {
        const { nodeid, nlookup } = forgetOne.decode(payload, i * forgetOne.bytes);
        nodes.forget(nodeid, nlookup);
      }
      return undefined;
    },
    GETATTR: getAttr,
    SETATTR: setAttr,
    MKNOD: async (request) => {
      if ((request.body.mode! & Mode.TYPE) !== Mode.FILE) throw new FuseError('EPERM');
      return entry(await create(request));
    },
    CREATE: async (request) => {
      const node = await create(request);
      const opened = mount.open(node, request.body.flags!);
      return [entry(node), encodeOpen(opened.fh, opened.openFlags)];
    },
    MKDIR: refused,
    SYMLINK: refused,
    LINK: refused,
    UNLINK: async ({ nodeid, names }) => {
      await tree.unlink(nodes.get(nodeid), names[0]!);
      return undefined;
    },
    RMDIR: refused,
    RENAME: async ({ nodeid, names, body }) => {
      await tree.rename(nodes.get(nodeid), names[0]!, nodes.get(body.newdir!), names[1]!, 0);
      return undefined;
    },
    RENAME2: async ({ nodeid, names, body }) => {
      await tree.rename(nodes.get(nodeid), names[0]!, nodes.get(body.newdir!), names[1]!, body.flags!);
      return undefined;
    },
    OPENDIR: ({ nodeid }) => encodeOpen(handles.add({ node: nodes.get(nodeid), writes: false }), 0),
    READDIR: readDirectory,
    RELEASEDIR: ({ body }) => {
      handles.take(body.fh!);
      return undefined;
    },
    FSYNCDIR: () => undefined,
    GETXATTR: ({ nodeid, names, body }) => {
      const node = nodes.get(nodeid);
      if (node.kind !== 'volume') throw new FuseError('ENODATA');
      return encodeXattr(roomFor(getXattr(node.file.record, names[0]!), body.size!), body.size!);
    },
    LISTXATTR: ({ nodeid, body }) => {
      const node = nodes.get(nodeid);
      const list = node.kind === 'volume' ? listXattrs(node.file.record) : Buffer.alloc(0);
      return encodeXattr(roomFor(list, body.size!), body.size!);
    },
    SETXATTR: async ({ nodeid, names, body, payload }) => {
      checkKept(names[0]!);
      const value = payload.subarray(0, body.size!);
      await writable(nodes.get(nodeid)).change((record) => setXattr(record, names[0]!, value, body.flags!));
      return undefined;
    },
    REMOVEXATTR: async ({ nodeid, names }) => {
      await writable(nodes.get(nodeid)).change((record) => removeXattr(record, names[0]!));
      return undefined;
    },
  };
}

export const NO_CACHE = OpenFlag.DIRECT_IO | OpenFlag.PARALLEL_DIRECT_WRITES;

/** Throws EROFS for what never changes, EPERM for folders. */
export function writable(node: Node): VolumeNode['file'] {
  if (node.kind === 'volume' && !node.file.isImage) return node.file;
  throw new FuseError(node.kind === 'volume' || node.kind === 'snapshot' ? 'EROFS' : 'EPERM');
}

function roomFor(value: Buffer, room: number): Buffer {
  if (room !== 0 && value.length > room) throw new FuseError('ERANGE');
  return value;
}

/** Folders, links and devices are no volumes. */
function refused({ nodeid }: Request): never {
  throw new FuseError(nodeid === ROOT_NODE ? 'EPERM' : 'EROFS');
}
