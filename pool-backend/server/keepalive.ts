import type { Clock, Timer } from '../../src/base/clock.js';
import {
  KEEPALIVE_PROGRAM,
  KeepalivePing,
  KeepalivePong,
  type Message,
  MessageStatus,
  MessageType,
  PROTOCOL_VERSION,
} from '../rpc/message.js';
import type { RpcSocket } from './rpc-socket.js';

/** libvirtd's own figures: a silent client is asked every 5 s and dropped after 5 questions. */
const INTERVAL_MS = 5000;
const UNANSWERED_MAX = 5;
const NO_BODY = Buffer.alloc(0);

/**
 * Finds out about clients that are gone without a word. A client whose packets are left unread on purpose is asked too,
 * since any message tells it that the daemon lives, but not dropped: its answer is among what is left unread.
 */
export class Keepalive {
  private timer: Timer | undefined;
  private unanswered = 0;
  private seenMs = 0;

  constructor(
    private readonly socket: RpcSocket,
    private readonly clock: Clock,
  ) {}

  /** From when on the client has said that it answers. */
  start(): void {
    if (this.timer === undefined) this.arm();
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = undefined;
  }

  onMessage({ procedure }: Message): void {
    if (procedure === KeepalivePing) this.send(KeepalivePong);
  }

  private arm(): void {
    this.timer = this.clock.after(INTERVAL_MS, () => this.onTimer());
  }

  private onTimer(): void {
    if (!this.socket.isOpen) return;
    this.arm();
    if (this.socket.isPaused) this.unanswered = 0;
    else if (this.socket.lastReceivedMs !== this.seenMs) {
      this.seenMs = this.socket.lastReceivedMs;
      this.unanswered = 0;
      return;
    } else if (this.unanswered >= UNANSWERED_MAX) {
      this.socket.close('no answer to keepalive');
      return;
    } else this.unanswered++;
    this.send(KeepalivePing);
  }

  private send(procedure: number): void {
    const header = {
      program: KEEPALIVE_PROGRAM,
      version: PROTOCOL_VERSION,
      procedure,
      type: MessageType.event,
      serial: 0,
      status: MessageStatus.ok,
    };
    this.socket.send(header, NO_BODY);
  }
}
