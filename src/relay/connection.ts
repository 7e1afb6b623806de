import { connect, type Socket } from 'node:net';
import type { Clock, Timer } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import { Conversation, type ConversationLimits, type Effects } from './conversation.js';
import type { CutFrame } from './frame-cutter.js';
import type { Room } from './room.js';
import { type SheepAddress, textOfAddress, type Upstreams } from './upstreams.js';

/** Attempts to reach a sheep begin at most this often. */
const RETRY_MS = 250;
/** A host that does not answer at all is given up, for the next one of the list. */
const CONNECT_TIMEOUT_MS = 2000;
/** A host that died without a word is noticed by probes after this silence. */
const KEEP_ALIVE_MS = 30_000;

export interface RelayedOptions {
  readonly upstreams: Upstreams;
  readonly room: Room;
  readonly isLocal: boolean;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits?: ConversationLimits;
}

/**
 * The sockets of one client: its own, which stays, and one to a sheep, which is made anew whenever it breaks. The
 * first is made at once, for a sheep tells by the connections that are silent whose a lock is. There is no deadline
 * for answers: a cluster may have reasons to wait, and a request that is sent elsewhere while its first sheep still
 * has it could be done twice, with other writes between.
 */
export class RelayedConnection implements Effects {
  private readonly conversation: Conversation;
  private sheep: Socket | undefined;
  /** Whose connection that is, or was. */
  private address: SheepAddress;
  private retry: Timer | undefined;
  private lastAttemptMs = Number.NEGATIVE_INFINITY;
  /** Since when nothing answers; told once, however many attempts it takes. */
  private awaySinceMs: number | undefined;
  private state: 'open' | 'ending' | 'closed' = 'open';

  constructor(
    private readonly client: Socket,
    private readonly options: RelayedOptions,
  ) {
    const { upstreams, room, isLocal, clock, limits } = options;
    this.address = upstreams.current;
    this.conversation = new Conversation({ effects: this, room, isLocal, clock, ...(limits && { limits }) });
  }

  start(): void {
    const { client } = this;
    client.setKeepAlive(true, KEEP_ALIVE_MS);
    client.on('data', (chunk: Buffer) => this.onClientData(chunk));
    client.on('end', () => this.conversation.clientEnded());
    client.on('drain', () => this.balance());
    client.on('error', (error) =>
      this.options.log.debug({ err: error.message }, "a client's connection broke"),
    );
    client.once('close', () => this.close());
    this.connectSheep();
  }

  /** Ends both sides. */
  destroy(): void {
    this.client.destroy();
    this.close();
  }

  toClient(frame: CutFrame): void {
    write(this.client, frame);
  }

  toSheep(frame: CutFrame): void {
    write(this.sheep!, frame);
  }

  leaveSheep(to: 'here' | 'elsewhere'): void {
    this.loseSheep('it does not serve now', to);
  }

  endClient(reason: string): void {
    if (this.state !== 'open') return;
    this.state = 'ending';
    this.options.log.debug({ reason }, "a client's connection ends");
    this.dropSheep();
    // What it still sends is thrown away: a client that is blocked by that would not read its last answers.
    this.client.resume();
    this.client.end(() => this.client.destroy());
  }

  private onClientData(chunk: Buffer): void {
    if (this.state !== 'open') return;
    this.conversation.fromClient(chunk);
    this.balance();
  }

  /** Back-pressure, both ways; looked at after everything that may have changed it. */
  private balance(): void {
    if (this.state !== 'open') return;
    const { client, sheep, conversation } = this;
    const clientWaits = conversation.isFull || (sheep?.writableNeedDrain ?? false);
    if (clientWaits) client.pause();
    else if (client.isPaused()) client.resume();
    if (sheep === undefined) return;
    if (client.writableNeedDrain) sheep.pause();
    else if (sheep.isPaused()) sheep.resume();
  }

  private connectSheep(): void {
    this.retry = undefined;
    if (this.state !== 'open') return;
    const { clock, upstreams } = this.options;
    this.address = upstreams.current;
    this.lastAttemptMs = clock.nowMs();
    const socket = connect({ ...this.address, noDelay: true });
    this.sheep = socket;
    let reason = 'the sheep closed the connection';
    const late = clock.after(CONNECT_TIMEOUT_MS, () => socket.destroy(new Error('no answer')));
    socket.once('connect', () => {
      late.cancel();
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      if (this.sheep === socket) this.onSheepUp();
    });
    socket.on('data', (chunk: Buffer) => {
      if (this.sheep !== socket) return;
      this.conversation.fromSheep(chunk);
      this.balance();
    });
    socket.on('drain', () => this.balance());
    socket.on('error', (error) => {
      reason = error.message;
    });
    socket.once('close', () => {
      late.cancel();
      if (this.sheep === socket) this.loseSheep(reason);
    });
  }

  private onSheepUp(): void {
    const { conversation, options } = this;
    if (this.awaySinceMs !== undefined) {
      const awayMs = Math.round(options.clock.nowMs() - this.awaySinceMs);
      const again = conversation.unansweredCount;
      options.log.info({ sheep: textOfAddress(this.address), awayMs, again }, 'connected again');
      this.awaySinceMs = undefined;
    }
    conversation.sheepIsUp();
    this.balance();
  }

  /** Whatever had become of this connection: the next one, at once if the last attempt was not a moment ago. */
  private loseSheep(reason: string, next: 'here' | 'elsewhere' = 'elsewhere'): void {
    const { clock, log, upstreams } = this.options;
    this.dropSheep();
    if (this.awaySinceMs === undefined) {
      this.awaySinceMs = clock.nowMs();
      log.info({ sheep: textOfAddress(this.address), reason }, 'the connection to a sheep is lost');
    }
    if (next === 'elsewhere') upstreams.failed(this.address);
    this.conversation.sheepIsGone();
    if (this.state !== 'open') return;
    const waitMs = Math.max(0, this.lastAttemptMs + RETRY_MS - clock.nowMs());
    this.retry = clock.after(waitMs, () => this.connectSheep());
    this.balance();
  }

  private dropSheep(): void {
    const { sheep } = this;
    this.sheep = undefined;
    sheep?.destroy();
  }

  private close(): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.retry?.cancel();
    this.dropSheep();
    this.conversation.close();
  }
}

/** Frames that are ready in one turn leave together. */
function write(socket: Socket, frame: CutFrame): void {
  if (socket.writableCorked === 0) {
    socket.cork();
    process.nextTick(() => socket.uncork());
  }
  for (const part of frame.parts) socket.write(part);
}
