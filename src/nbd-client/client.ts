import { connect, type NetConnectOpts, type Socket } from 'node:net';
import type { Clock, Timer } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { Command, CommandFlag, NbdError, REQUEST_BYTES, REQUEST_MAGIC } from '../nbd/protocol.js';
import { shakeHands } from './handshake.js';
import {
  HANDSHAKE_TIMEOUT_MS,
  RANGE_BYTES_MAX,
  REQUEST_BYTES_MAX,
  RETRY_MS_MAX,
  RETRY_MS_MIN,
} from './limits.js';
import { PendingRequest } from './pending.js';
import { ReplyParser, type StatusExtent } from './reply-parser.js';
import { putU64 } from './u64.js';

export { NbdRefusal } from './pending.js';
export type { StatusExtent } from './reply-parser.js';

export interface NbdClientOptions {
  /** Asked for before every attempt: the sheep may listen elsewhere by now. */
  readonly address: () => Promise<NetConnectOpts>;
  readonly exportName: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * One volume over NBD, any number of requests at a time. A lost connection is a pause: what was not answered is sent
 * again on the next one, in its order, as often as it takes; ESHUTDOWN counts as a loss. Sending again is right
 * because a request says what shall be at a place, and a place with two requests under way has no order anyway.
 */
export class NbdClient {
  exportName: string;
  private readonly pending = new Map<number, PendingRequest>();
  private socket: Socket | undefined;
  /** As the server told it when the connection began. */
  private sizeBytes = 0;
  private connecting = false;
  private nextCookie = 1;
  private retryMs = 0;
  private timer: Timer | undefined;
  private closed: AppError | undefined;
  private corked = false;

  constructor(private readonly options: NbdClientOptions) {
    this.exportName = options.exportName;
  }

  /** False while the sheep is away, or nothing has been asked for yet. */
  get connected(): boolean {
    return this.socket !== undefined;
  }

  /** Exactly `length` bytes, in pieces. Rejects with NbdRefusal, or AppError 'no-vdi' when the volume is gone. */
  async read(offset: number, length: number): Promise<Uint8Array[]> {
    const request = new PendingRequest(Command.READ, 0, offset, length);
    await this.submit(request);
    return request.dataParts();
  }

  /** `data` must not be changed before the promise settles. `fua`: it is durable then. */
  async write(offset: number, data: Uint8Array, options: { fua?: boolean } = {}): Promise<void> {
    const flags = options.fua ? CommandFlag.FUA : 0;
    for (let at = 0; at < data.length; at += REQUEST_BYTES_MAX) {
      const piece = data.subarray(at, at + REQUEST_BYTES_MAX);
      await this.submit(new PendingRequest(Command.WRITE, flags, offset + at, piece.length, piece));
    }
  }

  /** The range reads as zeros afterwards. `mayUnmap`: it need not stay (or become) allocated. */
  async zero(offset: number, length: number, options: { mayUnmap: boolean; fua?: boolean }): Promise<void> {
    const flags = (options.mayUnmap ? 0 : CommandFlag.NO_HOLE) | (options.fua ? CommandFlag.FUA : 0);
    for (let at = 0; at < length; at += RANGE_BYTES_MAX) {
      const bytes = Math.min(RANGE_BYTES_MAX, length - at);
      await this.submit(new PendingRequest(Command.WRITE_ZEROES, flags, offset + at, bytes));
    }
  }

  /** Extents from `offset` on, which cover at least one byte and at most `length`. */
  async blockStatus(offset: number, length: number): Promise<StatusExtent[]> {
    const request = new PendingRequest(Command.BLOCK_STATUS, 0, offset, Math.min(length, RANGE_BYTES_MAX));
    await this.submit(request);
    return request.extents;
  }

  /** Everything that was answered before is durable. */
  async flush(): Promise<void> {
    await this.submit(new PendingRequest(Command.FLUSH, 0, 0, 0));
  }

  /**
   * The volume is so large by now. A server tells its size only when a connection begins, and may refuse what lies
   * behind it: a connection that is older is made anew, and what waits is sent again.
   */
  grown(sizeBytes: number): void {
    if (this.socket !== undefined && this.sizeBytes < sizeBytes) this.drop(this.socket);
  }

  /** Ends the connection; what waits is refused. */
  close(): void {
    this.giveUp(new AppError('network', 'the connection was closed'));
    this.closed ??= new AppError('network', 'the connection was closed');
    this.timer?.cancel();
    const { socket } = this;
    this.socket = undefined;
    socket?.end();
    socket?.destroySoon();
  }

  private submit(request: PendingRequest): Promise<void> {
    if (this.closed !== undefined) return Promise.reject(this.closed);
    const cookie = this.nextCookie++;
    this.pending.set(cookie, request);
    if (this.socket !== undefined) this.send(this.socket, cookie, request);
    else this.reconnect();
    return request.settled;
  }

  private send(socket: Socket, cookie: number, request: PendingRequest): void {
    const head = Buffer.allocUnsafe(REQUEST_BYTES);
    head.writeUInt32BE(REQUEST_MAGIC, 0);
    head.writeUInt16BE(request.flags, 4);
    head.writeUInt16BE(request.command, 6);
    putU64(head, 8, cookie);
    putU64(head, 16, request.offset);
    head.writeUInt32BE(request.length, 24);
    if (request.data !== undefined && !this.corked) {
      // Header and data leave in one system call, with what else is written in this turn.
      this.corked = true;
      socket.cork();
      process.nextTick(() => {
        this.corked = false;
        socket.uncork();
      });
    }
    socket.write(head);
    if (request.data !== undefined) socket.write(request.data);
  }

  private reconnect(): void {
    if (this.connecting || this.closed !== undefined) return;
    this.connecting = true;
    void this.connectOnce().then(
      () => {
        this.connecting = false;
        this.retryMs = 0;
        // It may have broken again while nobody was listening for that.
        if (this.socket === undefined && this.pending.size > 0) this.reconnect();
      },
      (error: unknown) => {
        this.connecting = false;
        if (AppError.isCode(error, 'no-vdi')) this.giveUp(error);
        else this.retryLater(error);
      },
    );
  }

  private retryLater(error: unknown): void {
    if (this.closed !== undefined || this.pending.size === 0) return;
    if (this.retryMs === 0) {
      this.options.log.warn({ err: error, volume: this.exportName }, 'the sheep is away: requests wait');
    }
    this.retryMs = Math.min(RETRY_MS_MAX, Math.max(RETRY_MS_MIN, this.retryMs * 2));
    this.timer = this.options.clock.after(this.retryMs, () => this.reconnect());
  }

  private async connectOnce(): Promise<void> {
    const socket = connect(await this.options.address());
    const deadline = this.options.clock.after(HANDSHAKE_TIMEOUT_MS, () => {
      socket.destroy(new AppError('network', 'silent during the handshake'));
    });
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve);
        socket.once('error', reject);
        socket.once('close', () => reject(new AppError('network', 'the connection was closed')));
      });
      // From here on errors are told by 'close', after which the reader rejects.
      socket.on('error', () => {});
      socket.setNoDelay(true);
      const { rest, sizeBytes } = await shakeHands(socket, this.exportName);
      this.sizeBytes = sizeBytes;
      if (this.closed !== undefined) throw this.closed;
      this.serve(socket, rest);
    } catch (error) {
      socket.on('error', () => {});
      socket.destroy();
      throw error;
    } finally {
      deadline.cancel();
    }
  }

  private serve(socket: Socket, rest: Buffer): void {
    this.socket = socket;
    this.corked = false;
    const parser = new ReplyParser(
      (cookie) => this.pending.get(cookie),
      (cookie) => this.onAnswered(socket, cookie),
    );
    const onData = (chunk: Buffer): void => {
      // What a connection says that was given up is not believed: its requests are on another one.
      if (this.socket !== socket) return;
      try {
        parser.feed(chunk);
      } catch (error) {
        this.options.log.error({ err: error, volume: this.exportName }, 'the sheep is not understood');
        this.drop(socket);
      }
    };
    socket.on('data', onData);
    socket.once('close', () => this.onLost(socket));
    for (const request of this.pending.values()) request.restart();
    for (const [cookie, request] of this.pending) this.send(socket, cookie, request);
    if (rest.length > 0) onData(rest);
    socket.resume();
  }

  private onAnswered(socket: Socket, cookie: number): void {
    // A sheep on its way down refuses what its next process will do.
    if (this.pending.get(cookie)?.errno === NbdError.ESHUTDOWN) this.drop(socket);
    else this.pending.delete(cookie);
  }

  /** At once, not when the system says so: nothing may be sent on it any more. */
  private drop(socket: Socket): void {
    socket.destroy();
    this.onLost(socket);
  }

  private onLost(socket: Socket): void {
    if (this.socket !== socket) return;
    this.socket = undefined;
    if (this.pending.size > 0) this.reconnect();
  }

  private giveUp(error: AppError): void {
    const waiting = [...this.pending.values()];
    this.pending.clear();
    for (const request of waiting) request.fail(error);
  }
}
