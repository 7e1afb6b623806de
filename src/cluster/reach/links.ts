import { AppError } from '../../base/errors.js';
import type { Channel } from '../../net/transport.js';
import { emptyMessage, type PeerMessage, PeerType } from '../../wire/peer-message.js';
import { errorAnswer, type Hello, helloMessage, readHello, throwIfError } from './hello.js';
import { type LinksOptions, type Network, Outbound } from './outbound.js';

export type { LinksOptions, PeerAddresses } from './outbound.js';

/** A peer says hello at once; whoever does not is no peer. */
const HELLO_DEADLINE_MS = 10_000;
const PING_DEADLINE_MS = 2000;

/** Where a request came from; `closed` when its link is gone and nobody waits for the answer. */
export interface Origin {
  readonly nodeId: string;
  readonly incarnation: string;
  closed: boolean;
}

export type PeerHandler = (message: PeerMessage, origin: Origin) => Promise<PeerMessage | undefined>;

/** How one node is reached. */
export interface LinkState {
  readonly nodeId: string;
  readonly network: Network;
  /** The I/O network does not reach it, so the main one is used; and how often that has begun. */
  readonly ioAvoided: boolean;
  readonly fallbacks: number;
}

/**
 * All links of this node. Per other node only the newest inbound channel counts: when a node says hello on a new one,
 * everything still unread on the old one is void, so a request that its sender has given up and sent again can never
 * be executed after its own repetition.
 */
export class Links {
  private readonly outbound = new Map<string, Outbound>();
  private readonly inbound = new Map<string, { channel: Channel; origin: Origin }>();
  private readonly helloing = new Set<Channel>();

  constructor(
    private readonly options: LinksOptions,
    private readonly handler: PeerHandler,
  ) {
    options.transport.listen((channel) => this.accept(channel));
  }

  /** Rejects with the AppError that the other node answered, or 'network' when the link broke (outcome unknown). */
  async request(nodeId: string, message: PeerMessage): Promise<PeerMessage> {
    return throwIfError(await this.to(nodeId).request(message));
  }

  post(nodeId: string, message: PeerMessage): void {
    this.to(nodeId).post(message);
  }

  /** Drops every outbound link: they are opened again under the present incarnation. */
  resetAll(): void {
    for (const link of this.outbound.values()) link.close(new AppError('network', 'registered anew'));
  }

  /** Only links to this incarnation of the node may live; undefined: to none. Who waits for an answer is told. */
  keepOnly(nodeId: string, incarnation: string | undefined): void {
    // Also for a node nothing was sent to yet: otherwise its first exclusion would go unnoticed by those who wait.
    const link = this.to(nodeId);
    if (link.expects === incarnation) return;
    const first = link.expects === undefined && incarnation !== undefined;
    link.expects = incarnation;
    if (!first) link.close(new AppError('network', `${nodeId} has been excluded or has started anew`));
  }

  close(): void {
    const reason = new AppError('shutdown', 'this sheep stops');
    for (const link of this.outbound.values()) link.close(reason);
    for (const { channel, origin } of this.inbound.values()) {
      origin.closed = true;
      channel.close(reason);
    }
    for (const channel of this.helloing) channel.close(reason);
  }

  /** Another number than last time exactly when something has come from the node since. */
  pulse(nodeId: string): number {
    return this.to(nodeId).pulse();
  }

  /** Somebody waits for an answer of the node, or for the link. */
  isWaiting(nodeId: string): boolean {
    return this.to(nodeId).isWaiting;
  }

  /** Gives up a link that does not answer; the next one takes the main network if this was on the other one. */
  renew(nodeId: string): void {
    this.to(nodeId).renew(new AppError('network', `${nodeId} does not answer`));
  }

  /** Whether the node answers on the I/O network, which its link does not use at present. */
  async answersOnIo(nodeId: string): Promise<boolean> {
    const { addressOf, transport, selfId, incarnation, formatId } = this.options;
    const address = addressOf(nodeId);
    if (address?.ioHost === undefined) return false;
    let channel: Channel;
    try {
      channel = await transport.connect({ host: address.ioHost, port: address.ioPort ?? address.port });
    } catch {
      return false;
    }
    const hello = { nodeId: selfId, incarnation: incarnation(), formatId, to: nodeId };
    return new Promise((resolve) => {
      const timer = this.options.clock.after(PING_DEADLINE_MS, () => channel.close());
      channel.onMessage = (answer) => {
        resolve(answer.result === 0);
        channel.close();
      };
      channel.onClose = () => {
        timer.cancel();
        resolve(false);
      };
      channel.send(helloMessage(hello, PeerType.ping));
    });
  }

  returnToIo(nodeId: string): void {
    this.to(nodeId).returnToIo();
  }

  stateOf(nodeId: string): LinkState {
    const { network, ioAvoided, fallbacks } = this.to(nodeId);
    return { nodeId, network, ioAvoided, fallbacks };
  }

  /** Of all that were used so far. */
  states(): LinkState[] {
    return [...this.outbound.keys()].map((nodeId) => this.stateOf(nodeId));
  }

  networkOf(nodeId: string): Network {
    return this.to(nodeId).network;
  }

  private to(nodeId: string): Outbound {
    let link = this.outbound.get(nodeId);
    if (link === undefined) {
      link = new Outbound(nodeId, this.options);
      this.outbound.set(nodeId, link);
    }
    return link;
  }

  private accept(channel: Channel): void {
    this.helloing.add(channel);
    const timer = this.options.clock.after(HELLO_DEADLINE_MS, () => {
      if (this.helloing.has(channel)) channel.close(new AppError('network', 'no hello in time'));
    });
    channel.onClose = () => {
      timer.cancel();
      this.helloing.delete(channel);
    };
    channel.onMessage = (message) => {
      timer.cancel();
      this.helloing.delete(channel);
      const isFirst = message.type === PeerType.hello || message.type === PeerType.ping;
      const hello = isFirst
        ? readHello(message, this.options)
        : new AppError('version', 'a peer must say hello first');
      if (hello instanceof AppError) {
        channel.send(errorAnswer(message, hello));
        channel.close(hello);
        return;
      }
      if (message.type === PeerType.hello) this.welcome(channel, hello);
      const answer = emptyMessage(message.type + 1);
      answer.id = message.id;
      channel.send(answer);
      if (message.type === PeerType.ping) channel.close(new AppError('network', 'a ping only'));
    };
  }

  private welcome(channel: Channel, hello: Hello): void {
    const old = this.inbound.get(hello.nodeId);
    if (old !== undefined) {
      old.origin.closed = true;
      old.channel.onMessage = () => {};
      old.channel.close(new AppError('network', 'replaced by a newer link'));
    }
    const origin: Origin = { nodeId: hello.nodeId, incarnation: hello.incarnation, closed: false };
    this.inbound.set(hello.nodeId, { channel, origin });
    channel.onClose = () => {
      origin.closed = true;
      if (this.inbound.get(hello.nodeId)?.channel === channel) this.inbound.delete(hello.nodeId);
    };
    channel.onMessage = (message) => this.serve(channel, message, origin);
  }

  private serve(channel: Channel, message: PeerMessage, origin: Origin): void {
    if (origin.closed) return;
    this.handler(message, origin).then(
      (answer) => {
        if (answer === undefined) return;
        answer.id = message.id;
        channel.send(answer);
      },
      (error) => channel.send(errorAnswer(message, AppError.from(error))),
    );
  }
}
