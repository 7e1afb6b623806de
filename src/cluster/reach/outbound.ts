import type { Clock } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Channel, PeerAddress, Transport } from '../../net/transport.js';
import type { PeerMessage } from '../../wire/peer-message.js';
import { helloMessage, throwIfError } from './hello.js';

/** A reconnect is tried this long after a failure, while requests for the node keep failing at once. */
const RECONNECT_DELAY_MS = 30;
/** Requests waiting for an answer from one node; past it new ones fail with 'again'. */
const PENDING_MAX = 65536;

/** Where a node can be reached: on the main network, and on the one for traffic between sheep if it has one. */
export interface PeerAddresses extends PeerAddress {
  readonly ioHost?: string;
  readonly ioPort?: number;
}

export type Network = 'main' | 'io';

export interface LinksOptions {
  readonly selfId: string;
  /** Present incarnation of this node; links opened by an older one are dropped by the other side. */
  readonly incarnation: () => string;
  /** A format of a cluster: nodes of another one are refused. */
  readonly formatId: string;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly log: Logger;
  readonly addressOf: (nodeId: string) => PeerAddresses | undefined;
  /** This node is on the network for traffic between sheep: links go there where the other one is, too. */
  readonly usesIo?: boolean;
  /** Nobody listens at this node's address. */
  readonly onRefused: (nodeId: string) => void;
}

interface Pending {
  resolve: (message: PeerMessage) => void;
  reject: (error: Error) => void;
}

interface Attempt {
  abandoned: boolean;
}

/** Requests that this node sends to one other node, over one channel, answers matched by id. */
export class Outbound {
  private channel: Channel | undefined;
  private connecting: Promise<Channel> | undefined;
  private abandon: ((reason: Error) => void) | undefined;
  private failedUntilMs = 0;
  private nextId = 1;
  private welcomed = false;
  private answers = 0;
  /** Incarnation of the other node that this link is for, as the epoch says. */
  expects: string | undefined;
  /** The network that is used, or tried. */
  network: Network = 'main';
  /** The network for I/O has failed towards this node: the main one is used. */
  ioAvoided = false;
  /** How often that has happened. */
  fallbacks = 0;
  /** Why the next attempt leaves the network for I/O out. */
  private ioTrouble: Error | undefined;
  private readonly pending = new Map<number, Pending>();

  constructor(
    private readonly nodeId: string,
    private readonly options: LinksOptions,
  ) {}

  async request(message: PeerMessage): Promise<PeerMessage> {
    const channel = this.channel ?? (await this.connect());
    if (this.pending.size >= PENDING_MAX) throw new AppError('again', 'too many requests in flight');
    return new Promise((resolve, reject) => {
      const id = this.nextId;
      this.nextId = id === 0xffffffff ? 1 : id + 1;
      message.id = id;
      this.pending.set(id, { resolve, reject });
      channel.send(message);
    });
  }

  /** Sends without expecting an answer; lost when there is no channel. */
  post(message: PeerMessage): void {
    this.channel?.send(message);
  }

  close(reason: Error): void {
    // A machine without power does not even refuse: who waits for a connection must not wait for its time-out.
    this.abandon?.(reason);
    this.channel?.close(reason);
  }

  /** Somebody waits for an answer or for the connection. */
  get isWaiting(): boolean {
    return this.pending.size > 0 || this.connecting !== undefined;
  }

  /** A number that is another one than last time exactly when something has come from the other node since. */
  pulse(): number {
    // What the kernel took says nothing, and what it answers neither: a process that hangs has a kernel that does not.
    if (this.welcomed && this.channel?.moved?.()) this.answers++;
    return this.answers;
  }

  /** What is open or being opened does not answer: it is given up, and the main network tried if it was not that. */
  renew(reason: Error): void {
    if (this.network === 'io') this.ioTrouble = reason;
    this.close(reason);
  }

  /** The network for I/O works again. Requests under way are broken off, which their senders repeat. */
  returnToIo(): void {
    if (!this.ioAvoided) return;
    this.ioAvoided = false;
    this.options.log.info({ node: this.nodeId }, 'the I/O network to this node is used again');
    this.channel?.close(new AppError('network', 'back to the I/O network'));
  }

  private connect(): Promise<Channel> {
    if (this.connecting !== undefined) return this.connecting;
    if (this.options.clock.nowMs() < this.failedUntilMs) {
      return Promise.reject(new AppError('network', `no link to ${this.nodeId}`));
    }
    const attempt: Attempt = { abandoned: false };
    const connecting = new Promise<Channel>((resolve, reject) => {
      this.abandon = (reason) => {
        attempt.abandoned = true;
        this.connected();
        reject(reason);
      };
      this.open(attempt)
        .finally(() => {
          if (!attempt.abandoned) this.connected();
        })
        .then(resolve, reject);
    });
    this.connecting = connecting;
    return connecting;
  }

  private connected(): void {
    this.connecting = undefined;
    this.abandon = undefined;
  }

  private async open(attempt: Attempt): Promise<Channel> {
    const address = this.options.addressOf(this.nodeId);
    if (address === undefined) throw new AppError('network', `node ${this.nodeId} has no address`);
    const { host, port, ioHost, ioPort } = address;
    const wantsIo = this.options.usesIo === true && ioHost !== undefined && !this.ioAvoided;
    let trouble: unknown = this.ioTrouble;
    this.ioTrouble = undefined;
    if (wantsIo && trouble === undefined) {
      const io = { host: ioHost, port: ioPort ?? port };
      const channel = await this.connectOn('io', io, attempt).catch((error) => {
        if (attempt.abandoned) throw error;
        trouble = error;
      });
      if (channel) return this.greet(channel);
    }
    const channel = await this.greet(await this.connectOn('main', { host, port }, attempt));
    // Only now is it known that the network has failed, and not the node.
    if (wantsIo) this.avoidIo(trouble);
    return channel;
  }

  private async connectOn(network: Network, address: PeerAddress, attempt: Attempt): Promise<Channel> {
    const { transport, clock, onRefused } = this.options;
    this.network = network;
    let channel: Channel;
    try {
      channel = await transport.connect(address);
    } catch (error) {
      if (!attempt.abandoned && network === 'main') this.failedUntilMs = clock.nowMs() + RECONNECT_DELAY_MS;
      if (isRefused(error) && network === 'main') onRefused(this.nodeId);
      throw AppError.from(error, 'network');
    }
    if (!attempt.abandoned) return channel;
    channel.close();
    throw new AppError('network', `the link to ${this.nodeId} is not wanted any more`);
  }

  private async greet(channel: Channel): Promise<Channel> {
    channel.onMessage = (message) => this.receive(message);
    channel.onClose = (reason) => this.lost(channel, reason);
    this.channel = channel;
    this.welcomed = false;
    try {
      await this.hello(channel);
    } catch (error) {
      const { message } = AppError.from(error);
      // Somebody else has this address there; one that closes the door is only not ready yet.
      if (this.network === 'io' && AppError.isCode(error, 'version')) this.ioTrouble = error;
      // Another sheep has this address now, or another cluster: for who asks, this node cannot be reached yet.
      throw new AppError('network', `${this.nodeId}: ${message}`, { cause: error });
    }
    this.welcomed = true;
    return channel;
  }

  private async hello(channel: Channel): Promise<void> {
    const { selfId, incarnation, formatId } = this.options;
    const message = helloMessage({ nodeId: selfId, incarnation: incarnation(), formatId, to: this.nodeId });
    await new Promise<PeerMessage>((resolve, reject) => {
      message.id = 0;
      this.pending.set(0, { resolve, reject });
      channel.send(message);
    }).then(throwIfError);
  }

  private receive(message: PeerMessage): void {
    const waiting = this.pending.get(message.id);
    if (waiting === undefined) return;
    this.answers++;
    this.pending.delete(message.id);
    waiting.resolve(message);
  }

  private lost(channel: Channel, reason: Error): void {
    if (this.channel !== channel) return;
    this.channel = undefined;
    this.failedUntilMs = this.options.clock.nowMs() + (this.welcomed ? 0 : RECONNECT_DELAY_MS);
    const error = new AppError('network', `the link to ${this.nodeId} broke: ${reason.message}`, {
      cause: reason,
    });
    const waiting = [...this.pending.values()];
    this.pending.clear();
    for (const w of waiting) w.reject(error);
    // Finding out at once whether the node is gone keeps the stall of a kill -9 short (D-6).
    if (this.welcomed) void this.connect().catch(() => {});
  }

  private avoidIo(reason: unknown): void {
    this.ioAvoided = true;
    this.fallbacks++;
    this.options.log.warn(
      { node: this.nodeId, err: AppError.from(reason).message },
      'the I/O network does not reach this node: the main network is used',
    );
  }
}

function isRefused(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) {
    if ((e as NodeJS.ErrnoException).code === 'ECONNREFUSED') return true;
  }
  return false;
}
