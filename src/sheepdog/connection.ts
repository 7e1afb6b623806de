import type { Duplex } from 'node:stream';
import { AssertionError } from '../base/assert.js';
import type { BudgetWaiter, ByteBudget } from '../base/byte-budget.js';
import { ByteQueue } from '../base/byte-queue.js';
import type { Clock } from '../base/clock.js';
import { AppError, errorKinds } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { commonHeader, HEADER_BYTES, RESULT_OFFSET } from '../wire/headers.js';
import { Flag, nameOfOpcode, Result } from '../wire/sheepdog.js';
import { HeldBytes, type Share } from './held-bytes.js';
import { type Answer, type Client, type Operation, type Request, Unanswerable } from './operation.js';
import { beginsWithRepetition, QuietStart } from './quiet-start.js';
import { Stall, type WaitsFor } from './stall.js';

export interface ConnectionLimits {
  /** Requests at work on one connection; further ones stay in the socket. QEMU has a few hundred in flight. */
  readonly inFlightMax: number;
  /** Unwanted payload up to this size is read and dropped, so that the framing stays right; beyond: disconnect. */
  readonly drainBytesMax: number;
}

export const connectionLimits: ConnectionLimits = { inFlightMax: 512, drainBytesMax: 16 * 1024 * 1024 };

/** The head of a request, before its payload is there. */
export interface RequestHead {
  readonly version: number;
  readonly opcode: number;
  readonly flags: number;
  readonly id: number;
  readonly dataLength: number;
}

/** A request from its header on until its answer has left. */
interface Work extends Share {
  readonly head: RequestHead;
  readonly header: Buffer;
  readonly operation: Operation;
}

export interface ConnectionOptions extends ConnectionLimits {
  readonly log: Logger;
  readonly clock: Clock;
  /** Current epoch of the cluster, for the answers' headers. */
  readonly epoch: () => number;
  /** Bytes that requests of all connections may hold. */
  readonly budget: ByteBudget;
  /** What answers this request, or the result code it is refused with. */
  readonly operationOf: (head: RequestHead) => Operation | number;
  /** Bytes that the request takes of the budget until its answer has left. */
  readonly costOf: (head: RequestHead) => number;
}

/**
 * One connection of the sheepdog port: pipelined requests, answered in the order in which they get done. Nothing a
 * client sends makes it grow: lengths are checked before bytes are collected, and reading stops while too much is at
 * work or the client does not take its answers (I-10, I-11). An idle connection costs nothing and stays.
 */
export class Connection implements Client, BudgetWaiter {
  readonly notes = new Map<symbol, unknown>();
  silent = true;
  private readonly received = new ByteQueue();
  private readonly closeListeners: (() => void)[] = [];
  private readonly stall = new Stall();
  /** Rises with every byte that comes, and with every answer that has left. */
  private movedBytes = 0;
  private inFlight = 0;
  /** Answers that the quiet start keeps. */
  private heldBack = 0;
  /** The request whose payload is being collected. */
  private pending: Work | undefined;
  private quiet: QuietStart | undefined;
  private dropBytes = 0;
  /** Nothing is read: something must end first, or the budget has nothing left. */
  private waits = false;
  private readonly bytes: HeldBytes;
  /** Only falls: reading, then settling or finishing (no more requests), then dead. */
  private state: 'reading' | 'settling' | 'finishing' | 'dead' = 'reading';

  constructor(
    private readonly socket: Duplex,
    readonly address: string,
    private readonly options: ConnectionOptions,
  ) {
    this.bytes = new HeldBytes(options.budget, this);
    socket.once('close', () => this.onDead());
    socket.on('error', (error) => options.log.debug({ err: error.message }, 'a connection broke'));
  }

  /** Begins to serve; `firstChunk` is what was already read. The socket must have no other reader. */
  start(firstChunk: Buffer): void {
    this.socket.on('data', (chunk: Buffer) => {
      this.movedBytes += chunk.length;
      this.quiet?.heard();
      this.received.push(chunk);
      this.advance();
    });
    this.socket.on('end', () => this.finish());
    this.socket.on('drain', () => this.advance());
    this.received.push(firstChunk);
    this.advance();
  }

  /** A request is under way, or its answer is kept by the quiet start. */
  get isWorking(): boolean {
    return this.inFlight > 0 || this.heldBack > 0;
  }

  /** For how long the client has kept bytes of the budget without moving; 0 when it is we who are slow. */
  stalledMs(nowMs: number): number {
    return this.stall.look(nowMs, this.waitsFor(), this.movedBytes, unsentBytesOf(this.socket));
  }

  /** From now on is looked for a stall. */
  watchStall(nowMs: number): void {
    this.stall.reset();
    this.stalledMs(nowMs);
  }

  /** A request of its own may be under way in the cluster all the while. */
  private waitsFor(): WaitsFor {
    if (this.bytes.takenBytes === 0) return 'us';
    if (this.bytes.unsentAnswers > 0 || this.socket.writableNeedDrain) return 'reader';
    const collects = this.pending !== undefined && this.pending.takenBytes > 0 && !this.waits;
    return collects ? 'payload' : 'us';
  }

  onClose(listener: () => void): void {
    if (this.state === 'dead') listener();
    else this.closeListeners.push(listener);
  }

  onBudget(): void {
    this.advance();
  }

  drop(reason: string): void {
    this.options.log.info({ address: this.address, reason }, 'a connection is dropped');
    this.socket.destroy();
  }

  /** Takes no more requests and answers those at work, so that somebody else can go on with the socket. */
  settle(): void {
    if (this.state === 'reading') this.state = 'settling';
  }

  /** What was read beyond the last request; undefined while requests are at work or answers have not left. */
  get unread(): Buffer | undefined {
    if (this.state !== 'settling' || this.isWorking || this.socket.writableLength > 0) return undefined;
    // The rest of a payload that nobody wants cannot be told from a request.
    if (this.dropBytes > 0) return undefined;
    const { received, pending } = this;
    const rest = received.take(received.length)!;
    return pending === undefined ? rest : Buffer.concat([pending.header, rest]);
  }

  /** Takes no more requests, answers those at work, then ends. */
  finish(): void {
    if (this.state !== 'reading' && this.state !== 'settling') return;
    this.state = 'finishing';
    this.forgetInput();
    this.endWhenIdle();
  }

  private endWhenIdle(): void {
    if (this.state === 'finishing' && !this.isWorking) this.end();
  }

  /** Unread input is thrown away with the socket: a peer that never stops sending must not keep us. */
  private end(): void {
    this.socket.end(() => this.socket.destroy());
  }

  private onDead(): void {
    this.state = 'dead';
    this.forgetInput();
    this.bytes.onEnd();
    for (const listener of this.closeListeners.splice(0)) listener();
  }

  /** What has come, and is not a request at work, is not wanted any more. */
  private forgetInput(): void {
    const { pending } = this;
    this.pending = undefined;
    this.received.drop(this.received.length);
    this.bytes.onInputEnd(pending);
  }

  /** Takes whole requests out of what was received, until something is missing or a limit says wait. */
  private advance(): void {
    if (this.state === 'dead') return;
    if (this.state === 'settling') {
      this.socket.pause();
      return;
    }
    let wait = false;
    while (this.state === 'reading') {
      wait = this.inFlight >= this.options.inFlightMax || this.socket.writableNeedDrain;
      if (wait) break;
      const step = this.step();
      wait = step === 'wait';
      if (step !== 'on') break;
    }
    this.waits = wait;
    if (this.state === 'reading' && wait) this.socket.pause();
    else this.socket.resume();
    // After 'finishing' whatever still arrives is thrown away, so that the peer's writes do not block its reads.
    if (this.state !== 'reading') this.received.drop(this.received.length);
  }

  /** One step of the framing: 'more' bytes are needed, or 'wait' for the budget. */
  private step(): 'on' | 'more' | 'wait' {
    if (this.dropBytes > 0) {
      this.dropBytes -= this.received.drop(this.dropBytes);
      return this.dropBytes === 0 ? 'on' : 'more';
    }
    if (this.pending === undefined) {
      const header = this.received.take(HEADER_BYTES);
      if (header === undefined) return 'more';
      this.onHeader(header);
      return 'on';
    }
    const { pending } = this;
    // A connection that begins with repetitions must be read until there are no more of them.
    const isUrgent = this.quiet?.isOver === false;
    if (!this.bytes.pay(pending, this.received.length, isUrgent)) return 'wait';
    const payload = this.received.take(pending.payloadBytes);
    if (payload === undefined) return 'more';
    this.pending = undefined;
    this.run(pending, payload);
    return 'on';
  }

  private onHeader(header: Buffer): void {
    const head = commonHeader.decode(header);
    if (this.silent && beginsWithRepetition(head)) this.quiet = new QuietStart(this.options.clock);
    this.silent = false;
    const operation = this.options.operationOf(head);
    const payloadBytes = payloadBytesOf(head);
    if (typeof operation !== 'number') {
      const cost = this.options.costOf(head);
      this.pending = { head, header, operation, cost, payloadBytes, freeBytes: 0, takenBytes: 0 };
      return;
    }
    this.answer(head, { result: operation });
    if (payloadBytes > this.options.drainBytesMax) this.finish();
    else this.dropBytes = payloadBytes;
  }

  private run(work: Work, payload: Buffer): void {
    const { head, header, operation } = work;
    const { opcode, flags, dataLength } = head;
    const send = (answer: Answer) => {
      // Progress is advice: a client that does not read loses it, instead of making our queue grow.
      if (!this.socket.writableNeedDrain) this.answer(head, answer);
    };
    const request: Request = { opcode, flags, dataLength, header, payload, client: this, send };
    this.inFlight++;
    let answered: Answer | Promise<Answer>;
    try {
      answered = operation(request);
    } catch (error) {
      answered = Promise.reject(error);
    }
    if (answered instanceof Promise) {
      answered.then(
        (answer) => this.done(work, answer, true),
        (error: unknown) => this.failed(work, error),
      );
    } else {
      this.done(work, answered, false);
    }
  }

  private done(work: Work, answer: Answer, later: boolean): void {
    this.answer(work.head, answer, work);
    this.inFlight--;
    this.endWhenIdle();
    if (later) this.advance();
  }

  private failed(work: Work, error: unknown): void {
    // A broken belief stops the process before it can damage data: it must not end as an answer.
    if (error instanceof AssertionError) {
      setImmediate(() => {
        throw error;
      });
      return;
    }
    if (error instanceof Unanswerable) {
      this.drop(error.message);
      this.inFlight--;
      this.bytes.giveBack(work);
      return;
    }
    const refusal = AppError.from(error);
    const about = { operation: nameOfOpcode(work.head.opcode), err: refusal.message };
    if (error instanceof AppError) this.options.log.debug(about, 'a request is refused');
    else this.options.log.error({ ...about, stack: (error as Error | null)?.stack }, 'a request failed');
    this.done(work, { result: errorKinds[refusal.code].wire }, true);
  }

  private answer(head: RequestHead, answer: Answer, work?: Work): void {
    if (this.quiet?.isOver) this.quiet = undefined;
    const held = this.quiet?.holds(() => {
      this.heldBack--;
      this.write(head, answer, work);
      this.endWhenIdle();
      if (this.waits) this.advance();
    });
    if (held === true) this.heldBack++;
    else this.write(head, answer, work);
  }

  private write(head: RequestHead, answer: Answer, work?: Work): void {
    if (this.state === 'dead' || this.socket.destroyed || !this.socket.writable) {
      if (work !== undefined) this.bytes.giveBack(work);
      return;
    }
    const { parts, result, dataLength } = this.checked(head, answer);
    const header = Buffer.alloc(HEADER_BYTES);
    answer.header?.copy(header, RESULT_OFFSET + 4, RESULT_OFFSET + 4);
    header[1] = head.opcode;
    header.writeUInt16LE(answer.flags ?? 0, 2);
    header.writeUInt32LE(this.options.epoch(), 4);
    header.writeUInt32LE(head.id, 8);
    header.writeUInt32LE(dataLength, 12);
    header.writeUInt32LE(result, RESULT_OFFSET);
    this.socket.cork();
    this.socket.write(header);
    const left = work === undefined || dataLength === 0 ? undefined : this.leaving(work);
    parts.forEach((part, i) => {
      this.socket.write(part, i === parts.length - 1 ? left : undefined);
    });
    // Uncorked at the end of the turn: answers that are ready together leave together.
    process.nextTick(() => this.socket.uncork());
    // The payload was the request's own, and is done with.
    if (work !== undefined && left === undefined) this.bytes.onDone(work);
  }

  private leaving(work: Work): () => void {
    this.bytes.onUnsent(work);
    return () => {
      this.movedBytes += work.cost;
      this.bytes.onSent(work);
      if (this.waits) this.advance();
    };
  }

  /** Never more bytes than the client has room for (P3); operations of our own say in `flags` when there is more. */
  private checked(
    head: RequestHead,
    answer: Answer,
  ): { parts: Uint8Array[]; result: number; dataLength: number } {
    const { payload, result } = answer;
    const parts = payload === undefined ? [] : payload instanceof Uint8Array ? [payload] : [...payload];
    const dataLength = parts.reduce((sum, part) => sum + part.length, 0);
    const roomBytes = roomBytesOf(head);
    if (dataLength <= roomBytes || answer.flags !== undefined) {
      return { parts: dataLength === 0 ? [] : parts, result, dataLength };
    }
    // The client's mistake: it asks for bytes that it is not going to read.
    if (roomBytes === 0) return { parts: [], result: Result.INVALID_PARMS, dataLength: 0 };
    this.options.log.error(
      { operation: nameOfOpcode(head.opcode), dataLength, room: roomBytes },
      'an answer is longer than the client asked for',
    );
    return { parts: [], result: Result.SYSTEM_ERROR, dataLength: 0 };
  }
}

/** A request has a payload only with the WRITE flag, whatever its opcode (reference, section 1.4). */
function payloadBytesOf(head: RequestHead): number {
  return (head.flags & Flag.WRITE) === 0 ? 0 : head.dataLength;
}

/** A request with a payload of its own gets none back, except with PIGGYBACK (reference, section 1.4). */
function roomBytesOf({ flags, dataLength }: RequestHead): number {
  return (flags & (Flag.WRITE | Flag.PIGGYBACK)) === Flag.WRITE ? 0 : dataLength;
}

/** What the system has not taken of the write in front: Node tells it only here, and an answer may be long. */
function unsentBytesOf(socket: Duplex): number {
  const handle = (socket as { _handle?: { writeQueueSize?: number } | null })._handle;
  return handle?.writeQueueSize ?? 0;
}
