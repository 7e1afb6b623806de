import type { Duplex } from 'node:stream';
import { AssertionError, assert } from '../base/assert.js';
import type { BudgetWaiter, ByteBudget } from '../base/byte-budget.js';
import type { Clock } from '../base/clock.js';
import { AppError, errorKinds } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { type ByteSink, readInto } from '../base/socket-reads.js';
import type { BlockDevice } from '../volume/device.js';
import { allocationOf, decodeStatusPayload } from './block-status.js';
import type { ReplyStyle } from './exports.js';
import type { NbdLimits } from './limits.js';
import type { NbdObserver } from './observer.js';
import { Command, CommandFlag, NbdError, nameOfCommand, nameOfError } from './protocol.js';
import { ReplyWriter } from './reply-writer.js';
import { type NbdRequest, type Refusal, rangeRefusal, refusalOf, type Terms } from './request.js';
import { RequestParser, type RequestSink } from './request-parser.js';
import { readSparse, SPARSE_READ_BYTES_MIN } from './sparse-read.js';

/** What a request that answers with extents may hold at most, as a share of the byte budget. */
const STATUS_WEIGHT_BYTES = 64 * 1024;

export interface TransmissionOptions {
  readonly stream: Duplex;
  readonly device: BlockDevice;
  readonly style: ReplyStyle;
  readonly allocationContext: boolean;
  readonly limits: NbdLimits;
  readonly budget: ByteBudget;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observer: NbdObserver | undefined;
  /** Called once: the client said goodbye and has every reply ('done'), or the connection must be dropped. */
  readonly onEnd: (reason: 'done' | Error) => void;
}

/**
 * The transmission phase of one connection: requests in, device calls, replies out in the order the device finishes.
 * A slot and the payload's bytes are taken before a payload is read and given back when the system has taken the
 * reply, so neither a flood of requests nor a client that does not read its replies makes us grow (I-11).
 */
export class Transmission implements RequestSink, BudgetWaiter, ByteSink {
  /** Rises with every byte received or sent: what tells a slow client from a stalled one. */
  progress = 0;
  private readonly parser: RequestParser;
  private readonly writer: ReplyWriter;
  private readonly terms: { -readonly [K in keyof Terms]: Terms[K] };
  private readonly stopResize: () => void;
  private ended = false;
  private goodbye = false;
  private slots = 0;
  private heldBytes = 0;
  private paused = false;
  private refusal: Refusal | undefined;
  /** Answered in this turn, and not yet handed to the stream. */
  private answeredSlots = 0;
  private answeredBytes = 0;
  private flushScheduled = false;
  /** Handed to the stream and not yet taken by the system. */
  private unsentBatches = 0;
  private turnMs = 0;
  /** Requests inside the device. */
  private deviceCalls = 0;
  private whenIdle: (() => void) | undefined;
  private whenDrained: (() => void) | undefined;

  constructor(private readonly options: TransmissionOptions) {
    const { device, style } = options;
    const { sizeBytes, readOnly } = device.info();
    this.terms = {
      sizeBytes,
      readOnly,
      structured: style !== 'simple',
      extended: style === 'extended',
      allocationContext: options.allocationContext,
      payloadBytesMax: options.limits.payloadBytesMax,
    };
    this.parser = new RequestParser(this, this.terms.extended);
    this.writer = new ReplyWriter(options.stream, style);
    // NBD tells no one about a new size; but requests are checked against what the volume is now.
    this.stopResize = device.onResize((size) => {
      this.terms.sizeBytes = size;
    });
  }

  /** Requests that the device has not answered. */
  get activeRequests(): number {
    return this.deviceCalls;
  }

  /** True when this connection holds bytes that only the client's own progress can free. */
  get holdsClientBytes(): boolean {
    return this.parser.gatheringBytes > 0 || this.unsentBatches > 0;
  }

  start(received: Buffer): void {
    const { stream } = this.options;
    const held = readInto(stream, this);
    if (held === undefined) stream.on('data', this.onData);
    const first = held === undefined || held.length === 0 ? received : Buffer.concat([received, held]);
    if (first.length > 0) this.onData(first);
    if (!this.paused && !this.ended) stream.resume();
  }

  /**
   * Takes no more requests, which the client sends again elsewhere. Resolves when those already in the device are
   * answered and the system has the answers: none is cut in half. What was sent only in part is forgotten.
   */
  drain(): Promise<void> {
    this.parser.stop();
    this.options.stream.off('data', this.onData);
    return new Promise((resolve) => {
      this.whenDrained = resolve;
      this.checkDrained();
    });
  }

  /** Nothing that was taken is without an answer. */
  get drained(): boolean {
    return this.deviceCalls === 0 && this.answeredSlots === 0 && this.unsentBatches === 0;
  }

  private checkDrained(): void {
    if (this.drained) this.whenDrained?.();
  }

  /** Stops answering. Resolves when no request is inside the device any more. */
  stop(): Promise<void> {
    this.halt();
    if (this.deviceCalls === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.whenIdle = resolve;
    });
  }

  onBudget(): void {
    this.continueReading();
  }

  admit(request: NbdRequest): 'take' | 'drain' | 'wait' {
    const { limits, budget } = this.options;
    if (this.slots >= limits.requestsPerConnectionMax) return 'wait';
    const refusal = request.command === Command.DISC ? undefined : refusalOf(request, this.terms);
    // The extended style asks for a hard disconnect here; the compact one can be drained.
    if (this.terms.extended && request.payloadBytes > limits.payloadBytesMax) {
      this.onBroken('payload longer than the maximum');
      return 'wait';
    }
    const weight = refusal === undefined ? weightOf(request) : 0;
    if (this.heldBytes > 0 && this.heldBytes + weight > limits.bytesPerConnectionMax) return 'wait';
    if (!budget.tryTake(weight, this)) return 'wait';
    this.heldBytes += weight;
    this.slots++;
    this.refusal = refusal;
    request.startMs = this.turnMs;
    return refusal === undefined ? 'take' : 'drain';
  }

  onRequest(request: NbdRequest, payload: Buffer | undefined): void {
    const { refusal } = this;
    this.refusal = undefined;
    if (refusal !== undefined) this.refuse(request, refusal, 0);
    else if (request.command === Command.DISC) this.sayGoodbye();
    else void this.execute(request, payload);
  }

  onBroken(reason: string): void {
    this.drop(new Error(reason));
  }

  room(): Buffer {
    return this.parser.room();
  }

  filled(bytes: Buffer): void {
    this.arrived();
    if (!this.parser.filled(bytes)) this.pause();
  }

  private readonly onData = (chunk: Buffer): void => {
    this.arrived();
    if (!this.parser.feed(chunk)) this.pause();
  };

  private arrived(): void {
    this.progress++;
    if (this.options.observer !== undefined) this.turnMs = this.options.clock.nowMs();
  }

  private pause(): void {
    this.paused = true;
    this.options.stream.pause();
  }

  private continueReading(): void {
    if (this.whenDrained !== undefined || !this.paused || this.ended) return;
    if (!this.parser.resume() || this.ended) return;
    this.paused = false;
    this.options.stream.resume();
  }

  /** Runs one request. Never rejects, but for a broken belief, which must stop the process. */
  private async execute(request: NbdRequest, payload: Buffer | undefined): Promise<void> {
    const weight = weightOf(request);
    this.deviceCalls++;
    try {
      const refusal = await this.perform(request, payload);
      if (this.ended) return;
      if (refusal === undefined) this.answered(request, weight, NbdError.NONE);
      else this.refuse(request, refusal, weight);
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      if (!this.ended) this.fail(request, error, weight);
    } finally {
      this.deviceCalls--;
      if (this.deviceCalls === 0) this.whenIdle?.();
      this.checkDrained();
    }
  }

  /** Calls the device and encodes the reply; a refusal is returned, a failure thrown. */
  private async perform(request: NbdRequest, payload: Buffer | undefined): Promise<Refusal | undefined> {
    const { device } = this.options;
    const { offset, length, flags } = request;
    const fua = (flags & CommandFlag.FUA) !== 0;
    switch (request.command) {
      case Command.READ:
        return this.read(request);
      case Command.WRITE:
        // The reply is the promise of I-1: it is encoded only after the device's promise is kept.
        if (payload !== undefined) await device.write(offset, payload, { fua });
        break;
      case Command.FLUSH:
        await device.flush();
        break;
      case Command.TRIM:
        if (length > 0) await device.discard(offset, length, { fua });
        break;
      case Command.WRITE_ZEROES: {
        const mayUnmap = (flags & CommandFlag.NO_HOLE) === 0;
        // Zeros that must stay allocated may have to be written: not fast, and FAST_ZERO wants to hear that at once.
        if (!mayUnmap && (flags & CommandFlag.FAST_ZERO) !== 0) {
          return { error: NbdError.ENOTSUP, message: 'not faster than writing' };
        }
        if (length > 0) await device.writeZeroes(offset, length, { mayUnmap, fua });
        break;
      }
      case Command.BLOCK_STATUS:
        return this.blockStatus(request, payload);
      default:
        // CACHE: a hint, and there is nothing here that could hold what it would fetch.
        break;
    }
    if (!this.ended) this.writer.done(request);
    return undefined;
  }

  private async read(request: NbdRequest): Promise<undefined> {
    const { device } = this.options;
    const { offset, length } = request;
    const sparse = length >= SPARSE_READ_BYTES_MIN && this.terms.structured;
    if (sparse && (request.flags & CommandFlag.DF) === 0) {
      const parts = await readSparse(device, offset, length);
      if (!this.ended) this.writer.parts(request, parts);
      return;
    }
    const data = length > 0 ? await device.read(offset, length) : Buffer.alloc(0);
    assert(data.length === length, 'the device read another length');
    if (!this.ended) this.writer.data(request, data);
  }

  private async blockStatus(request: NbdRequest, payload: Buffer | undefined): Promise<Refusal | undefined> {
    const { device, limits } = this.options;
    const { offset } = request;
    const length = payload === undefined ? request.length : decodeStatusPayload(payload);
    if (length === undefined) return { error: NbdError.EINVAL, message: 'bad BLOCK_STATUS payload' };
    const refusal = rangeRefusal({ offset, length }, this.terms, NbdError.EINVAL);
    if (refusal !== undefined) return refusal;
    const one = (request.flags & CommandFlag.REQ_ONE) !== 0;
    const extents = await allocationOf(device, offset, length, one ? 1 : limits.extentsMax);
    assert(extents.length > 0, 'a block status without extents');
    if (!this.ended) this.writer.blockStatus(request, extents);
    return undefined;
  }

  private fail(request: NbdRequest, error: unknown, weight: number): void {
    const cause = AppError.from(error, 'io');
    // QEMU hands ESHUTDOWN to the guest as an I/O error; a dropped connection it only reconnects.
    if (cause.code === 'shutdown') {
      this.drop(cause);
      return;
    }
    this.options.log.warn({ err: cause, command: nameOfCommand(request.command) }, 'request failed');
    this.refuse(request, { error: errorKinds[cause.code].nbd, message: cause.message }, weight);
  }

  private refuse(request: NbdRequest, refusal: Refusal, weight: number): void {
    this.writer.error(request, refusal.error, refusal.message);
    this.answered(request, weight, refusal.error);
  }

  private answered(request: NbdRequest, weight: number, error: number): void {
    this.answeredSlots++;
    this.answeredBytes += weight;
    if (!this.flushScheduled) {
      this.flushScheduled = true;
      this.options.clock.defer(this.flush);
    }
    const { observer, clock } = this.options;
    if (observer === undefined) return;
    const name = error === NbdError.NONE ? undefined : nameOfError(error);
    const bytes = error === NbdError.NONE ? request.length : 0;
    observer.requestDone(nameOfCommand(request.command), clock.nowMs() - request.startMs, bytes, name);
  }

  private readonly flush = (): void => {
    this.flushScheduled = false;
    if (this.ended) return;
    const slots = this.answeredSlots;
    const bytes = this.answeredBytes;
    this.answeredSlots = this.answeredBytes = 0;
    this.unsentBatches++;
    this.writer.flush((error) => {
      if (error != null || this.ended) return;
      this.unsentBatches--;
      this.progress++;
      this.release(slots, bytes);
      this.checkDrained();
    });
  };

  private release(slots: number, bytes: number): void {
    this.slots -= slots;
    this.heldBytes -= bytes;
    if (bytes > 0) this.options.budget.give(bytes);
    if (this.goodbye) this.finishGoodbye();
    else this.continueReading();
  }

  /** DISC has no reply; what came before it still gets its own. */
  private sayGoodbye(): void {
    this.parser.stop();
    this.slots--;
    this.goodbye = true;
    this.finishGoodbye();
  }

  private finishGoodbye(): void {
    if (this.slots === 0 && !this.ended) this.options.onEnd('done');
  }

  private drop(reason: Error): void {
    if (this.ended) return;
    this.halt();
    this.options.onEnd(reason);
  }

  private halt(): void {
    if (this.ended) return;
    this.ended = true;
    this.parser.stop();
    this.stopResize();
    this.options.stream.off('data', this.onData);
    this.options.budget.forget(this);
    this.options.budget.give(this.heldBytes);
    this.heldBytes = 0;
  }
}

function weightOf(request: NbdRequest): number {
  if (request.command === Command.READ) return request.length;
  if (request.command === Command.BLOCK_STATUS) return STATUS_WEIGHT_BYTES;
  return request.payloadBytes;
}
