import { existsSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { Logger } from '../base/log.js';
import { addressOf } from '../control/caller.js';
import { looksLikePeer, type TcpTransport } from '../net/tcp-transport.js';
import type { Connection } from '../sheepdog/connection.js';
import type { SheepdogServer } from '../sheepdog/server.js';
import { type Detached, detach } from './handover-connections.js';

/** Connections in all; past it new ones are closed at once (I-11). */
const CONNECTIONS_MAX = 4096;
/** Those of them that have not said who they are; past it the oldest is closed: a crowd of them keeps nobody out. */
const SILENT_MAX = 1024;
/** QEMU keeps a connection for I/O without a word while its guest does nothing: only dead hosts are closed. */
const KEEP_ALIVE_MS = 60_000;

const DETACH_LOOK_MS = 2;

interface Arrival {
  readonly client: Connection;
  /** First bytes, as long as they do not tell who it is. */
  seen: Buffer;
  /** It came by the network for traffic between sheep. */
  readonly peersOnly: boolean;
}

export interface FrontDoorOptions {
  readonly transport: TcpTransport;
  readonly server: SheepdogServer;
  readonly log: Logger;
}

/** The one port for clients of the protocol, for `dog` and for other sheep: the first bytes tell who it is. */
export class FrontDoor {
  private readonly sockets = new Set<Socket>();
  /** In the order of arrival. */
  private readonly silent = new Set<Socket>();
  /** Those that are no sheep, or have not said what they are. */
  private readonly clients = new Map<Socket, Arrival>();
  private readonly servers: Server[] = [];

  constructor(private readonly options: FrontDoorOptions) {}

  /**
   * On an address, or on a descriptor that listens already and becomes this door's; for other sheep only, or for all.
   * Returns the port.
   */
  async listen(
    address: { host: string; port: number } | { path: string } | { fd: number },
    options: { peersOnly?: boolean } = {},
  ): Promise<number> {
    if ('path' in address && existsSync(address.path)) unlinkSync(address.path);
    const server = createServer({ noDelay: true }, (socket) =>
      this.accept(socket, options.peersOnly === true),
    );
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(address, resolve);
    });
    this.servers.push(server);
    const bound = server.address();
    return typeof bound === 'object' && bound !== null ? bound.port : 0;
  }

  /** Whoever comes now waits for the next server of the socket. Connections stay. */
  stopAccepting(): void {
    for (const server of this.servers.splice(0)) server.close();
  }

  close(): void {
    this.stopAccepting();
    for (const socket of this.sockets) socket.destroy();
  }

  /**
   * Gives every connection of a client away that can be had before the deadline: between two requests, or before it
   * has said a word. Those of other sheep, and the rest, stay.
   */
  async detach(deadlineMs: number, kept: Detached[]): Promise<void> {
    for (const { client } of this.clients.values()) client.settle();
    const endMs = performance.now() + deadlineMs;
    for (;;) {
      for (const [socket, { client, seen }] of [...this.clients]) {
        const unread = client.unread;
        if (unread === undefined) continue;
        this.clients.delete(socket);
        const { silent } = client;
        const detached = detach(socket, Buffer.concat([seen, unread]));
        if (detached !== undefined) kept.push({ ...detached, silent });
      }
      if (this.clients.size === 0 || performance.now() > endMs) return;
      await new Promise((resolve) => setTimeout(resolve, DETACH_LOOK_MS));
    }
  }

  /** Goes on with a connection that another process, or this one before, has detached. */
  adopt(socket: Socket, unread: Buffer, silent: boolean): void {
    socket.setNoDelay(true);
    const arrival = this.register(socket);
    if (arrival === undefined) return;
    if (silent) {
      this.listenTo(socket, arrival);
      if (unread.length > 0) socket.emit('data', unread);
    } else {
      this.silent.delete(socket);
      arrival.client.silent = false;
      arrival.client.start(unread);
    }
  }

  private accept(socket: Socket, peersOnly: boolean): void {
    const arrival = this.register(socket, peersOnly);
    if (arrival !== undefined) this.listenTo(socket, arrival);
  }

  private register(socket: Socket, peersOnly = false): Arrival | undefined {
    if (this.sockets.size >= CONNECTIONS_MAX) {
      socket.destroy();
      return undefined;
    }
    if (this.silent.size >= SILENT_MAX) this.closeOldestSilent();
    this.sockets.add(socket);
    this.silent.add(socket);
    socket.on('close', () => this.forget(socket));
    socket.on('error', (error) => this.options.log.debug({ err: error.message }, 'a connection broke'));
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    const client = this.options.server.accept(socket, addressOf(socket));
    const arrival = { client, seen: Buffer.alloc(0), peersOnly };
    this.clients.set(socket, arrival);
    return arrival;
  }

  /** Until the first bytes tell who it is. */
  private listenTo(socket: Socket, arrival: Arrival): void {
    const { server, transport } = this.options;
    const { client } = arrival;
    const onData = (chunk: Buffer) => {
      const seen = arrival.seen.length === 0 ? chunk : Buffer.concat([arrival.seen, chunk]);
      arrival.seen = seen;
      const peer = looksLikePeer(seen);
      if (peer === 'need-more') return;
      arrival.seen = Buffer.alloc(0);
      socket.pause();
      socket.off('data', onData);
      this.silent.delete(socket);
      if (peer) {
        this.clients.delete(socket);
        server.forget(client);
        transport.accept(socket, seen);
      } else if (arrival.peersOnly) {
        socket.destroy();
      } else {
        client.start(seen);
        socket.resume();
      }
    };
    socket.on('data', onData);
  }

  private closeOldestSilent(): void {
    const [oldest] = this.silent;
    if (oldest === undefined) return;
    // At once, not at its 'close': a burst of arrivals comes before that.
    this.forget(oldest);
    oldest.destroy();
  }

  private forget(socket: Socket): void {
    this.silent.delete(socket);
    this.sockets.delete(socket);
    this.clients.delete(socket);
  }
}
