import type { Socket } from 'node:net';
import { encodeHead, type Message, type MessageHeader } from '../rpc/message.js';
import { FramingError, MessageParser } from '../rpc/message-parser.js';

/** Unsent bytes from which on whoever produces more has to wait. */
const CONGESTED_BYTES = 1024 * 1024;
/** Unsent bytes with which a peer that does not read is given up. */
const UNSENT_BYTES_MAX = 64 * 1024 * 1024;

/** Bytes of incomplete messages that all connections together may hold. */
export class ReceiveBudget {
  private used = 0;

  constructor(private readonly bytesMax = 256 * 1024 * 1024) {}

  /** False when there is no room for what arrived more. */
  change(deltaBytes: number): boolean {
    this.used += deltaBytes;
    return deltaBytes <= 0 || this.used <= this.bytesMax;
  }
}

export interface RpcSocketEvents {
  /** One message after the other; none arrive while reading is paused. */
  onMessage(message: Message): void;
  /** Once, when the connection is gone; with the reason when that was this side's decision. */
  onClose(reason: string | undefined): void;
}

/** Messages over one socket, in both directions, with back-pressure in both. */
export class RpcSocket {
  private readonly parser = new MessageParser();
  private buffered = 0;
  private paused = false;
  private reading = false;
  private closed = false;
  private reason: string | undefined;
  private readonly drainWaiters = new Set<() => void>();
  /** Milliseconds of performance.now(): when something came last. */
  lastReceivedMs = performance.now();

  constructor(
    private readonly socket: Socket,
    private readonly budget: ReceiveBudget,
    private readonly events: RpcSocketEvents,
  ) {
    socket.on('data', (chunk: Buffer) => this.onData(chunk));
    socket.on('drain', () => this.wake());
    // Its close event follows, which is where everything ends.
    socket.on('error', () => undefined);
    socket.on('close', () => this.onClose());
  }

  get isOpen(): boolean {
    return !this.closed && this.reason === undefined;
  }

  get isPaused(): boolean {
    return this.paused;
  }

  /** Whoever produces data should wait for drained(). */
  get congested(): boolean {
    return this.socket.writableLength > CONGESTED_BYTES;
  }

  send(header: MessageHeader, body: Buffer): void {
    if (!this.isOpen) return;
    this.socket.cork();
    this.socket.write(encodeHead(header, body.length));
    if (body.length > 0) this.socket.write(body);
    process.nextTick(() => this.socket.uncork());
    if (this.socket.writableLength > UNSENT_BYTES_MAX) this.close('it does not read its answers');
  }

  /** Resolves when everything was handed to the kernel, or the connection is gone. */
  drained(): Promise<void> {
    if (!this.isOpen || !this.socket.writableNeedDrain) return Promise.resolve();
    return new Promise((resolve) => this.drainWaiters.add(resolve));
  }

  /** No further message is given out, and none is read, until it is called with false. */
  pause(paused: boolean): void {
    if (this.paused === paused) return;
    this.paused = paused;
    if (paused) this.socket.pause();
    else {
      this.socket.resume();
      // Not from within the caller, who may be handling a message.
      setImmediate(() => this.readMessages());
    }
  }

  /** Drops the connection; what was sent may not arrive. */
  close(reason: string): void {
    this.reason ??= reason;
    this.socket.destroy();
  }

  /** Ends the connection after what was sent. */
  end(): void {
    this.socket.end();
  }

  private onData(chunk: Buffer): void {
    this.lastReceivedMs = performance.now();
    this.parser.push(chunk);
    this.readMessages();
  }

  private readMessages(): void {
    if (this.reading) return;
    this.reading = true;
    try {
      while (!this.paused && this.isOpen) {
        const message = this.parser.next();
        if (message === undefined) break;
        this.events.onMessage(message);
      }
      this.account(this.parser.bufferedBytes);
    } catch (error) {
      if (!(error instanceof FramingError)) throw error;
      this.close(error.message);
    } finally {
      this.reading = false;
    }
  }

  private account(bytes: number): void {
    const delta = bytes - this.buffered;
    this.buffered = bytes;
    if (!this.budget.change(delta)) this.close('all connections together hold too many bytes');
  }

  private wake(): void {
    const waiters = [...this.drainWaiters];
    this.drainWaiters.clear();
    for (const resolve of waiters) resolve();
  }

  private onClose(): void {
    if (this.closed) return;
    this.closed = true;
    this.budget.change(-this.buffered);
    this.buffered = 0;
    this.wake();
    this.events.onClose(this.reason);
  }
}
