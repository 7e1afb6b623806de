import type { PeerMessage } from '../wire/peer-message.js';

/**
 * The network seam: ordered, reliable channels of whole messages that break as a whole (what TCP gives). After a
 * break nothing more is delivered on that channel, and messages in flight may or may not have arrived.
 */
export interface Channel {
  /** For logs. */
  readonly remote: string;
  /** Queues the message; it leaves with all others of this turn in one system call. After `close`: ignored. */
  send(message: PeerMessage): void;
  /** Set once, before anything is awaited. */
  onMessage: (message: PeerMessage) => void;
  /** Called once when the channel breaks or is closed by either side; `refused` when nobody listens there. */
  onClose: (reason: Error) => void;
  close(reason?: Error): void;
  /** Bytes queued and not yet taken by the operating system: the basis of back-pressure. */
  readonly queuedBytes: number;
  /**
   * Since the last call the other side has shown life below whole messages: bytes came in, or it took some of those
   * that it was too slow to take. For large messages on slow networks; absent: unknown.
   */
  moved?(): boolean;
}

export interface Transport {
  /** Rejects with AppError 'network'; its cause has code 'ECONNREFUSED' when nobody listens. */
  connect(address: PeerAddress): Promise<Channel>;
  /** Who listens last is given the channels: a cluster that is formatted anew has other links. */
  listen(onChannel: (channel: Channel) => void): void;
  close(): Promise<void>;
}

export interface PeerAddress {
  readonly host: string;
  readonly port: number;
}
