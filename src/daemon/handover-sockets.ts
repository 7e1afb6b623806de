/**
 * The listening sockets of a sheep, kept apart from the servers that accept on them: a server listens on a copy, so
 * closing it does not close the door. What connects while nobody accepts waits in the kernel's queue for the next
 * server, in this process or in its successor. A socket has to be listening from the first sheep of a directory to the
 * last, or a client would be refused in between.
 */
import { closeSync, renameSync, rmSync } from 'node:fs';
import { createServer, type ListenOptions, type Server } from 'node:net';
import { AppError } from '../base/errors.js';
import { removeStaleSocket } from '../nbd/listen.js';
import { duplicate } from '../store/syscalls.js';
import type { SheepConfig } from './config.js';

export const doorNames = ['client', 'clientUnix', 'io', 'nbd', 'nbdUnix', 'http'] as const;
export type DoorName = (typeof doorNames)[number];
type Address = { readonly host: string; readonly port: number } | { readonly path: string };

/** Where a server is to listen: on a copy of a socket of ours, or anew where descriptors cannot be copied. */
export type ListenAt = Address | { readonly fd: number };

const BACKLOG = 512;

export class ListeningSockets {
  private constructor(
    private readonly addresses: ReadonlyMap<DoorName, Address>,
    private readonly fds: ReadonlyMap<DoorName, number>,
  ) {}

  /** Binds every door of the configuration. Rejects with AppError 'system' when an address is taken. */
  static async bind(config: SheepConfig): Promise<ListeningSockets> {
    const addresses = addressesOf(config);
    const fds = new Map<DoorName, number>();
    try {
      for (const [name, address] of addresses) {
        const fd = await bind(address);
        if (fd !== undefined) fds.set(name, fd);
      }
    } catch (error) {
      for (const fd of fds.values()) closeSync(fd);
      throw inWords(error);
    }
    return new ListeningSockets(addresses, fds);
  }

  /** Takes over the sockets of a predecessor. A door that it did not have is bound. */
  static async adopt(
    config: SheepConfig,
    inherited: ReadonlyMap<DoorName, number>,
  ): Promise<ListeningSockets> {
    const addresses = addressesOf(config);
    const fds = new Map<DoorName, number>();
    for (const [name, address] of addresses) {
      const fd = inherited.get(name) ?? (await bind(address));
      if (fd !== undefined) fds.set(name, fd);
    }
    for (const [name, fd] of inherited) if (!addresses.has(name)) closeSync(fd);
    return new ListeningSockets(addresses, fds);
  }

  has(name: DoorName): boolean {
    return this.addresses.has(name);
  }

  /** For the next server of this door, which owns the copy. */
  at(name: DoorName): ListenAt {
    const fd = this.fds.get(name);
    return fd === undefined ? this.addresses.get(name)! : { fd: duplicate(fd) };
  }

  /** What a successor inherits; undefined where it cannot. */
  handles(): ReadonlyMap<DoorName, number> | undefined {
    return this.fds.size === this.addresses.size ? this.fds : undefined;
  }

  /** The end of the sheep: nobody will listen here any more. Not to be called after a successor took over. */
  close(): void {
    for (const fd of this.fds.values()) closeSync(fd);
    for (const address of this.addresses.values()) {
      if ('path' in address) rmSync(address.path, { force: true });
    }
  }
}

function addressesOf(config: SheepConfig): ReadonlyMap<DoorName, Address> {
  const { host, ioHost } = config;
  const found = new Map<DoorName, Address>([['client', { host, port: config.port }]]);
  if (config.unixSocket) found.set('clientUnix', { path: config.unixSocket });
  const ioPort = config.ioPort ?? config.port;
  // A door on all addresses is there already.
  const isCovered = isWildcard(host) && ioPort === config.port;
  if (ioHost !== undefined && !isCovered) found.set('io', { host: ioHost, port: ioPort });
  if (config.nbdPort >= 0) found.set('nbd', { host, port: config.nbdPort });
  if (config.nbdSocket) found.set('nbdUnix', { path: config.nbdSocket });
  if (config.httpPort >= 0) found.set('http', { host, port: config.httpPort });
  return found;
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** A listening descriptor; undefined where the platform cannot copy one. */
async function bind(address: Address): Promise<number | undefined> {
  if (!('path' in address)) return listenAndCopy({ ...address, backlog: BACKLOG });
  await removeStaleSocket(address.path);
  // The server removes the name it was bound to when it closes, which is at once: that must not be the real one.
  const passing = `${address.path.slice(0, -1)}~`;
  await removeStaleSocket(passing);
  const fd = await listenAndCopy({ path: passing, backlog: BACKLOG }, () =>
    renameSync(passing, address.path),
  );
  if (fd === undefined) rmSync(address.path, { force: true });
  return fd;
}

function listenAndCopy(options: ListenOptions, onBound = () => {}): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(options, () => {
      // Within this turn: a connection that this server accepted would be lost.
      try {
        onBound();
        resolve(copyOf(server));
      } catch (error) {
        reject(error);
      } finally {
        server.close();
      }
    });
  });
}

function copyOf(server: Server): number | undefined {
  // Node has no name of its own for the descriptor of a server.
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  try {
    return duplicate(fd);
  } catch {
    // No such call here: servers then bind by themselves, and there is no handover.
    return undefined;
  }
}

function inWords(error: unknown): unknown {
  const cause = error as NodeJS.ErrnoException & { port?: number };
  if (cause.code !== 'EADDRINUSE') return error;
  const what = cause.port === undefined ? 'a socket' : `port ${cause.port}`;
  return new AppError('system', `${what} is in use: choose others, or stop what listens there`, {
    cause: error,
  });
}
