/**
 * Transport over TCP. It opens connections, but no listener of its own: the daemon's one port serves clients and peers,
 * so its front door looks at the first bytes (`looksLikePeer`) and hands peers' sockets to `accept`.
 */
import { createConnection, type Socket } from 'node:net';
import { type Clock, systemClock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import { TcpChannel } from './tcp-channel.js';
import type { Channel, PeerAddress, Transport } from './transport.js';

export { looksLikePeer } from './peer-codec.js';
export { acceptPeerSocket } from './tcp-channel.js';

/** Short, so that a way that works again is found soon: a kernel repeats its first packet after 1, 3, 7 s only. */
export const CONNECT_TIMEOUT_MS = 2000;

export interface TcpTransportOptions {
  readonly clock?: Clock;
  readonly connectTimeoutMs?: number;
}

export class TcpTransport implements Transport {
  private readonly clock: Clock;
  private readonly connectTimeoutMs: number;
  /** Every socket that is not closed yet, with what ends it. */
  private readonly sockets = new Map<Socket, (reason: AppError) => void>();
  private onChannel: ((channel: Channel) => void) | undefined;
  private closed = false;

  constructor(options: TcpTransportOptions = {}) {
    this.clock = options.clock ?? systemClock;
    this.connectTimeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
  }

  connect(address: PeerAddress): Promise<Channel> {
    const where = `${address.host}:${address.port}`;
    if (this.closed) return Promise.reject(new AppError('network', `${where}: transport is closed`));
    return new Promise((resolve, reject) => {
      const socket = createConnection({ host: address.host, port: address.port, noDelay: true });
      const giveUp = (reason: AppError) => {
        timer.cancel();
        socket.destroy();
        reject(reason);
      };
      const timer = this.clock.after(this.connectTimeoutMs, () =>
        giveUp(new AppError('network', `${where}: no answer within ${this.connectTimeoutMs} ms`)),
      );
      const onError = (error: Error) =>
        giveUp(new AppError('network', `${where}: ${error.message}`, { cause: error }));
      socket.on('error', onError);
      this.track(socket, giveUp);
      socket.once('connect', () => {
        timer.cancel();
        // From here on the channel listens for errors; until it does, nothing can come between.
        const channel = this.adopt(socket);
        socket.off('error', onError);
        resolve(channel);
      });
    });
  }

  listen(onChannel: (channel: Channel) => void): void {
    this.onChannel = onChannel;
  }

  /** Takes over an accepted socket of a peer; `firstChunk` is everything already read from it. */
  accept(socket: Socket, firstChunk: Uint8Array): void {
    if (this.closed || this.onChannel === undefined) {
      socket.destroy();
      return;
    }
    this.onChannel(this.adopt(socket, firstChunk));
  }

  /** Closes every channel; resolves when no socket is left. */
  async close(): Promise<void> {
    this.closed = true;
    const reason = new AppError('network', 'transport closed');
    const gone = [...this.sockets].map(
      ([socket, end]) =>
        new Promise<void>((resolve) => {
          if (socket.closed) resolve();
          else socket.once('close', () => resolve());
          end(reason);
        }),
    );
    await Promise.all(gone);
  }

  private adopt(socket: Socket, firstChunk?: Uint8Array): TcpChannel {
    const channel = new TcpChannel(socket, firstChunk, this.clock);
    this.track(socket, (reason) => channel.close(reason));
    return channel;
  }

  private track(socket: Socket, end: (reason: AppError) => void): void {
    const known = this.sockets.has(socket);
    this.sockets.set(socket, end);
    if (!known) socket.once('close', () => this.sockets.delete(socket));
  }
}
