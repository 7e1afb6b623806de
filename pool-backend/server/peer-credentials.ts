import type { Socket } from 'node:net';
import koffi from 'koffi';

/** Who is at the other end of a unix socket, as the kernel says (SO_PEERCRED). */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const UCRED_BYTES = 12;

type GetSockOpt = (fd: number, level: number, name: number, value: Buffer, length: Buffer) => number;

function load(): GetSockOpt | undefined {
  try {
    const signature =
      'int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint8_t *length)';
    return process.platform === 'linux' ? (koffi.load(null).func(signature) as GetSockOpt) : undefined;
  } catch {
    // A platform without it: nobody is known, and whoever must be known is refused.
    return undefined;
  }
}

const getSockOpt = load();

/** Undefined where the kernel does not tell. */
export function peerCredentials(socket: Socket): PeerCredentials | undefined {
  // Node keeps the descriptor to itself; there is no public name for it.
  const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1;
  if (getSockOpt === undefined || fd < 0) return undefined;
  const value = Buffer.alloc(UCRED_BYTES);
  const length = Buffer.alloc(4);
  length.writeInt32LE(UCRED_BYTES);
  if (getSockOpt(fd, SOL_SOCKET, SO_PEERCRED, value, length) !== 0) return undefined;
  return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
}
