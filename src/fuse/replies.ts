import type { Values } from './layout.js';
import { type attr, outHeader, reply } from './protocol.js';

/** Bytes after the header of an answer: in one piece, in several, or none. */
export type Answer = Buffer | readonly Uint8Array[] | undefined;

export type Attributes = Partial<ReturnType<typeof attr.decode>>;

/** How long the kernel may believe something without asking again. */
export interface Validity {
  readonly entryS: number;
  readonly attrS: number;
}

export function encodeEntry(nodeid: number, attributes: Attributes, validity: Validity): Buffer {
  return reply.entry.encode({
    nodeid,
    entryValidS: validity.entryS,
    attrValidS: validity.attrS,
    ...attributes,
  });
}

export function encodeAttr(attributes: Attributes, attrValidS: number): Buffer {
  return reply.attr.encode({ attrValidS, ...attributes });
}

export function encodeOpen(fh: number, openFlags: number): Buffer {
  return reply.open.encode({ fh, openFlags });
}

export function encodeCount(size: number): Buffer {
  return reply.count.encode({ size });
}

export function encodeWide(value: number): Buffer {
  return reply.wide.encode({ value });
}

export function encodeStatfs(values: Partial<ReturnType<typeof reply.statfs.decode>>): Buffer {
  return reply.statfs.encode(values);
}

/** GETXATTR and LISTXATTR: who asks with no room wants to know how much is needed. */
export function encodeXattr(value: Buffer, room: number): Buffer {
  return room === 0 ? reply.count.encode({ size: value.length }) : value;
}

export interface DirectoryEntry {
  readonly name: string;
  readonly ino: number;
  readonly type: number;
}

const ALIGNMENT_BYTES = 8;

/** Entries from place `from` on, as many as fit into `room` bytes; each says where to go on after it. */
export function encodeDirectory(entries: readonly DirectoryEntry[], from: number, room: number): Buffer {
  const parts: Buffer[] = [];
  let used = 0;
  for (let i = from; i < entries.length; i++) {
    const { name, ino, type } = entries[i]!;
    const bytes = Buffer.from(name);
    const length = alignUp(reply.dirent.bytes + bytes.length);
    if (used + length > room) break;
    const part = Buffer.alloc(length);
    reply.dirent.write(part, 0, { ino, off: i + 1, namelen: bytes.length, type });
    bytes.copy(part, reply.dirent.bytes);
    parts.push(part);
    used += length;
  }
  return Buffer.concat(parts);
}

/** `error`: a positive errno, or 0. */
export function encodeOutHeader(header: Buffer, unique: number, error: number, bodyBytes: number): void {
  const values: Values<readonly [['len', 'u32'], ['error', 'i32'], ['unique', 'u64']]> = {
    len: outHeader.bytes + bodyBytes,
    error: -error,
    unique,
  };
  outHeader.write(header, 0, values);
}

function alignUp(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
}
