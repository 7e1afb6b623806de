import { closeSync } from 'node:fs';
import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import {
  EAGAIN,
  ECONNABORTED,
  EINTR,
  ENODEV,
  ENOENT,
  PARTS_MAX,
  readInto,
  writeParts,
} from './device-calls.js';
import { DeviceWait } from './device-wait.js';
import { errnoOf, FuseError } from './errors.js';
import { negotiate } from './init.js';
import {
  COPIED_BYTES_MAX,
  INTERRUPT_GRACE_MS,
  REQUEST_BYTES_MAX,
  REQUESTS_MAX,
  REQUESTS_PER_TURN_MAX,
  SPARE_BUFFERS_MAX,
  WRITE_BYTES_MAX,
} from './limits.js';
import { type OpName, outHeader, unanswered } from './protocol.js';
import { type Answer, encodeOutHeader } from './replies.js';
import { isMalformed, parseRequest, type Request } from './request.js';

/** Serves one operation. Throws or rejects with FuseError; anything else is EIO, and logged. */
export type Handler = (request: Request) => Answer | Promise<Answer>;
/** An operation that is absent is answered with ENOSYS. INIT and DESTROY are the session's own. */
export type Handlers = Partial<Record<OpName, Handler>>;

export interface SessionOptions {
  readonly fd: number;
  readonly handlers: Handlers;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * What may end early for a program that was interrupted (or killed), when the cluster cannot answer: nothing is
 * changed by these, and nothing is given out. A change that waits is made some time; its program has to wait for
 * that.
 */
const interruptible: ReadonlySet<OpName> = new Set([
  'READ',
  'GETATTR',
  'READDIR',
  'STATFS',
  'LSEEK',
  'FSYNC',
]);

/**
 * One mount: requests in, handlers, answers out, in the order in which they are ready. The device is not read while
 * as many requests or as many bytes of writes wait as the limits allow: the kernel's own queue grows then.
 */
export class Session {
  /** Resolves when the mount is gone, whoever unmounted it. */
  readonly ended: Promise<void>;
  private end: (() => void) | undefined;
  private readonly wait: DeviceWait;
  private readonly spare: Buffer[] = [];
  private readonly header = Buffer.allocUnsafeSlow(outHeader.bytes);
  /** Requests that have no answer yet. */
  private readonly open = new Map<number, OpName>();
  private waiting = 0;
  private waitingBytes = 0;
  private closed = false;

  constructor(private readonly options: SessionOptions) {
    this.wait = new DeviceWait(options.fd);
    this.ended = new Promise((resolve) => {
      this.end = resolve;
    });
  }

  start(): void {
    setImmediate(this.turn);
  }

  /** Stops serving. The kernel ends what waits with ENOTCONN once nobody has the device open. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    closeSync(this.options.fd);
    this.end?.();
  }

  private readonly turn = (): void => {
    if (this.closed) return;
    const full = this.waiting >= REQUESTS_MAX || this.waitingBytes >= WRITE_BYTES_MAX;
    if (this.wait.wait(full)) this.takeSome();
    if (!this.closed) setImmediate(this.turn);
  };

  private takeSome(): void {
    for (let taken = 0; taken < REQUESTS_PER_TURN_MAX; taken++) {
      const buffer = this.spare.pop() ?? Buffer.allocUnsafeSlow(REQUEST_BYTES_MAX);
      const count = readInto(this.options.fd, buffer);
      if (count < 0) {
        this.giveBack(buffer);
        // ENOENT: the request was taken back while it was handed out.
        if (-count === EINTR || -count === ENOENT) continue;
        if (-count !== EAGAIN) this.onDeviceError(-count);
        return;
      }
      this.take(buffer, count);
      if (this.waiting >= REQUESTS_MAX || this.waitingBytes >= WRITE_BYTES_MAX) return;
    }
  }

  private onDeviceError(errno: number): void {
    const unmounted = errno === ENODEV || errno === ECONNABORTED;
    if (!unmounted) this.options.log.error({ errno }, 'the device cannot be read any more');
    this.close();
  }

  private take(buffer: Buffer, count: number): void {
    // A large write keeps the buffer it came in; everything else leaves it to the next request.
    const keeps = count > COPIED_BYTES_MAX;
    const message = keeps ? buffer.subarray(0, count) : Buffer.from(buffer.subarray(0, count));
    if (!keeps) this.giveBack(buffer);
    const request = parseRequest(message);
    const release = () => {
      if (keeps) this.giveBack(buffer);
    };
    if (request === undefined) {
      release();
    } else if (isMalformed(request)) {
      this.options.log.debug(request, 'a request that is not served');
      this.answer(request.unique, new FuseError(request.refusal).errno, undefined);
      release();
    } else this.serve(request, release);
  }

  private serve(request: Request, release: () => void): void {
    const { op, unique } = request;
    this.options.log.debug(
      { op, unique, nodeid: request.nodeid, ...request.body, names: request.names },
      'request',
    );
    if (op === 'INTERRUPT') {
      this.interrupt(request.body.unique!);
      release();
      return;
    }
    const bytes = op === 'WRITE' ? request.payload.length : 0;
    this.waiting++;
    this.waitingBytes += bytes;
    this.open.set(unique, op);
    const settle = (error: unknown, answer: Answer): void => {
      this.waiting--;
      this.waitingBytes -= bytes;
      const interrupted = !this.open.delete(unique);
      if (!unanswered.has(op) && !interrupted) {
        if (error === undefined) this.answer(unique, 0, answer);
        else this.answer(unique, this.errnoFor(request, error), undefined);
      }
      release();
    };
    try {
      const answer = this.handle(request);
      if (answer instanceof Promise) {
        answer.then(
          (value) => settle(undefined, value),
          (error: unknown) => settle(error ?? new FuseError('EIO'), undefined),
        );
      } else settle(undefined, answer);
    } catch (error) {
      settle(error ?? new FuseError('EIO'), undefined);
    }
  }

  /** What it waits for goes on; only nobody is told of its end. */
  private interrupt(unique: number): void {
    const op = this.open.get(unique);
    if (op === undefined || !interruptible.has(op)) return;
    this.options.clock.after(INTERRUPT_GRACE_MS, () => {
      if (this.open.delete(unique)) this.answer(unique, EINTR, undefined);
    });
  }

  private handle(request: Request): Answer | Promise<Answer> {
    const { op } = request;
    if (op === 'INIT') return negotiate(request.body, request.payload);
    if (op === 'DESTROY') return undefined;
    const handler = this.options.handlers[op];
    if (handler === undefined) throw new FuseError('ENOSYS');
    return handler(request);
  }

  private errnoFor(request: Request, error: unknown): number {
    if (!(error instanceof FuseError)) {
      const { op, nodeid } = request;
      this.options.log.error({ err: error, op, nodeid }, 'an operation failed');
    }
    return errnoOf(error);
  }

  private answer(unique: number, errno: number, answer: Answer): void {
    if (this.closed) return;
    const parts = answer === undefined ? [] : answer instanceof Uint8Array ? [answer] : answer;
    const few = parts.length < PARTS_MAX ? parts : [Buffer.concat(parts)];
    let bytes = 0;
    for (const part of few) bytes += part.length;
    encodeOutHeader(this.header, unique, errno, bytes);
    const written = writeParts(this.options.fd, [this.header, ...few]);
    // ENOENT: whoever asked does not wait any more.
    if (written < 0 && -written !== ENOENT) {
      if (-written === ENODEV || -written === ECONNABORTED) this.onDeviceError(-written);
      else this.options.log.error({ errno: -written, bytes }, 'the kernel refused an answer');
    }
  }

  private giveBack(buffer: Buffer): void {
    if (this.spare.length < SPARE_BUFFERS_MAX) this.spare.push(buffer);
  }
}
