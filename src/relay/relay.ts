import { lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { type Clock, systemClock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { RelayedConnection } from './connection.js';
import type { ConversationLimits } from './conversation.js';
import { Room } from './room.js';
import { type SheepAddress, textOfAddress, Upstreams } from './upstreams.js';

/** Clients at a time; past it new ones are closed at once. A QEMU has one for each disk, and one more now and then. */
const CLIENTS_MAX = 1024;
/** Bytes of requests of all clients together. */
const ROOM_BYTES = 512 * 1024 * 1024;

export interface RelayOptions {
  /** Where clients connect: any of host and port (0: any free one), and the path of a unix socket. */
  readonly listen: readonly SheepAddress[];
  /** Sheep of one cluster, in the order of preference. */
  readonly sheep: readonly SheepAddress[];
  readonly log: Logger;
  readonly clock?: Clock;
  readonly limits?: ConversationLimits;
}

/** Listens for clients of the sheepdog protocol and keeps their connections, whatever becomes of the sheep. */
export class Relay {
  private readonly servers: Server[] = [];
  private readonly connections = new Set<RelayedConnection>();
  private readonly upstreams: Upstreams;
  private readonly room = new Room(ROOM_BYTES);

  private constructor(private readonly options: RelayOptions) {
    this.upstreams = new Upstreams(options.sheep);
  }

  /** Rejects with AppError 'network' when it cannot listen somewhere. Sheep need not be up. */
  static async start(options: RelayOptions): Promise<Relay> {
    const relay = new Relay(options);
    try {
      for (const address of options.listen) await relay.listen(address);
    } catch (error) {
      relay.close();
      throw error;
    }
    return relay;
  }

  /** Ports listened on, in the order of the options; of TCP only. */
  get ports(): number[] {
    return this.servers.flatMap((server) => {
      const bound = server.address();
      return typeof bound === 'object' && bound !== null ? [bound.port] : [];
    });
  }

  get connectionCount(): number {
    return this.connections.size;
  }

  /** Ends everything at once; a unix socket's file goes too. */
  close(): void {
    for (const server of this.servers.splice(0)) server.close();
    for (const connection of [...this.connections]) connection.destroy();
  }

  private async listen(address: SheepAddress): Promise<void> {
    if ('path' in address) await removeStaleSocket(address.path);
    // Half-open: who has sent everything and says so still gets its answers.
    const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => this.accept(socket));
    server.maxConnections = CLIENTS_MAX;
    await listening(server, address);
    server.on('error', (error) =>
      this.options.log.warn({ err: error.message }, 'a listening socket has trouble'),
    );
    this.servers.push(server);
    this.options.log.info({ at: textOfBound(server) }, 'listening for clients');
  }

  private accept(socket: Socket): void {
    const { clock = systemClock, log, limits } = this.options;
    const connection = new RelayedConnection(socket, {
      upstreams: this.upstreams,
      room: this.room,
      isLocal: isLocal(socket),
      clock,
      log,
      ...(limits && { limits }),
    });
    this.connections.add(connection);
    socket.once('close', () => this.connections.delete(connection));
    connection.start();
  }
}

/** Through a unix socket or from a loopback address. One that was reset already came from anywhere. */
function isLocal({ remoteAddress, localAddress, destroyed }: Socket): boolean {
  if (remoteAddress === undefined) return localAddress === undefined && !destroyed;
  const plain = remoteAddress.replace(/^::ffff:/i, '');
  return plain === '::1' || /^127(\.\d+){3}$/.test(plain);
}

function listening(server: Server, address: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const refused = (error: Error) =>
      reject(new AppError('network', `the relay cannot listen: ${error.message}`, { cause: error }));
    server.once('error', refused);
    server.listen(address, () => {
      server.off('error', refused);
      resolve();
    });
  });
}

function textOfBound(server: Server): string {
  const bound = server.address();
  if (bound === null || typeof bound === 'string') return bound ?? '';
  return textOfAddress({ host: bound.address, port: bound.port });
}

/** A killed relay leaves its file behind. Only that is removed: no other file, and no door of somebody who lives. */
async function removeStaleSocket(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  const isStale = stat.isSocket() && (await isRefused(path));
  if (!isStale) throw new AppError('network', `the relay cannot listen: ${path} is in use`);
  unlinkSync(path);
}

function isRefused(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  });
}
