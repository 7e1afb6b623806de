import type { Duplex } from 'node:stream';
import { ByteBudget } from '../base/byte-budget.js';
import type { Clock, Timer } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import type { DeviceProvider } from '../volume/device.js';
import { Connection } from './connection.js';
import { defaultLimits, type NbdLimits } from './limits.js';
import type { NbdObserver } from './observer.js';
import type { NbdTlsOptions } from './tls.js';
import { within } from './within.js';

export interface NbdServerOptions {
  readonly provider: DeviceProvider;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observer?: NbdObserver;
  /** Left out: no TLS. */
  readonly tls?: NbdTlsOptions;
}

export interface NbdConnectionInfo {
  readonly state: 'handshake' | 'transmission' | 'closed';
  readonly exportName: string | undefined;
}

export interface NbdServerStats {
  /** Open now. */
  connections: number;
  handshakes: number;
  /** Since the start. */
  accepted: number;
  /** Closed at once because connectionsMax was reached. */
  refused: number;
  /** Handshakes closed to make room for newer ones. */
  evicted: number;
  /** Connections closed because they held bytes without progress while others waited. */
  stalled: number;
  /** Payload bytes held by requests now. */
  heldBytes: number;
  /** Requests inside the devices now. */
  activeRequests: number;
}

export interface NbdServer {
  /** Serves one client over any duplex stream, from the greeting to the end. The stream becomes the server's. */
  handle(socket: Duplex): void;
  connections(): NbdConnectionInfo[];
  stats(): NbdServerStats;
  /**
   * Answers what is in flight, then ends every connection (QEMU reconnects; an error reply it would hand to the guest)
   * and closes the devices.
   */
  close(): Promise<void>;
}

export function createNbdServer(options: NbdServerOptions & { limits?: Partial<NbdLimits> }): NbdServer {
  return new Server(options, { ...defaultLimits, ...options.limits });
}

class Server implements NbdServer {
  private readonly live = new Set<Connection>();
  /** In the order of arrival: the first is the oldest. */
  private readonly handshaking = new Set<Connection>();
  private readonly counters = { accepted: 0, refused: 0, evicted: 0, stalled: 0 };
  private readonly budget: ByteBudget;
  private readonly finishing = new Set<Promise<void>>();
  private stallTimer: Timer | undefined;
  private closed = false;

  constructor(
    private readonly options: NbdServerOptions,
    private readonly limits: NbdLimits,
  ) {
    this.budget = new ByteBudget(limits.bytesTotalMax, () => this.watchStalls());
  }

  handle(socket: Duplex): void {
    if (this.closed || this.live.size >= this.limits.connectionsMax) {
      this.counters.refused++;
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
    this.counters.accepted++;
    if (this.handshaking.size >= this.limits.handshakesMax) this.evictOldest();
    const connection = new Connection(socket, {
      ...this.options,
      limits: this.limits,
      budget: this.budget,
      onState: (changed) => this.onState(changed),
    });
    if (connection.state === 'closed') return;
    this.live.add(connection);
    this.handshaking.add(connection);
    const finished = connection.finished.finally(() => this.finishing.delete(finished));
    this.finishing.add(finished);
  }

  connections(): NbdConnectionInfo[] {
    return [...this.live].map(({ state, exportName }) => ({ state, exportName }));
  }

  stats(): NbdServerStats {
    const heldBytes = this.budget.takenBytes;
    let activeRequests = 0;
    for (const connection of this.live) activeRequests += connection.activeRequests;
    const { size: connections } = this.live;
    return { connections, handshakes: this.handshaking.size, ...this.counters, heldBytes, activeRequests };
  }

  async close(): Promise<void> {
    this.closed = true;
    this.stallTimer?.cancel();
    const answered = Promise.all([...this.live].map((connection) => connection.finish('server closes')));
    const done = answered.then(() => Promise.all(this.finishing));
    // A backend that never answers must not hold up the daemon's end: requests get one grace, closing another.
    await within(this.options.clock, 2 * this.limits.closeGraceMs, done);
  }

  private onState(connection: Connection): void {
    this.handshaking.delete(connection);
    if (connection.state === 'closed') this.live.delete(connection);
  }

  /** A real client is through its handshake in milliseconds; the oldest idler is the one to go. */
  private evictOldest(): void {
    const oldest = this.handshaking.values().next().value;
    if (oldest === undefined) return;
    this.counters.evicted++;
    this.handshaking.delete(oldest);
    oldest.drop('too many handshakes');
  }

  /** Runs only while someone waits for bytes: whoever holds some and has not moved since the last look is dropped. */
  private watchStalls(): void {
    if (this.stallTimer !== undefined || this.closed) return;
    const before = new Map([...this.live].map((connection) => [connection, connection.transmissionProgress]));
    this.stallTimer = this.options.clock.after(this.limits.stallTimeoutMs, () => {
      this.stallTimer = undefined;
      if (!this.budget.pressed) return;
      for (const [connection, progress] of before) {
        if (connection.transmissionProgress !== progress || !connection.holdsClientBytes) continue;
        this.counters.stalled++;
        connection.drop('stalled while others wait');
      }
      if (this.budget.pressed) this.watchStalls();
    });
  }
}
