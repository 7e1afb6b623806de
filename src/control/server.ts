import type { Duplex } from 'node:stream';
import { AssertionError } from '../base/assert.js';
import { AppError, errorKinds } from '../base/errors.js';
import { type Logger, silentLogger } from '../base/log.js';
import { Flag, Result } from '../wire/sheepdog.js';
import type { ControlHandler, ControlProgress } from './api.js';
import { CONTROL_MORE_FLAG, CONTROL_OPCODE, CONTROL_PAYLOAD_BYTES_MAX } from './api.js';
import { ByteQueue, decodePayload, encodePayloadHead } from './frame.js';
import {
  CONTROL_PROTO_VERSION,
  decodeRequestHeader,
  encodeResponseHeader,
  HEADER_BYTES,
  type RequestHeader,
  resultOfUnserved,
} from './sheepdog-header.js';

/**
 * One server-side connection of the sheepdog port. Nothing a client sends makes it grow: lengths are checked before
 * bytes are collected, at most `inFlightMax` calls run, and reading stops while they do or while the client does not
 * take its answers (I-10, I-11). An idle connection costs nothing and stays.
 */
export interface ControlLimits {
  /** Largest payload of a CONTROL request. */
  readonly payloadBytesMax: number;
  readonly jsonBytesMax: number;
  /** Calls at work on one connection; further requests stay in the socket. */
  readonly inFlightMax: number;
  /** Unwanted payload up to this size is read and dropped so that the framing stays right; beyond: disconnect. */
  readonly drainBytesMax: number;
}

export const controlLimits: ControlLimits = {
  payloadBytesMax: CONTROL_PAYLOAD_BYTES_MAX,
  jsonBytesMax: 1024 * 1024,
  inFlightMax: 16,
  drainBytesMax: 16 * 1024 * 1024,
};

export interface ServeOptions extends Partial<ControlLimits> {
  readonly log?: Logger;
  /** Current epoch of the cluster, for the answer's header. */
  readonly epoch?: () => number;
}

export interface ControlConnection {
  /** Resolves when the socket is closed, for whatever reason. */
  readonly closed: Promise<void>;
  /** Calls at work. */
  readonly inFlight: number;
  /** Takes no more requests, answers those at work, then ends the socket. */
  close(): void;
}

/**
 * Serves one connection that starts with a sheepdog header. `firstChunk` is what was already read from `socket`
 * (it may be empty, partial or hold many requests); the socket must have no other reader.
 */
export function serveControl(
  socket: Duplex,
  firstChunk: Uint8Array,
  handler: ControlHandler,
  options: ServeOptions = {},
): ControlConnection {
  const connection = new ServerConnection(socket, handler, options);
  connection.start(Buffer.from(firstChunk.buffer, firstChunk.byteOffset, firstChunk.byteLength));
  return connection;
}

class ServerConnection implements ControlConnection {
  readonly closed: Promise<void>;
  inFlight = 0;
  private readonly received = new ByteQueue();
  private readonly limits: ControlLimits;
  private readonly log: Logger;
  private readonly epoch: () => number;
  /** The header whose payload is being collected. */
  private header: RequestHeader | undefined;
  /** Bytes of an unwanted payload still to be dropped. */
  private dropBytes = 0;
  /** Only falls: reading, then finishing (no more requests), then dead. */
  private state: 'reading' | 'finishing' | 'dead' = 'reading';

  constructor(
    private readonly socket: Duplex,
    private readonly handler: ControlHandler,
    options: ServeOptions,
  ) {
    this.limits = { ...controlLimits, ...options };
    this.log = options.log ?? silentLogger;
    this.epoch = options.epoch ?? (() => 0);
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.state = 'dead';
        resolve();
      });
    });
  }

  start(firstChunk: Buffer): void {
    this.socket.on('error', (error) => this.log.debug({ error: error.message }, 'control connection broke'));
    this.socket.on('data', (chunk: Buffer) => {
      this.received.push(chunk);
      this.advance();
    });
    this.socket.on('end', () => this.close());
    this.socket.on('drain', () => this.advance());
    this.received.push(firstChunk);
    this.advance();
  }

  close(): void {
    if (this.state !== 'reading') return;
    this.state = 'finishing';
    if (this.inFlight === 0) this.finish();
  }

  /** Unread input is thrown away with the socket: a peer that never stops sending must not keep us. */
  private finish(): void {
    this.socket.end(() => this.socket.destroy());
  }

  /** Takes whole requests out of what was received, until something is missing or a limit says wait. */
  private advance(): void {
    while (this.state === 'reading') {
      if (this.mustWait()) break;
      if (!this.step()) break;
    }
    if (this.state === 'reading' && this.mustWait()) this.socket.pause();
    else this.socket.resume();
    // After 'finishing' whatever still arrives is thrown away, so that the peer's writes do not block its reads.
    if (this.state !== 'reading') this.received.drop(this.received.length);
  }

  private mustWait(): boolean {
    return this.inFlight >= this.limits.inFlightMax || this.socket.writableNeedDrain;
  }

  /** One step of the framing; false when more bytes are needed. */
  private step(): boolean {
    if (this.dropBytes > 0) {
      this.dropBytes -= this.received.drop(this.dropBytes);
      return this.dropBytes === 0;
    }
    if (this.header === undefined) {
      const bytes = this.received.take(HEADER_BYTES);
      if (bytes === undefined) return false;
      this.onHeader(decodeRequestHeader(bytes));
      return true;
    }
    const payload = this.received.take(this.header.dataLength);
    if (payload === undefined) return false;
    const header = this.header;
    this.header = undefined;
    this.run(header, payload);
    return true;
  }

  private onHeader(header: RequestHeader): void {
    const refusal = this.refusalOf(header);
    if (refusal === undefined) {
      this.header = header;
      return;
    }
    this.answer(header, refusal, []);
    const payloadBytes = (header.flags & Flag.WRITE) !== 0 ? header.dataLength : 0;
    if (payloadBytes > this.limits.drainBytesMax) this.close();
    else this.dropBytes = payloadBytes;
  }

  /** The result code of a request that is not carried out; undefined for a CONTROL request that may go on. */
  private refusalOf(header: RequestHeader): number | undefined {
    if (header.opcode !== CONTROL_OPCODE) return resultOfUnserved(header);
    if (header.version !== CONTROL_PROTO_VERSION) return Result.VER_MISMATCH;
    const sizeOk = header.dataLength <= this.limits.payloadBytesMax;
    return sizeOk && (header.flags & Flag.WRITE) !== 0 ? undefined : Result.INVALID_PARMS;
  }

  private run(header: RequestHeader, payload: Buffer): void {
    this.inFlight++;
    this.call(header, payload)
      .catch((error: unknown) => this.answerError(header, error))
      .finally(() => {
        this.inFlight--;
        if (this.state === 'finishing' && this.inFlight === 0) this.finish();
        if (this.state !== 'dead') this.advance();
      });
  }

  private async call(header: RequestHeader, payload: Buffer): Promise<void> {
    const { json, blob } = decodePayload(payload, this.limits.jsonBytesMax);
    const request = json as { method?: unknown; params?: unknown } | null;
    if (typeof request !== 'object' || request === null || typeof request.method !== 'string') {
      throw new AppError('invalid', 'a control request needs a method');
    }
    let answered = false;
    const onProgress = (progress: ControlProgress): void => {
      // Progress is advice: a client that does not read loses it, instead of making our queue grow.
      if (answered || this.socket.writableNeedDrain) return;
      this.answer(header, Result.SUCCESS, [encodePayloadHead({ progress })], CONTROL_MORE_FLAG);
    };
    try {
      const answer = await this.handler.call(request.method, request.params ?? {}, blob, onProgress);
      const parts: Uint8Array[] = [encodePayloadHead({ result: answer.result ?? {} })];
      if (answer.blob !== undefined && answer.blob.length > 0) parts.push(answer.blob);
      this.answer(header, Result.SUCCESS, parts);
    } finally {
      answered = true;
    }
  }

  private answerError(header: RequestHeader, error: unknown): void {
    // A broken belief stops the process before it can damage data: it must not end as an answer.
    if (error instanceof AssertionError) {
      setImmediate(() => {
        throw error;
      });
      return;
    }
    const refusal = AppError.from(error);
    if (!(error instanceof AppError)) {
      this.log.error(
        { error: refusal.message, stack: (error as Error | null)?.stack },
        'a control call failed',
      );
    }
    const body = encodePayloadHead({ error: { code: refusal.code, message: refusal.message } });
    this.answer(header, errorKinds[refusal.code].wire, [body]);
  }

  private answer(request: RequestHeader, result: number, parts: Uint8Array[], flags = 0): void {
    if (this.state === 'dead' || this.socket.destroyed || !this.socket.writable) return;
    const dataLength = parts.reduce((sum, part) => sum + part.length, 0);
    const { opcode, id } = request;
    this.socket.cork();
    this.socket.write(encodeResponseHeader({ opcode, flags, epoch: this.epoch(), id, dataLength, result }));
    for (const part of parts) this.socket.write(part);
    // Uncorked at the end of the turn: answers that are ready together leave together.
    process.nextTick(() => this.socket.uncork());
  }
}
