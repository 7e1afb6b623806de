/**
 * Connections that outlive the process that accepted them. The sheepdog protocol has no sessions: between two requests
 * a connection is a socket and the bytes that have been read from it too soon. So a planned upgrade passes it on, and
 * its client notices nothing; QEMU's own driver needs that, as it does not survive a reconnect under load (README.md).
 */
import { Socket } from 'node:net';
import { duplicate } from '../store/syscalls.js';

/** A connection without an owner: its descriptor, and what has been read from it beyond the last request. */
export interface Detached {
  readonly fd: number;
  readonly unread: Buffer;
  /** It has not made a request yet. */
  readonly silent: boolean;
}

/**
 * Takes the connection out of a socket, which ends here without the other side's knowing. Everything that was written
 * must have left. Undefined when there is nothing left to take, or no way to.
 */
export function detach(socket: Socket, unread: Buffer): Omit<Detached, 'silent'> | undefined {
  // Node has no name of its own for the descriptor of a socket.
  const handle = (socket as unknown as { _handle: { fd: number } | null })._handle;
  if (handle === null || handle.fd < 0 || socket.destroyed || socket.readableEnded) return undefined;
  let fd: number;
  try {
    fd = duplicate(handle.fd);
  } catch {
    // Not on this platform: the client connects anew.
    return undefined;
  }
  // In one turn: from the last look to the end of the socket nothing can be read into it.
  socket.removeAllListeners('data');
  socket.pause();
  const parts = [unread];
  for (let part = socket.read(); part !== null; part = socket.read()) parts.push(part);
  socket.destroy();
  return { fd, unread: Buffer.concat(parts) };
}

/** The connection as a socket of this process. */
export function attach({ fd }: Pick<Detached, 'fd'>): Socket {
  return new Socket({ fd, readable: true, writable: true });
}

/** For passing the connection on: nothing is read from it here. */
export function carrier({ fd }: Pick<Detached, 'fd'>): Socket {
  return new Socket({ fd, readable: false, writable: true });
}
