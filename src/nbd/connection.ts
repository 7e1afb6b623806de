import type { Duplex } from 'node:stream';
import { AssertionError } from '../base/assert.js';
import type { ByteBudget } from '../base/byte-budget.js';
import type { Timer } from '../base/clock.js';
import type { BlockDevice } from '../volume/device.js';
import { ByteReader, ConnectionEnded } from './byte-reader.js';
import { Handshake, type HandshakeResult } from './handshake.js';
import type { NbdLimits } from './limits.js';
import type { NbdServerOptions } from './server.js';
import { upgradeToTls } from './tls.js';
import { Transmission } from './transmission.js';
import { within } from './within.js';

type Ready = Extract<HandshakeResult, { outcome: 'transmission' }>;

/** Ordered: a connection's state only falls. */
export type ConnectionState = 'handshake' | 'transmission' | 'closed';

/** After the end of the stream was sent: for the client to read it, with the answers before it. */
const LINGER_MS = 500;

export interface ConnectionOptions extends NbdServerOptions {
  readonly limits: NbdLimits;
  readonly budget: ByteBudget;
  readonly onState: (connection: Connection) => void;
}

/** One client from accept to the closing of its device handle. */
export class Connection {
  state: ConnectionState = 'handshake';
  exportName: string | undefined;
  /** Resolves when the device handle is closed and nothing of this connection is left. */
  readonly finished: Promise<void>;
  private stream: Duplex;
  private deadline: Timer | undefined;
  private negotiation: Handshake | undefined;
  private transmission: Transmission | undefined;
  private endReason: Error | undefined;
  /** The stream is left to the client and a timer. */
  private lingering = false;
  private resolveEnd: () => void = () => {};
  private readonly ended = new Promise<void>((resolve) => {
    this.resolveEnd = resolve;
  });

  constructor(
    private readonly socket: Duplex,
    private readonly options: ConnectionOptions,
  ) {
    this.stream = socket;
    // Errors of the stream are followed by its close; there is nothing else to do about them.
    socket.on('error', () => {});
    this.finished = this.run();
  }

  get activeRequests(): number {
    return this.transmission?.activeRequests ?? 0;
  }

  get transmissionProgress(): number {
    return this.transmission?.progress ?? 0;
  }

  get holdsClientBytes(): boolean {
    return this.transmission?.holdsClientBytes ?? false;
  }

  /** Drops the connection at once, without a word to the client. */
  drop(reason: string): void {
    this.endReason ??= new Error(reason);
    this.destroyStreams();
    this.resolveEnd();
  }

  /**
   * Ends the connection in good order: requests at work are answered first, but not waited for longer than `drainMs`.
   * A client between requests finds an ordinary end of the stream.
   */
  async finish(reason: string): Promise<void> {
    const { transmission } = this;
    if (transmission === undefined || this.stream.destroyed) return this.drop(reason);
    const { clock, limits } = this.options;
    await within(clock, limits.drainMs, Promise.race([transmission.drain(), this.ended]));
    this.endReason ??= new Error(reason);
    if (!this.stream.destroyed && transmission.drained) this.linger();
    else this.drop(reason);
    this.resolveEnd();
  }

  /** Closing a socket at once that holds unread requests would tell the client to forget what it has not read yet. */
  private linger(): void {
    const { stream, socket } = this;
    this.lingering = true;
    stream.end();
    stream.resume();
    const timer = this.options.clock.after(LINGER_MS, () => this.destroyStreams());
    stream.once('end', () => this.destroyStreams());
    socket.once('close', () => timer.cancel());
  }

  private destroyStreams(): void {
    this.stream.destroy();
    this.socket.destroy();
  }

  private async run(): Promise<void> {
    const { log } = this.options;
    this.armDeadline();
    try {
      const ready = await this.handshake();
      if (ready !== undefined) await this.serve(ready.result, ready.received);
    } catch (error) {
      // A broken belief stops the process.
      if (error instanceof AssertionError) throw error;
      this.endReason ??= error as Error;
      if (!(error instanceof ConnectionEnded)) log.error({ err: error }, 'connection failed');
    } finally {
      this.deadline?.cancel();
      this.setState('closed');
      if (!this.lingering) this.destroyStreams();
      log.debug({ export: this.exportName, reason: this.endReason?.message }, 'connection closed');
    }
  }

  private armDeadline(): void {
    const { clock, limits } = this.options;
    this.deadline = clock.after(limits.handshakeTimeoutMs, () => {
      if (this.negotiation?.busy && !this.stream.destroyed) this.armDeadline();
      else this.drop('handshake timeout');
    });
  }

  /** Haggles, through TLS when the client asks for it; undefined after a polite ABORT. */
  private async handshake(): Promise<{ result: Ready; received: Buffer } | undefined> {
    const { provider, limits, log, tls } = this.options;
    let reader = new ByteReader(this.stream);
    const common = { provider, limits, log };
    const plain = new Handshake(this.stream, reader, { ...common, tls: tlsPolicy(tls?.mode) });
    this.negotiation = plain;
    let result = await plain.run();
    if (result.outcome === 'tls' && tls !== undefined) {
      // Bytes sent before the handshake are not protected by it; taking them would let anyone inject options.
      if (reader.detach().length > 0) throw new ConnectionEnded('data before the TLS handshake');
      const secure = await upgradeToTls(this.socket, tls.credentials);
      secure.on('error', () => {});
      this.stream = secure;
      reader = new ByteReader(secure);
      const { clientFlags } = plain;
      this.negotiation = new Handshake(secure, reader, { ...common, tls: 'active', clientFlags });
      result = await this.negotiation.run();
    }
    if (result.outcome === 'abort') await this.endStream();
    return result.outcome === 'transmission' ? { result, received: reader.detach() } : undefined;
  }

  private async serve(ready: Ready, received: Buffer): Promise<void> {
    const { device } = ready;
    try {
      this.deadline?.cancel();
      // While the provider was opening the volume, the client or the server may have gone.
      if (this.stream.destroyed) return;
      this.exportName = ready.name;
      this.setState('transmission');
      this.transmission = this.createTransmission(ready);
      this.stream.once('close', this.resolveEnd);
      this.stream.once('end', this.resolveEnd);
      this.transmission.start(received);
      await this.ended;
    } finally {
      await this.closeDevice(device);
    }
  }

  private createTransmission(ready: Ready): Transmission {
    const { limits, budget, clock, log, observer } = this.options;
    const { device, style, allocationContext } = ready;
    return new Transmission({
      stream: this.stream,
      device,
      style,
      allocationContext,
      limits,
      budget,
      clock,
      log,
      observer,
      onEnd: (reason) => {
        if (reason === 'done') void this.endStream().then(this.resolveEnd);
        else this.drop(reason.message);
      },
    });
  }

  /** Lets requests still in the device settle, for a while, then gives the handle up. */
  private async closeDevice(device: BlockDevice): Promise<void> {
    const { clock, limits, log } = this.options;
    this.setState('closed');
    if (!this.lingering) this.stream.destroy();
    if (this.transmission !== undefined) {
      await within(clock, limits.closeGraceMs, this.transmission.stop());
    }
    await device.close().catch((error: unknown) => log.warn({ err: error }, 'closing a device failed'));
  }

  /** A clean end: what is queued leaves, then the stream closes; not longer than the grace time. */
  private async endStream(): Promise<void> {
    const { clock, limits } = this.options;
    if (this.stream.destroyed) return;
    const sent = new Promise<void>((resolve) => {
      this.stream.once('close', resolve);
      this.stream.end(resolve);
    });
    await within(clock, limits.closeGraceMs, sent);
  }

  private setState(state: ConnectionState): void {
    if (this.state === state || this.state === 'closed') return;
    this.state = state;
    this.options.onState(this);
  }
}

function tlsPolicy(mode: 'optional' | 'require' | undefined): 'off' | 'offer' | 'require' {
  if (mode === undefined) return 'off';
  return mode === 'optional' ? 'offer' : 'require';
}
