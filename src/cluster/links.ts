import type { Clock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { codeOfResult, resultOfCode } from '../net/peer-codec.js';
import type { Channel, PeerAddress, Transport } from '../net/transport.js';
import { emptyMessage, PEER_PROTOCOL_VERSION, type PeerMessage, PeerType } from '../wire/peer-message.js';

/** A reconnect is tried this long after a failure, while requests for the node keep failing at once. */
const RECONNECT_DELAY_MS = 30;
/** A peer says hello at once; whoever does not is no peer. */
const HELLO_DEADLINE_MS = 10_000;
/** Requests waiting for an answer from one node; past it new ones fail with 'again'. */
const PENDING_MAX = 65536;

/** Where a request came from; `closed` when its link is gone and nobody waits for the answer. */
export interface Origin {
  readonly nodeId: string;
  readonly incarnation: string;
  closed: boolean;
}

export type PeerHandler = (message: PeerMessage, origin: Origin) => Promise<PeerMessage | undefined>;

export interface LinksOptions {
  readonly selfId: string;
  /** Present incarnation of this node; links opened by an older one are dropped by the other side. */
  readonly incarnation: () => string;
  /** A format of a cluster: nodes of another one are refused. */
  readonly formatId: string;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly log: Logger;
  readonly addressOf: (nodeId: string) => PeerAddress | undefined;
  /** Nobody listens at this node's address. */
  readonly onRefused: (nodeId: string) => void;
}

interface Pending {
  resolve: (message: PeerMessage) => void;
  reject: (error: Error) => void;
}

/** Requests that this node sends to one other node, over one channel, answers matched by id. */
class Outbound {
  private channel: Channel | undefined;
  private connecting: Promise<Channel> | undefined;
  private abandon: ((reason: Error) => void) | undefined;
  private failedUntilMs = 0;
  private nextId = 1;
  private welcomed = false;
  /** Incarnation of the other node that this link is for, as the epoch says. */
  expects: string | undefined;
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

  private connect(): Promise<Channel> {
    if (this.connecting !== undefined) return this.connecting;
    if (this.options.clock.nowMs() < this.failedUntilMs) {
      return Promise.reject(new AppError('network', `no link to ${this.nodeId}`));
    }
    const attempt = { abandoned: false };
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

  private async open(attempt: { abandoned: boolean }): Promise<Channel> {
    const { transport, addressOf, clock, onRefused } = this.options;
    const address = addressOf(this.nodeId);
    if (address === undefined) throw new AppError('network', `node ${this.nodeId} has no address`);
    let channel: Channel;
    try {
      channel = await transport.connect(address);
    } catch (error) {
      if (!attempt.abandoned) this.failedUntilMs = clock.nowMs() + RECONNECT_DELAY_MS;
      if (isRefused(error)) onRefused(this.nodeId);
      throw AppError.from(error, 'network');
    }
    if (attempt.abandoned) {
      channel.close();
      throw new AppError('network', `the link to ${this.nodeId} is not wanted any more`);
    }
    channel.onMessage = (message) => this.receive(message);
    channel.onClose = (reason) => this.lost(channel, reason);
    this.channel = channel;
    this.welcomed = false;
    try {
      await this.hello(channel);
    } catch (error) {
      // Another sheep has this address now, or another cluster: for who asks, this node cannot be reached yet.
      throw new AppError('network', `${this.nodeId}: ${AppError.from(error).message}`, { cause: error });
    }
    this.welcomed = true;
    return channel;
  }

  private async hello(channel: Channel): Promise<void> {
    const { selfId, incarnation, formatId } = this.options;
    const message = emptyMessage(PeerType.hello);
    const hello: Hello = {
      version: PEER_PROTOCOL_VERSION,
      nodeId: selfId,
      incarnation: incarnation(),
      formatId,
    };
    message.payload = Buffer.from(JSON.stringify({ ...hello, to: this.nodeId }));
    await new Promise<PeerMessage>((resolve, reject) => {
      message.id = 0;
      this.pending.set(0, { resolve, reject });
      channel.send(message);
    }).then(throwIfError);
  }

  private receive(message: PeerMessage): void {
    const waiting = this.pending.get(message.id);
    if (waiting === undefined) return;
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
}

interface Hello {
  version: number;
  nodeId: string;
  incarnation: string;
  formatId: string;
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
      const hello = message.type === PeerType.hello ? parseHello(message.payload) : undefined;
      const refusal = this.refusalOf(hello);
      if (hello === undefined || refusal !== undefined) {
        channel.send(errorAnswer(message, new AppError('version', refusal ?? 'a peer must say hello first')));
        channel.close(new AppError('version', refusal ?? 'no hello'));
        return;
      }
      this.welcome(channel, hello);
      const answer = emptyMessage(PeerType.helloReply);
      answer.id = message.id;
      channel.send(answer);
    };
  }

  private refusalOf(hello: (Hello & { to?: string }) | undefined): string | undefined {
    if (hello === undefined) return 'a peer must say hello first';
    if (hello.version !== PEER_PROTOCOL_VERSION) return `peer protocol ${hello.version} is not spoken here`;
    if (hello.formatId !== this.options.formatId) return 'the peer belongs to another cluster';
    if (hello.to !== this.options.selfId) return 'the peer looks for another node';
    return undefined;
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

/** An answer that carries what went wrong: the code as the result, the text as the payload. */
function errorAnswer(request: PeerMessage, error: AppError): PeerMessage {
  const answer = emptyMessage(request.type + 1);
  answer.id = request.id;
  answer.result = resultOfCode(error.code);
  answer.payload = Buffer.from(error.message);
  return answer;
}

function throwIfError(answer: PeerMessage): PeerMessage {
  if (answer.result === 0) return answer;
  throw new AppError(codeOfResult(answer.result), Buffer.from(answer.payload).toString());
}

function parseHello(payload: Uint8Array): (Hello & { to?: string }) | undefined {
  try {
    const value = JSON.parse(Buffer.from(payload).toString()) as Partial<Hello> & { to?: string };
    if (typeof value.nodeId !== 'string' || typeof value.incarnation !== 'string') return undefined;
    return value as Hello & { to?: string };
  } catch {
    // Not JSON: not one of ours.
    return undefined;
  }
}

function isRefused(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) {
    if ((e as NodeJS.ErrnoException).code === 'ECONNREFUSED') return true;
  }
  return false;
}
