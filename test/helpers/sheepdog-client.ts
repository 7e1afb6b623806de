/**
 * A raw client of the sheepdog protocol for tests: any header, any payload, any number of requests in flight, answers
 * matched by id. It holds the server to the framing rules with every answer (reference, 1.2 and 1.4): version and
 * flags zero, opcode and id echoed, never more bytes than the request allows. It never reconnects and never repeats.
 */
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { type Frame, Framer } from '../../src/wire/framer.js';
import { HEADER_BYTES, RESULT_OFFSET } from '../../src/wire/headers.js';
import { Flag, nameOfOpcode, nameOfResult, Op } from '../../src/wire/sheepdog.js';

const CONNECT_DEADLINE_MS = 10_000;
const ANSWER_DEADLINE_MS = 20_000;
/** Larger than anything a server may send: the whole inode, and one object of 16 MiB. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
const NO_PAYLOAD = Buffer.alloc(0);
/** Those whose result is no failure only: their answers may carry bytes with any result. */
const answersWithBytes: ReadonlySet<number> = new Set([Op.OIDS_EXIST, Op.STAT_CLUSTER, Op.CONTROL]);

export type Address = NetConnectOpts;

/** One request as it goes on the wire. */
export interface RawRequest {
  readonly opcode: number;
  readonly version?: number;
  readonly flags?: number;
  readonly epoch?: number;
  /** The next number of this connection, when it is left out. */
  readonly id?: number;
  /** The payload's length with WRITE, when it is left out; else 0. */
  readonly dataLength?: number;
  /** A whole header, of which bytes 16 to 47 are used. */
  readonly fields?: Buffer;
  readonly payload?: Buffer;
}

export interface Reply {
  readonly result: number;
  readonly opcode: number;
  readonly id: number;
  readonly epoch: number;
  readonly dataLength: number;
  readonly header: Buffer;
  readonly payload: Buffer;
}

/** The stream is over, or the server broke a rule of the framing. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}

interface Waiting {
  readonly request: RawRequest;
  readonly answerBytesMax: number;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export interface ClientOptions {
  readonly answerDeadlineMs?: number;
  /** Sees every frame that is sent, for a corpus. */
  readonly onSent?: ((frame: Buffer) => void) | undefined;
}

/** The bytes of a request. */
export function encodeRequest(request: RawRequest, id = request.id ?? 0): Buffer {
  const payload = request.payload ?? NO_PAYLOAD;
  const out = Buffer.alloc(HEADER_BYTES + payload.length);
  if (request.fields !== undefined) request.fields.copy(out, 16, 16, HEADER_BYTES);
  out[0] = request.version ?? (request.opcode < 0x80 ? 2 : 0x0a);
  out[1] = request.opcode;
  out.writeUInt16LE(request.flags ?? (payload.length > 0 ? Flag.WRITE : 0), 2);
  out.writeUInt32LE(request.epoch ?? 0, 4);
  out.writeUInt32LE(id, 8);
  out.writeUInt32LE(request.dataLength ?? payload.length, 12);
  payload.copy(out, HEADER_BYTES);
  return out;
}

/** Bytes of payload that an answer to such a header may have at most (reference, 1.4). */
export function answerBytesMax(opcode: number, flags: number, dataLength: number): number {
  // Progress and JSON of the control interface go by rules of their own.
  if (opcode === Op.CONTROL) return ANSWER_BYTES_MAX;
  const writes = (flags & Flag.WRITE) !== 0;
  return writes && (flags & Flag.PIGGYBACK) === 0 ? 0 : dataLength;
}

export function resultOf(frame: { readonly header: Buffer }): number {
  return frame.header.readUInt32LE(RESULT_OFFSET);
}

/** What is wrong with an answer that may carry at most so many bytes; undefined when it is as it must be. */
export function wrongAnswer(frame: Frame, bytesMax: number): string | undefined {
  const text = `${nameOfOpcode(frame.opcode)}: ${frame.header.toString('hex')}`;
  const result = resultOf(frame);
  if (frame.version !== 0) return `an answer of version ${frame.version}: ${text}`;
  if (frame.flags !== 0 && frame.opcode !== Op.CONTROL) return `an answer with flags ${frame.flags}: ${text}`;
  if (frame.dataLength > bytesMax) return `${frame.dataLength} bytes, ${bytesMax} are allowed: ${text}`;
  if (result !== 0 && frame.dataLength > 0 && !answersWithBytes.has(frame.opcode)) {
    return `${frame.dataLength} bytes with ${nameOfResult(result)}: ${text}`;
  }
  return undefined;
}

export class SheepdogClient {
  /** Resolves, with the reason, when the connection is over. */
  readonly closed: Promise<Error>;
  private readonly waiting = new Map<number, Waiting[]>();
  private readonly framer = Framer.forResponses((frame) => this.onAnswer(frame), ANSWER_BYTES_MAX);
  private over: Error | undefined;
  private end: (reason: Error) => void = () => {};
  private nextId = 0;

  private constructor(
    readonly socket: Socket,
    private readonly options: ClientOptions,
  ) {
    this.closed = new Promise((resolve) => {
      this.end = resolve;
    });
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      const wrong = this.framer.push(chunk);
      if (wrong !== undefined) this.fail(wrong);
    });
    socket.on('error', (error) => this.fail(error.message));
    socket.on('close', () => this.fail(this.framer.end() ?? 'the server closed the connection'));
  }

  static async connect(address: Address, options: ClientOptions = {}): Promise<SheepdogClient> {
    const socket = connect(address);
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        socket.destroy();
        reject(
          new ConnectionLost(`no connection to ${JSON.stringify(address)} in ${CONNECT_DEADLINE_MS} ms`),
        );
      }, CONNECT_DEADLINE_MS);
      socket.once('connect', resolve).once('error', reject);
      socket.once('close', () => clearTimeout(timer)).once('connect', () => clearTimeout(timer));
    });
    return new SheepdogClient(socket, options);
  }

  get open(): boolean {
    return this.over === undefined;
  }

  /** Sends one request; resolves with its answer, whatever its result. Rejects when the connection ends before. */
  request(request: RawRequest): Promise<Reply> {
    if (this.over !== undefined) return Promise.reject(this.over);
    const id = request.id ?? this.nextId++;
    const bytes = encodeRequest(request, id);
    this.options.onSent?.(bytes);
    const answer = this.expect(request, id, bytes);
    this.socket.write(bytes);
    return answer;
  }

  /** Bytes as they are; nothing is expected back. */
  send(bytes: Buffer): void {
    if (this.over === undefined) this.socket.write(bytes);
  }

  /** Waits for an answer with this id to a request whose bytes were or will be sent by send(). */
  expect(request: RawRequest, id: number, bytes: Buffer): Promise<Reply> {
    const max = answerBytesMax(request.opcode, bytes.readUInt16LE(2), bytes.readUInt32LE(12));
    return new Promise((resolve, reject) => {
      const deadlineMs = this.options.answerDeadlineMs ?? ANSWER_DEADLINE_MS;
      const what = `${nameOfOpcode(request.opcode)}, id ${id}`;
      const timer = setTimeout(() => this.fail(`${what}: no answer in ${deadlineMs} ms`), deadlineMs);
      const list = this.waiting.get(id) ?? [];
      list.push({ request, answerBytesMax: max, resolve, reject, timer });
      this.waiting.set(id, list);
    });
  }

  close(): void {
    this.fail('closed by the test');
  }

  /** As `dog` closes: the server sees a reset. */
  reset(): void {
    this.socket.resetAndDestroy();
    this.fail('reset by the test');
  }

  private onAnswer(frame: Frame): void {
    const list = this.waiting.get(frame.id);
    const one = list?.find((each) => each.request.opcode === frame.opcode);
    if (list === undefined || one === undefined) {
      this.fail(`an answer nobody asked for: ${frame.header.toString('hex')}`);
      return;
    }
    const wrong = wrongAnswer(frame, one.answerBytesMax);
    if (wrong !== undefined) {
      this.fail(wrong);
      return;
    }
    list.splice(list.indexOf(one), 1);
    if (list.length === 0) this.waiting.delete(frame.id);
    clearTimeout(one.timer);
    const { opcode, id, epoch, dataLength, header, payload } = frame;
    one.resolve({ result: resultOf(frame), opcode, id, epoch, dataLength, header, payload });
  }

  private fail(reason: string): void {
    if (this.over !== undefined) return;
    this.over = new ConnectionLost(reason);
    this.framer.stop();
    this.socket.destroy();
    for (const list of this.waiting.values()) {
      for (const { request, reject, timer } of list) {
        clearTimeout(timer);
        reject(new ConnectionLost(`${nameOfOpcode(request.opcode)}: ${reason}`));
      }
    }
    this.waiting.clear();
    this.end(this.over);
  }
}
