/** Sends one stream on a connection of its own, in its manner, and holds every answer to the rules. */
import { connect, type Socket } from 'node:net';
import { sleep, systemClock } from '../../src/base/clock.js';
import { CONTROL_MORE_FLAG } from '../../src/control/api.js';
import { type Frame, Framer } from '../../src/wire/framer.js';
import { nameOfOpcode } from '../../src/wire/sheepdog.js';
import { type Address, answerBytesMax, resultOf, wrongAnswer } from '../helpers/sheepdog-client.js';
import type { Coverage } from './coverage.js';
import type { Stream } from './stream.js';

const ANSWERS_DEADLINE_MS = 30_000;
/** How long a stream that is not intact may stay open when the server waits for more of it. */
const LINGER_MS = 300;
const DEAF_MS = 400;
const ANSWER_BYTES_MAX = 256 * 1024 * 1024;

/** A rule that the server broke. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** Requests of one opcode and id: their answers cannot be told apart. */
interface Expected {
  readonly opcode: number;
  left: number;
  bytesMax: number;
}

/** Resolves when the connection is over; throws a Violation. */
export async function drive(address: Address, stream: Stream, coverage: Coverage): Promise<void> {
  const conversation = new Conversation(stream, coverage);
  const socket = connect(address);
  conversation.attach(socket);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', (error) => reject(new Violation(`no connection: ${error.message}`)));
    });
    await send(socket, stream, conversation);
    await conversation.finish(socket);
  } finally {
    socket.destroy();
  }
}

class Conversation {
  private readonly waiting = new Map<string, Expected>();
  private readonly framer = Framer.forResponses((frame) => this.onAnswer(frame), ANSWER_BYTES_MAX);
  private wrong: string | undefined;
  private missing = 0;
  closed = false;
  private wake: () => void = () => {};

  constructor(
    private readonly stream: Stream,
    private readonly coverage: Coverage,
  ) {
    for (const frame of stream.frames) {
      this.allow(frame);
      coverage.noteSent(frame.opcode);
    }
    if (stream.tail !== undefined) this.allow(stream.tail);
    this.missing = stream.frames.length;
  }

  private allow(frame: Frame): void {
    const { opcode, flags, dataLength } = frame;
    const expected = this.waiting.get(keyOf(frame)) ?? { opcode, left: 0, bytesMax: 0 };
    expected.left++;
    expected.bytesMax = Math.max(expected.bytesMax, answerBytesMax(opcode, flags, dataLength));
    this.waiting.set(keyOf(frame), expected);
  }

  attach(socket: Socket): void {
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      const broken = this.framer.push(chunk);
      if (broken !== undefined) this.wrong ??= broken;
      if (this.done) this.wake();
    });
    socket.on('close', () => {
      this.closed = true;
      this.wake();
    });
  }

  /** Waits for what must come, and says what did not. */
  async finish(socket: Socket): Promise<void> {
    const { intact, manner } = this.stream;
    if (manner === 'cut-end' || manner === 'cut-reset') await this.until(LINGER_MS);
    else await this.until(intact ? ANSWERS_DEADLINE_MS : LINGER_MS);
    socket.destroy();
    if (this.wrong !== undefined) throw new Violation(this.wrong);
    if (!intact || this.missing === 0) return;
    const left = [...this.waiting.values()]
      .filter((one) => one.left > 0)
      .map((one) => nameOfOpcode(one.opcode));
    const how = this.closed ? 'the connection was closed' : `no answer in ${ANSWERS_DEADLINE_MS} ms`;
    throw new Violation(`${how}; unanswered: ${left.join(', ')}`);
  }

  private get done(): boolean {
    return this.closed || this.wrong !== undefined || this.missing === 0;
  }

  private until(deadlineMs: number): Promise<void> {
    if (this.done) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, deadlineMs);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private onAnswer(answer: Frame): void {
    const expected = this.waiting.get(keyOf(answer));
    if (expected === undefined || expected.left === 0) {
      this.wrong ??= `an answer nobody asked for: ${answer.header.toString('hex')}`;
      return;
    }
    this.wrong ??= wrongAnswer(answer, expected.bytesMax);
    if ((answer.flags & CONTROL_MORE_FLAG) !== 0) return;
    expected.left--;
    this.missing--;
    this.coverage.noteAnswer(answer.opcode, resultOf(answer));
  }
}

function keyOf({ opcode, id }: { readonly opcode: number; readonly id: number }): string {
  return `${opcode}/${id}`;
}

async function send(socket: Socket, stream: Stream, conversation: Conversation): Promise<void> {
  const { bytes, manner, random } = stream;
  if (manner === 'whole') socket.write(bytes);
  else if (manner === 'deaf') {
    socket.pause();
    socket.write(bytes);
    await sleep(systemClock, random.below(DEAF_MS));
    socket.resume();
  } else if (manner === 'dribble') {
    const step = 1 + random.below(Math.max(1, bytes.length / 10));
    for (let at = 0; at < bytes.length && !conversation.closed; at += step) {
      socket.write(bytes.subarray(at, at + step));
      await sleep(systemClock, random.below(5));
    }
  } else {
    socket.write(bytes.subarray(0, random.below(bytes.length + 1)));
    await sleep(systemClock, random.below(20));
    if (manner === 'cut-end') socket.end();
    else socket.resetAndDestroy();
  }
}
