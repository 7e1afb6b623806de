import { forgetOne, inHeader, namesAfter, Op, type OpName, record } from './protocol.js';

/** One request of the kernel, checked. */
export interface Request {
  readonly op: OpName;
  readonly unique: number;
  readonly nodeid: number;
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** The operation's record; fields that it does not have are absent. */
  readonly body: Readonly<Record<string, number>>;
  readonly names: readonly string[];
  /** What follows. A view: valid until the handler returns, for WRITE until it has settled. */
  readonly payload: Buffer;
}

/** Of a request that cannot be served: the errno name, and what it was. */
export interface Malformed {
  readonly unique: number;
  readonly opcode: number;
  readonly refusal: 'ENOSYS' | 'EINVAL' | 'EIO';
}

const names = new Map<number, OpName>(Object.entries(Op).map(([name, value]) => [value, name as OpName]));
const utf8 = new TextDecoder('utf-8', { fatal: true });

export function isMalformed(request: Request | Malformed): request is Malformed {
  return 'refusal' in request;
}

/**
 * Takes a message of the device apart. Every length is compared with what has arrived before it is used. Undefined:
 * not even a header, which no kernel sends.
 */
export function parseRequest(message: Buffer): Request | Malformed | undefined {
  if (message.length < inHeader.bytes) return undefined;
  const header = inHeader.decode(message);
  const { unique, opcode } = header;
  const op = names.get(opcode);
  if (header.len !== message.length) return { unique, opcode, refusal: 'EIO' };
  if (op === undefined) return { unique, opcode, refusal: 'ENOSYS' };
  const layout = record[op];
  const end = message.length - header.extensionWords * 8;
  const bodyEnd = inHeader.bytes + layout.bytes;
  if (bodyEnd > end) return { unique, opcode, refusal: 'EINVAL' };
  const body: Record<string, number> = layout.decode(message, inHeader.bytes);
  const found = takeNames(message.subarray(bodyEnd, end), namesAfter[op] ?? 0);
  if (found === undefined || !fits(op, body, found.rest)) return { unique, opcode, refusal: 'EINVAL' };
  const { nodeid, uid, gid, pid } = header;
  return { op, unique, nodeid, uid, gid, pid, body, names: found.names, payload: found.rest };
}

/** `count` names that each end with a zero byte, and what is after them. */
function takeNames(bytes: Buffer, count: number): { names: string[]; rest: Buffer } | undefined {
  const found: string[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const end = bytes.indexOf(0, at);
    if (end < 0) return undefined;
    try {
      // Volumes have names of characters: bytes that are none name nothing.
      found.push(utf8.decode(bytes.subarray(at, end)));
    } catch {
      return undefined;
    }
    at = end + 1;
  }
  return { names: found, rest: bytes.subarray(at) };
}

function fits(op: OpName, body: Readonly<Record<string, number>>, rest: Buffer): boolean {
  if (op === 'WRITE' || op === 'SETXATTR') return rest.length >= body.size!;
  if (op === 'BATCH_FORGET') return rest.length >= body.count! * forgetOne.bytes;
  return true;
}
