/**
 * A Channel over one connected socket. Messages sent in one turn of the event loop leave in one system call.
 *
 * States, only falling: open, closing (nothing is delivered or accepted any more; what was sent before is still
 * handed to the operating system for a short while), closed.
 */
import type { Socket } from 'node:net';
import { type Clock, systemClock, type Timer } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import { type ByteSink, readInto } from '../base/socket-reads.js';
import type { PeerMessage } from '../wire/peer-message.js';
import { PeerFramer } from './peer-framer.js';
import { SendBatch } from './send-batch.js';
import type { Channel } from './transport.js';

/** A peer that lets this much pile up is as good as dead: the channel breaks (I-11). */
export const QUEUED_BYTES_MAX = 256 * 1024 * 1024;
/** A batch of this size does not wait for the end of the turn. */
const BATCH_BYTES_MAX = 1024 * 1024;
/** How long a closed channel still tries to get rid of what was sent before. */
const LINGER_MS = 1000;
const KEEP_ALIVE_DELAY_MS = 10_000;

type State = 'open' | 'closing' | 'closed';

export class TcpChannel implements Channel, ByteSink {
  readonly remote: string;
  private state: State = 'open';
  private readonly framer = new PeerFramer((message) => this.messageHandler?.(message));
  private readonly batch = new SendBatch();
  private flushDue = false;
  private readonly flushLater = () => this.flush();
  private messageHandler: ((message: PeerMessage) => void) | undefined;
  private closeHandler: ((reason: Error) => void) | undefined;
  private closeReason: Error | undefined;
  private announced = false;
  private lingering: Timer | undefined;
  /** As of the last call of `moved`. */
  private readBefore = 0;
  private drainedBefore = 0;
  private wasQueued = false;

  /** `firstChunk`: bytes that were read from the socket before it came here. No other listener may read it. */
  constructor(
    private readonly socket: Socket,
    private firstChunk: Uint8Array = new Uint8Array(0),
    private readonly clock: Clock = systemClock,
  ) {
    this.remote = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;
    socket.setNoDelay(true);
    // Whoever had the socket before may have wanted a first byte soon; a link between sheep may be idle.
    socket.setTimeout(0);
    socket.setKeepAlive(true, KEEP_ALIVE_DELAY_MS);
    socket.pause();
    socket.on('error', (error) => this.fail('connection to peer failed', error));
    socket.on('end', () => this.fail(this.framer.end() ?? 'closed by the peer'));
    socket.on('close', () => this.socketClosed());
    // What has happened already will not be announced again.
    if (socket.destroyed) clock.defer(() => this.socketClosed());
    else if (socket.readableEnded) clock.defer(() => this.fail('closed by the peer'));
  }

  /** Bytes begin to flow once somebody listens, after the code that set the handler has run to its end. */
  set onMessage(handler: (message: PeerMessage) => void) {
    const first = this.messageHandler === undefined;
    this.messageHandler = handler;
    if (first) queueMicrotask(() => this.startReading());
  }

  get onMessage(): (message: PeerMessage) => void {
    return this.messageHandler ?? (() => {});
  }

  set onClose(handler: (reason: Error) => void) {
    this.closeHandler = handler;
    this.announceClose();
  }

  get onClose(): (reason: Error) => void {
    return this.closeHandler ?? (() => {});
  }

  get queuedBytes(): number {
    return this.batch.bytes + this.socket.writableLength;
  }

  moved(): boolean {
    const { bytesRead, bytesWritten, writableLength } = this.socket;
    const drained = bytesWritten - writableLength;
    // What leaves an empty queue only goes into the kernel's buffers, which a dead peer does not keep from filling.
    const moved = bytesRead !== this.readBefore || (this.wasQueued && drained !== this.drainedBefore);
    this.readBefore = bytesRead;
    this.drainedBefore = drained;
    this.wasQueued = writableLength > 0;
    return moved;
  }

  /** The payload must not change until it has left: large ones are not copied. */
  send(message: PeerMessage): void {
    if (this.state !== 'open') return;
    this.batch.add(message);
    if (this.batch.bytes >= BATCH_BYTES_MAX) {
      this.flush();
    } else if (!this.flushDue) {
      this.flushDue = true;
      this.clock.defer(this.flushLater);
    }
  }

  close(reason: Error = new AppError('network', 'channel closed here')): void {
    if (this.state !== 'open') return;
    this.flush();
    this.shut(reason);
    if (this.socket.destroyed) return;
    this.lingering = this.clock.after(LINGER_MS, () => this.socket.destroy());
    this.socket.destroySoon();
    // Unread bytes must be taken, or the end of the stream is never seen.
    this.socket.resume();
  }

  private startReading(): void {
    if (this.state !== 'open') return;
    const first = this.firstChunk;
    this.firstChunk = new Uint8Array(0);
    if (first.length > 0) this.received(first);
    const held = readInto(this.socket, this);
    if (held === undefined) this.socket.on('data', (chunk) => this.received(chunk));
    else this.received(held);
    this.socket.resume();
  }

  room(): Buffer {
    return this.framer.room();
  }

  filled(bytes: Buffer): void {
    if (this.state === 'open') this.failIf(this.framer.filled(bytes));
  }

  private received(chunk: Uint8Array): void {
    if (this.state === 'open') this.failIf(this.framer.push(chunk));
  }

  private failIf(broken: string | undefined): void {
    if (broken !== undefined) this.fail(broken);
  }

  private flush(): void {
    this.flushDue = false;
    if (this.batch.bytes === 0 || this.socket.destroyed) return;
    const pieces = this.batch.take();
    this.socket.cork();
    for (const piece of pieces) this.socket.write(piece);
    this.socket.uncork();
    if (this.socket.writableLength > QUEUED_BYTES_MAX) this.fail('peer does not take its messages');
  }

  /** A broken stream: nothing that is still queued can matter, so the socket goes at once. */
  private fail(message: string, cause?: Error): void {
    this.shut(new AppError('network', `${this.remote}: ${message}`, cause === undefined ? {} : { cause }));
    this.socket.destroy();
  }

  private socketClosed(): void {
    this.shut(new AppError('network', `${this.remote}: connection closed`));
    this.state = 'closed';
    this.lingering?.cancel();
  }

  private shut(reason: Error): void {
    if (this.state !== 'open') return;
    this.state = 'closing';
    this.framer.stop();
    this.closeReason = reason;
    this.announceClose();
  }

  /** In a microtask, so the handler never runs inside a call that its owner made on this channel; and once. */
  private announceClose(): void {
    if (this.closeReason === undefined || this.closeHandler === undefined || this.announced) return;
    this.announced = true;
    queueMicrotask(() => this.closeHandler!(this.closeReason!));
  }
}

/** A Channel on a socket somebody else accepted; `firstChunk` is everything already read from it. */
export function acceptPeerSocket(socket: Socket, firstChunk: Uint8Array): TcpChannel {
  return new TcpChannel(socket, firstChunk);
}
