import { connect as connectSocket, type Socket } from 'node:net';
import { ByteQueue } from '../base/byte-queue.js';
import { AppError, isErrorCode } from '../base/errors.js';
import { Flag, Result } from '../wire/sheepdog.js';
import type { ControlMethod, ControlParams, ControlProgress, ControlResult } from './api.js';
import { CONTROL_MORE_FLAG, CONTROL_OPCODE } from './api.js';
import { decodePayload, encodePayloadHead } from './frame.js';
import {
  CONTROL_PROTO_VERSION,
  decodeResponseHeader,
  encodeRequestHeader,
  HEADER_BYTES,
  type ResponseHeader,
} from './sheepdog-header.js';

/** Answers are larger than requests: a listing of many volumes, the index of a large one. */
export const CONTROL_ANSWER_BYTES_MAX = 256 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 5000;

export type ControlAddress =
  | { readonly host: string; readonly port: number }
  /** A unix socket. */
  | { readonly path: string };

export interface CallOptions {
  readonly blob?: Uint8Array;
  readonly onProgress?: (progress: ControlProgress) => void;
  /** Gives up waiting; the call itself may still be carried out. */
  readonly signal?: AbortSignal;
}

export interface ControlAnswer<M extends ControlMethod> {
  readonly result: ControlResult<M>;
  readonly blob: Buffer;
}

interface Pending {
  readonly resolve: (answer: { result: unknown; blob: Buffer }) => void;
  readonly reject: (error: AppError) => void;
  readonly onProgress: ((progress: ControlProgress) => void) | undefined;
}

/** One connection to one sheep. Calls may be pipelined; answers are matched by id. */
export class ControlClient {
  private readonly pending = new Map<number, Pending>();
  private readonly received = new ByteQueue();
  private header: ResponseHeader | undefined;
  private nextId = 1;
  private broken: AppError | undefined;

  private constructor(
    private readonly socket: Socket,
    private readonly remote: string,
  ) {
    socket.on('data', (chunk: Buffer) => this.onData(chunk));
    socket.on('error', (error) => this.fail(`connection to ${remote} broke: ${connectText(error)}`, error));
    socket.on('close', () => this.fail(`connection to ${remote} was closed by the sheep`));
  }

  /**
   * Rejects with AppError 'network' and the original's words: `failed to connect to HOST:PORT: Connection refused`;
   * with 'invalid' when the host name cannot be resolved.
   */
  static connect(address: ControlAddress, options: { timeoutMs?: number } = {}): Promise<ControlClient> {
    const remote = 'path' in address ? address.path : `${address.host}:${address.port}`;
    return new Promise((resolve, reject) => {
      const socket =
        'path' in address ? connectSocket(address.path) : connectSocket(address.port, address.host);
      socket.setNoDelay(true);
      const timer = setTimeout(() => {
        socket.destroy(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' }));
      }, options.timeoutMs ?? CONNECT_TIMEOUT_MS);
      const onError = (error: Error): void => {
        clearTimeout(timer);
        reject(connectError(error, address, remote));
      };
      socket.once('error', onError);
      socket.once('connect', () => {
        clearTimeout(timer);
        socket.removeListener('error', onError);
        resolve(new ControlClient(socket, remote));
      });
    });
  }

  /** Rejects with the sheep's refusal as an AppError, or with 'network' when the connection breaks first. */
  call<M extends ControlMethod>(
    method: M,
    params: ControlParams<M>,
    options: CallOptions = {},
  ): Promise<ControlAnswer<M>> {
    if (this.broken !== undefined) return Promise.reject(this.broken);
    if (options.signal?.aborted) return Promise.reject(abortError(method));
    const id = this.nextId;
    this.nextId = this.nextId === 0xffffffff ? 1 : this.nextId + 1;
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.pending.delete(id);
        reject(abortError(method));
      };
      options.signal?.addEventListener('abort', onAbort, { once: true });
      const settle = (): void => options.signal?.removeEventListener('abort', onAbort);
      this.pending.set(id, {
        resolve: (answer) => {
          settle();
          resolve(answer as ControlAnswer<M>);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
        onProgress: options.onProgress,
      });
      this.send(id, { method, params }, options.blob);
    });
  }

  /** Ends the connection; calls without an answer are rejected. */
  close(): void {
    this.broken ??= new AppError('network', `connection to ${this.remote} is closed`);
    this.failPending(this.broken);
    this.socket.destroy();
  }

  private send(id: number, json: unknown, blob: Uint8Array | undefined): void {
    const head = encodePayloadHead(json);
    const header = encodeRequestHeader({
      version: CONTROL_PROTO_VERSION,
      opcode: CONTROL_OPCODE,
      flags: Flag.WRITE,
      epoch: 0,
      id,
      dataLength: head.length + (blob?.length ?? 0),
    });
    this.socket.cork();
    this.socket.write(Buffer.concat([header, head]));
    if (blob !== undefined && blob.length > 0) this.socket.write(blob);
    this.socket.uncork();
  }

  private onData(chunk: Buffer): void {
    this.received.push(chunk);
    while (this.broken === undefined) {
      if (this.header === undefined) {
        const bytes = this.received.take(HEADER_BYTES);
        if (bytes === undefined) return;
        this.header = decodeResponseHeader(bytes);
        if (this.header.opcode !== CONTROL_OPCODE || this.header.dataLength > CONTROL_ANSWER_BYTES_MAX) {
          this.fail(`${this.remote} does not speak the control protocol`);
          return;
        }
      }
      const payload = this.received.take(this.header.dataLength);
      if (payload === undefined) return;
      const header = this.header;
      this.header = undefined;
      this.onAnswer(header, payload);
    }
  }

  private onAnswer(header: ResponseHeader, payload: Buffer): void {
    // Nobody waits any more for a call that was given up.
    const pending = this.pending.get(header.id);
    if (pending === undefined) return;
    if (payload.length === 0) {
      this.pending.delete(header.id);
      pending.reject(bareRefusal(header.result, this.remote));
      return;
    }
    try {
      const { json, blob } = decodePayload(payload, CONTROL_ANSWER_BYTES_MAX);
      this.deliver(header, pending, json, blob);
    } catch (error) {
      this.fail(`${this.remote} sent an answer that cannot be read`, error);
    }
  }

  private deliver(header: ResponseHeader, pending: Pending, json: unknown, blob: Buffer): void {
    const body = json as {
      result?: unknown;
      progress?: ControlProgress;
      error?: { code: string; message: string };
    };
    if ((header.flags & CONTROL_MORE_FLAG) !== 0) {
      if (body.progress !== undefined) pending.onProgress?.(body.progress);
      return;
    }
    this.pending.delete(header.id);
    if (body.error !== undefined) {
      const code = isErrorCode(body.error.code) ? body.error.code : 'unknown';
      pending.reject(new AppError(code, String(body.error.message)));
    } else {
      pending.resolve({ result: body.result, blob });
    }
  }

  private fail(message: string, cause?: unknown): void {
    if (this.broken !== undefined) return;
    this.broken = new AppError('network', message, { cause });
    this.failPending(this.broken);
    this.socket.destroy();
  }

  private failPending(error: AppError): void {
    const waiting = [...this.pending.values()];
    this.pending.clear();
    for (const pending of waiting) pending.reject(error);
  }
}

/** A refusal without a body: the sheep did not look inside the frame. */
function bareRefusal(result: number, remote: string): AppError {
  if (result === Result.VER_MISMATCH) {
    return new AppError('version', `${remote} speaks another version of the protocol`);
  }
  return new AppError(
    'not-supported',
    `${remote} has no control interface (result 0x${result.toString(16)})`,
  );
}

function abortError(method: string): AppError {
  return new AppError('unknown', `${method} was given up`);
}

/** The words of the C library, which other programs match. */
const errnoTexts: Readonly<Record<string, string>> = {
  EACCES: 'Permission denied',
  ECONNREFUSED: 'Connection refused',
  ECONNRESET: 'Connection reset by peer',
  EHOSTUNREACH: 'No route to host',
  ENETUNREACH: 'Network is unreachable',
  ENOENT: 'No such file or directory',
  ENOTSOCK: 'Socket operation on non-socket',
  EPIPE: 'Broken pipe',
  ETIMEDOUT: 'Connection timed out',
};

function connectText(error: Error): string {
  const inner = error instanceof AggregateError ? (error.errors[0] as Error) : error;
  return errnoTexts[(inner as NodeJS.ErrnoException).code ?? ''] ?? inner.message;
}

function connectError(error: Error, address: ControlAddress, remote: string): AppError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN' || code === 'EAI_FAIL') {
    return new AppError('invalid', `Invalid ip address ${'host' in address ? address.host : remote}`, {
      cause: error,
    });
  }
  return new AppError('network', `failed to connect to ${remote}: ${connectText(error)}`, { cause: error });
}
