import type { Clock } from '../base/clock.js';
import { RESULT_OFFSET } from '../wire/headers.js';
import { Flag, nameOfOpcode, Op } from '../wire/sheepdog.js';
import { type CutFrame, FrameCutter } from './frame-cutter.js';
import type { Room } from './room.js';
import { askAgain, mayBeRepeated } from './treatment.js';

/** Largest payload of either direction: what a sheep takes and gives at most. */
export const PAYLOAD_BYTES_MAX = 128 * 1024 * 1024;

/** First bytes of a connection between sheep (src/net/peer-codec.ts). */
const PEER_START = Buffer.from('SFP');

export interface ConversationLimits {
  /** Requests without an answer; further ones stay with the client. QEMU has a few hundred under way. */
  readonly requestsMax: number;
  /** Their bytes; one request of any allowed size is taken when there is no other. */
  readonly bytesMax: number;
}

export const conversationLimits: ConversationLimits = { requestsMax: 1024, bytesMax: 64 * 1024 * 1024 };

/** What a conversation asks of whoever has the sockets. */
export interface Effects {
  toClient(frame: CutFrame): void;
  toSheep(frame: CutFrame): void;
  /** Close the connection, on which nothing is under way, and connect anew. sheepIsGone() follows. */
  leaveSheep(to: 'here' | 'elsewhere'): void;
  /** Everything of this client's is over. */
  endClient(reason: string): void;
}

export interface ConversationOptions {
  readonly effects: Effects;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly room: Room;
  /** The client is on this host: only then it may send what a sheep takes for its own administrator's calls. */
  readonly isLocal: boolean;
  readonly limits?: ConversationLimits;
}

/** A request that has no answer yet. */
interface Remembered {
  readonly frame: CutFrame;
  readonly opcode: number;
  readonly clientId: number;
  readonly answerBytesMax: number;
  refusedMs: number | undefined;
}

/**
 * What one client has asked and what it has been told, over any number of connections to sheep. Pure: bytes and events
 * in, effects out.
 *
 * Whole frames only: a request goes to a sheep when all of it is here, so what a sheep has of it is all or a torn rest
 * that it never acts on; an answer goes to the client when all of it is here, so a connection may break anywhere. A
 * request is remembered until its answer has come, and sent again on the next connection, in the order of asking.
 * Towards a sheep every request has a number of this connection's own, counted from 0, and the client's number in the
 * answer: so numbers that a client uses twice at a time are no trouble.
 */
export class Conversation {
  private readonly requests: FrameCutter;
  private answers = this.answerCutter();
  /** In the order of asking. */
  private readonly unanswered = new Set<Remembered>();
  private rememberedBytes = 0;
  /** Those that are with the sheep, by their number there. */
  private readonly sent = new Map<number, Remembered>();
  private nextNumber = 0;
  /** 'leaving': it has said "not now"; it gets nothing new, and keeps what it has until that is answered. */
  private sheep: 'away' | 'up' | 'leaving' = 'away';
  private leaveTo: 'here' | 'elsewhere' = 'here';
  /** Connections to sheep there have been. */
  private sheepCount = 0;
  private clientIsDone = false;
  private over = false;
  private isFirst = true;
  private readonly limits: ConversationLimits;

  constructor(private readonly options: ConversationOptions) {
    this.limits = options.limits ?? conversationLimits;
    this.requests = new FrameCutter(
      (header) => this.payloadOfRequest(header),
      (frame) => this.ask(frame),
    );
  }

  /** Nothing more should be read from the client. */
  get isFull(): boolean {
    const { limits, unanswered } = this;
    if (unanswered.size === 0) return false;
    return (
      unanswered.size >= limits.requestsMax ||
      this.rememberedBytes >= limits.bytesMax ||
      // Who has nothing under way is never held up by the others, so this cannot last.
      this.options.room.isExhausted
    );
  }

  get unansweredCount(): number {
    return this.unanswered.size;
  }

  fromClient(chunk: Buffer): void {
    if (this.over || this.clientIsDone) return;
    const broken = this.requests.push(chunk);
    if (broken !== undefined) this.end(broken);
  }

  /** The client will send no more; what it has asked is still answered. */
  clientEnded(): void {
    this.clientIsDone = true;
    this.endIfDone();
  }

  sheepIsUp(): void {
    this.sheep = 'up';
    this.leaveTo = 'here';
    this.sheepCount++;
    this.nextNumber = 0;
    for (const request of this.unanswered) this.send(request);
  }

  fromSheep(chunk: Buffer): void {
    if (this.over) return;
    const broken = this.answers.push(chunk);
    if (broken !== undefined) this.end(broken);
    else this.leaveIfIdle();
  }

  /** The connection is gone: what it has not answered is open again. Half an answer is none. */
  sheepIsGone(): void {
    this.sheep = 'away';
    this.answers = this.answerCutter();
    const unclear = [...this.sent.values()].find(({ opcode }) => !mayBeRepeated(opcode));
    this.sent.clear();
    if (unclear === undefined || this.over) return;
    this.end(`${nameOfOpcode(unclear.opcode)} was under way: whether it was done is not known`);
  }

  /** Gives back what it has of the common room, once it is over. */
  close(): void {
    this.over = true;
    this.options.room.give(this.rememberedBytes);
    this.rememberedBytes = 0;
    this.unanswered.clear();
    this.sent.clear();
  }

  private payloadOfRequest(header: Buffer): number | string {
    const opcode = header[1]!;
    if (this.isFirst && PEER_START.equals(header.subarray(0, PEER_START.length))) {
      return 'this is another sheep: sheep do not talk through a relay';
    }
    this.isFirst = false;
    if (opcode === Op.CONTROL && !this.options.isLocal) return 'control calls are taken from this host only';
    const bytes = (header.readUInt16LE(2) & Flag.WRITE) === 0 ? 0 : header.readUInt32LE(12);
    return bytes <= PAYLOAD_BYTES_MAX ? bytes : `a request with ${bytes} bytes`;
  }

  private ask(frame: CutFrame): void {
    if (this.over) return;
    const header = frame.parts[0]!;
    const opcode = header[1]!;
    const dataLength = header.readUInt32LE(12);
    const request: Remembered = {
      frame,
      opcode,
      clientId: header.readUInt32LE(8),
      answerBytesMax: opcode === Op.CONTROL ? PAYLOAD_BYTES_MAX : Math.min(dataLength, PAYLOAD_BYTES_MAX),
      refusedMs: undefined,
    };
    this.unanswered.add(request);
    this.rememberedBytes += frame.bytes;
    this.options.room.take(frame.bytes);
    if (this.sheep === 'up') this.send(request);
  }

  private send(request: Remembered): void {
    const number = this.nextNumber;
    this.nextNumber = (number + 1) >>> 0;
    this.sent.set(number, request);
    request.frame.parts[0]!.writeUInt32LE(number, 8);
    this.options.effects.toSheep(request.frame);
  }

  private answerCutter(): FrameCutter {
    return new FrameCutter(
      (header) => this.payloadOfAnswer(header),
      (frame) => this.answered(frame),
    );
  }

  private payloadOfAnswer(header: Buffer): number | string {
    const request = this.sent.get(header.readUInt32LE(8));
    if (request === undefined || request.opcode !== header[1]) return 'the sheep answers what nobody asked';
    const bytes = header.readUInt32LE(12);
    return bytes <= request.answerBytesMax ? bytes : 'the sheep answers with more bytes than it may';
  }

  private answered(frame: CutFrame): void {
    if (this.over) return;
    const header = frame.parts[0]!;
    const number = header.readUInt32LE(8);
    const request = this.sent.get(number)!;
    // Only control calls have answers before the last one; those carry a flag.
    const isLast = request.opcode !== Op.CONTROL || header.readUInt16LE(2) === 0;
    if (isLast) this.sent.delete(number);
    if (this.isRefused(request, header.readUInt32LE(RESULT_OFFSET))) {
      this.sheep = 'leaving';
      return;
    }
    header.writeUInt32LE(request.clientId, 8);
    this.options.effects.toClient(frame);
    if (!isLast) return;
    this.unanswered.delete(request);
    this.rememberedBytes -= request.frame.bytes;
    this.options.room.give(request.frame.bytes);
    this.endIfDone();
  }

  private isRefused(request: Remembered, result: number): boolean {
    if (result === 0) return false;
    const nowMs = this.options.clock.nowMs();
    const again = askAgain({
      opcode: request.opcode,
      result,
      waitedMs: nowMs - (request.refusedMs ?? nowMs),
      hasMoved: this.sheepCount > 1,
    });
    if (again === undefined) return false;
    request.refusedMs ??= nowMs;
    if (again === 'elsewhere') this.leaveTo = again;
    return true;
  }

  /** While requests are under way there, the sheep may still do them: sent elsewhere too, they could come last. */
  private leaveIfIdle(): void {
    if (this.sheep !== 'leaving' || this.sent.size > 0 || this.over) return;
    this.options.effects.leaveSheep(this.leaveTo);
  }

  private endIfDone(): void {
    if (this.clientIsDone && this.unanswered.size === 0) this.end('the client has ended');
  }

  private end(reason: string): void {
    if (this.over) return;
    this.close();
    this.options.effects.endClient(reason);
  }
}
