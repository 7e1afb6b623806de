/**
 * A simulated network: Transport for every node of a simulated cluster, with delays, breaks, partitions and deaths.
 *
 * What it models, honestly: channels are TCP connections. Inside one channel messages keep their order and none is
 * lost as long as it lives; so a "dropped message" exists only as a channel that breaks (what was in flight is lost
 * from a random point on, independently in each direction), and "reordering" only as different delays on different
 * channels. In particular the messages that a broken or closed channel still carries may arrive long after the
 * sender has reconnected and said more on a new channel: receivers must know which link is the newest.
 *
 *  - A partition (one direction or both) delays: what was sent waits, and arrives after the partition heals, as with
 *    TCP's retransmission. Connecting through one hangs, then fails.
 *  - kill -9: the kernel closes the dead process's connections, the others hear of it soon; connecting is refused.
 *  - A power cut (silent): nobody hears anything; connecting hangs; after the machine is back, whoever still speaks
 *    to the old connection gets it reset.
 *  - A frozen process (its NodeClock is frozen) still accepts connections, as a kernel does, but answers nothing.
 */
import { AppError, type ErrorCode } from '../../src/base/errors.js';
import type { SeededRandom } from '../../src/base/random.js';
import type { Channel, PeerAddress, Transport } from '../../src/net/transport.js';
import type { PeerMessage } from '../../src/wire/peer-message.js';
import { codeOfResult } from '../../src/wire/peer-result.js';
import type { NodeClock, SimClock } from './sim-clock.js';
import { checkFields } from './sim-message.js';

const CONNECT_RETRY_MS = 100;
const CONNECT_TIMEOUT_MS = 2000;
/** What the two kernels take without the sender noticing. */
const SOCKET_BUFFER_BYTES = 64 * 1024;
const HEADER_BYTES = 72;
const NO_BYTES = new Uint8Array(0);

export interface SimNetworkOptions {
  clock: SimClock;
  random: SeededRandom;
  /** Probability that a message is slow, and how slow at most. */
  slowChance?: number;
  slowMs?: number;
  trace?: (line: string) => void;
}

interface Host {
  readonly name: string;
  readonly address: PeerAddress;
  readonly clock: NodeClock;
  readonly ends: Set<End>;
  listener: ((channel: Channel) => void) | undefined;
}

export class SimNetwork {
  readonly options: Required<SimNetworkOptions>;
  /** Messages delivered and channels broken, for coverage. */
  readonly counters = { delivered: 0, lateAfterReconnect: 0, lostInFlight: 0, resets: 0 };
  /** Answers that said no, by the code of the refusal. */
  readonly refusals: Partial<Record<ErrorCode, number>> = {};
  private readonly hosts = new Map<string, Host>();
  /** Addresses of machines without power. */
  private readonly off = new Set<string>();
  private readonly blocked = new Set<string>();
  private readonly ends = new Set<End>();
  private nextChannel = 1;
  private breakArmed = false;

  constructor(options: SimNetworkOptions) {
    this.options = { slowChance: 0.01, slowMs: 20, trace: () => {}, ...options };
  }

  /** The transport for one life of one node. The node's clock decides what still reaches it. */
  transportFor(name: string, address: PeerAddress, clock: NodeClock): Transport {
    const host: Host = { name, address, clock, ends: new Set(), listener: undefined };
    this.hosts.set(keyOf(address), host);
    this.off.delete(keyOf(address));
    this.resetGhostsOf(name);
    return {
      connect: (to) => this.connect(host, to),
      listen: (onChannel) => {
        host.listener = onChannel;
      },
      close: async () => {
        host.listener = undefined;
        for (const end of [...host.ends]) end.close();
      },
    };
  }

  /** The process (or with `silent` the machine) dies. Its NodeClock has to be killed as well, by the caller. */
  kill(name: string, options: { silent?: boolean } = {}): void {
    for (const host of this.hosts.values()) {
      if (host.name !== name) continue;
      host.listener = undefined;
      if (options.silent) this.off.add(keyOf(host.address));
      this.hosts.delete(keyOf(host.address));
      for (const end of [...host.ends]) end.die(options.silent === true);
    }
  }

  /** Blocks or unblocks one direction. */
  setBlocked(from: string, to: string, blocked: boolean): void {
    if (blocked) this.blocked.add(`${from}>${to}`);
    else this.blocked.delete(`${from}>${to}`);
    if (!blocked) for (const end of this.ends) if (end.from.name === from) end.retransmit();
  }

  healAll(): void {
    this.blocked.clear();
    for (const end of this.ends) end.retransmit();
  }

  get isCut(): boolean {
    return this.blocked.size > 0;
  }

  isBlocked(from: string, to: string): boolean {
    return this.blocked.has(`${from}>${to}`);
  }

  /** Breaks one random living channel, now; returns its name. */
  breakOne(): string | undefined {
    const living = [...this.ends].filter((end) => !end.closed && !end.peer.closed);
    if (living.length === 0) return undefined;
    return this.breakChannelOf(this.options.random.pick(living));
  }

  /** Breaks the channel of the next message that is sent, while that is in flight or soon after. */
  breakNextUsed(): void {
    this.breakArmed = true;
  }

  /** For End. */
  onSend(end: End): void {
    if (!this.breakArmed) return;
    this.breakArmed = false;
    this.options.clock.after(this.options.random.below(600) / 1000, () => {
      if (!end.closed && !end.peer.closed) this.breakChannelOf(end);
    });
  }

  private breakChannelOf(end: End): string {
    this.options.trace(`channel ${end.label} breaks`);
    this.counters.resets++;
    end.reset();
    end.peer.reset();
    return end.label;
  }

  delayMs(): number {
    const { random, slowChance, slowMs } = this.options;
    if (random.chance(slowChance)) return (random.below(1000) / 1000) * slowMs;
    return 0.05 + random.below(random.chance(0.1) ? 2000 : 300) / 1000;
  }

  private connect(from: Host, address: PeerAddress): Promise<Channel> {
    const { clock } = this.options;
    const deadlineMs = clock.nowMs() + CONNECT_TIMEOUT_MS;
    return new Promise((resolve, reject) => {
      const refuse = (code: string): void => {
        const cause = Object.assign(new Error(`connect ${code} ${keyOf(address)}`), { code });
        const answer = new AppError('network', cause.message, { cause });
        this.reach(from, this.delayMs(), () => reject(answer));
      };
      const attempt = (): void => {
        if (from.clock.dead) return;
        const to = this.hosts.get(keyOf(address));
        const unreachable = to
          ? this.isBlocked(from.name, to.name) || this.isBlocked(to.name, from.name)
          : this.off.has(keyOf(address));
        if (unreachable) {
          if (clock.nowMs() >= deadlineMs) refuse('ETIMEDOUT');
          else clock.after(CONNECT_RETRY_MS, attempt);
        } else if (!to?.listener || to.clock.dead) refuse('ECONNREFUSED');
        else this.establish(from, to, resolve);
      };
      clock.after(this.delayMs(), attempt);
    });
  }

  private establish(from: Host, to: Host, resolve: (channel: Channel) => void): void {
    const number = this.nextChannel++;
    const near = new End(this, from, to, number);
    const far = new End(this, to, from, number);
    near.peer = far;
    far.peer = near;
    for (const end of [near, far]) {
      this.ends.add(end);
      end.from.ends.add(end);
    }
    const delayMs = this.delayMs();
    // What the acceptor says at once must not overtake the answer to connect.
    far.openMs = this.options.clock.nowMs() + delayMs;
    far.lastArrivalMs = far.openMs;
    this.reach(from, delayMs, () => resolve(near));
    this.reach(to, 0, () => {
      if (to.listener) to.listener(far);
      else far.close();
    });
  }

  private resetGhostsOf(name: string): void {
    for (const end of this.ends) if (end.to.name === name && end.peer.ghost) end.peer.resetGhost();
  }

  /** For End. Runs in the node after a delay of the world's, which the node's own clock does not bend. */
  reach(host: Host, delayMs: number, run: () => void): void {
    if (!host.clock.dead) this.options.clock.schedule(this.options.clock.nowMs() + delayMs, run, host.clock);
  }

  /** For End. */
  isOff(address: PeerAddress): boolean {
    return this.off.has(keyOf(address));
  }

  /** For End. */
  forget(end: End): void {
    this.ends.delete(end);
    end.from.ends.delete(end);
  }
}

interface InFlight {
  atMs: number;
  /** Undefined: the end of the stream. */
  message: PeerMessage | undefined;
  reason?: Error;
}

/** One side of a channel, with the pipe of what it has sent and the other side has not received. */
class End implements Channel {
  onMessage: (message: PeerMessage) => void = () => {};
  onClose: (reason: Error) => void = () => {};
  peer!: End;
  /** This side sees it as closed. */
  closed = false;
  /** The machine lost its power: this side is gone without a word. */
  ghost = false;
  /** Nothing, not even the end, arrives before the other side knows that the channel is open. */
  openMs = 0;
  lastArrivalMs = 0;
  queuedBytesTotal = 0;
  private broken = false;
  private pumping = false;
  private readonly pipe: InFlight[] = [];

  constructor(
    private readonly net: SimNetwork,
    readonly from: Host,
    readonly to: Host,
    readonly number: number,
  ) {}

  get remote(): string {
    return keyOf(this.to.address);
  }

  get label(): string {
    return `${this.from.name}-${this.to.name}#${this.number}`;
  }

  get queuedBytes(): number {
    return Math.max(0, this.queuedBytesTotal - SOCKET_BUFFER_BYTES);
  }

  send(message: PeerMessage): void {
    if (this.closed) return;
    checkFields(message);
    if (this.broken) return;
    // Copied now, as a socket would: who changes its buffer after sending must not change what arrives.
    const payload = message.payload.length === 0 ? NO_BYTES : Buffer.from(message.payload);
    this.queuedBytesTotal += HEADER_BYTES + payload.length;
    this.enqueue({ atMs: 0, message: { ...message, payload } }, this.net.delayMs());
    this.net.onSend(this);
    if (this.peer.ghost && !this.net.isOff(this.to.address)) this.peer.resetGhost();
  }

  close(reason: Error = new AppError('network', 'closed')): void {
    if (this.closed) return;
    this.enqueue({ atMs: 0, message: undefined, reason: new Error('closed by the other side') }, 0.1);
    this.finish(reason);
  }

  /** The connection is reset: what is in flight from here is lost from a random point; both hear of it, sometime. */
  reset(): void {
    const { random } = this.net.options;
    this.broken = true;
    this.cutPipe();
    const lingerMs = random.chance(0.2) ? random.below(1500) : random.below(2000) / 1000;
    this.delayRest(lingerMs);
    this.enqueue({ atMs: 0, message: undefined, reason: new Error('connection reset') }, lingerMs);
  }

  /** The process behind this side is dead. */
  die(silent: boolean): void {
    this.closed = true;
    this.cutPipe();
    this.ghost = silent;
    this.from.ends.delete(this);
    if (!silent) this.enqueue({ atMs: 0, message: undefined, reason: new Error('connection reset') }, 0.2);
    this.forgetIfBothClosed();
  }

  /** The machine of this side is back, and what the other side says meets a kernel that knows no such connection. */
  resetGhost(): void {
    if (!this.ghost || this.peer.pipe.length === 0) return;
    this.ghost = false;
    this.enqueue({ atMs: 0, message: undefined, reason: new Error('connection reset') }, this.net.delayMs());
  }

  retransmit(): void {
    if (this.pipe.length > 0) this.pump(this.net.delayMs());
  }

  private enqueue(item: InFlight, delayMs: number): void {
    this.lastArrivalMs = Math.max(this.lastArrivalMs, this.net.options.clock.nowMs() + delayMs);
    item.atMs = this.lastArrivalMs;
    this.pipe.push(item);
    if (!this.pumping) this.pump(item.atMs - this.net.options.clock.nowMs());
  }

  private pump(delayMs: number): void {
    if (this.pumping || this.to.clock.dead) return;
    this.pumping = true;
    // The world's rate, not the receiver's: drift of a clock does not bend the network.
    this.to.clock.world.schedule(
      this.net.options.clock.nowMs() + delayMs,
      () => this.deliver(),
      this.to.clock,
    );
  }

  /** Hands over everything that is due in one turn, as one read of a socket would. */
  private deliver(): void {
    this.pumping = false;
    if (this.net.isBlocked(this.from.name, this.to.name)) return;
    const now = this.net.options.clock.nowMs();
    while (this.pipe.length > 0 && this.pipe[0]!.atMs <= now + 1e-9) {
      const item = this.pipe.shift()!;
      if (this.peer.closed) {
        this.pipe.length = 0;
        return;
      }
      if (!item.message) {
        this.peer.finish(item.reason!);
        return;
      }
      this.queuedBytesTotal -= HEADER_BYTES + item.message.payload.length;
      this.count(item.message);
      this.peer.onMessage(item.message);
    }
    const next = this.pipe[0];
    if (next) this.pump(next.atMs - now);
  }

  private count(message: PeerMessage): void {
    const { counters, refusals } = this.net;
    counters.delivered++;
    if (message.result !== 0) {
      const code = codeOfResult(message.result);
      refusals[code] = (refusals[code] ?? 0) + 1;
    }
    if (!this.broken && !this.closed) return;
    for (const end of this.from.ends) {
      if (end.to.name === this.to.name && end.number > this.number) {
        counters.lateAfterReconnect++;
        return;
      }
    }
  }

  private finish(reason: Error): void {
    if (this.closed) return;
    this.closed = true;
    this.from.clock.defer(() => this.onClose(reason));
    this.forgetIfBothClosed();
  }

  private forgetIfBothClosed(): void {
    if (!this.closed || !this.peer.closed) return;
    this.net.forget(this);
    this.net.forget(this.peer);
  }

  private cutPipe(): void {
    const keep = this.net.options.random.below(this.pipe.length + 1);
    this.net.counters.lostInFlight += this.pipe.length - keep;
    for (const lost of this.pipe.splice(keep)) {
      if (lost.message) this.queuedBytesTotal -= HEADER_BYTES + lost.message.payload.length;
    }
    this.lastArrivalMs = this.pipe.at(-1)?.atMs ?? this.openMs;
  }

  private delayRest(byMs: number): void {
    for (const item of this.pipe) item.atMs += byMs;
    this.lastArrivalMs = this.pipe.at(-1)?.atMs ?? this.openMs;
  }
}

function keyOf(address: PeerAddress): string {
  return `${address.host}:${address.port}`;
}
