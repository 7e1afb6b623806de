import type { Clock, Timer } from '../base/clock.js';
import { Op } from '../wire/sheepdog.js';

/** Nothing has come for so long: whatever the client had to repeat is here. */
const SILENCE_MS = 20;
/** But not longer than this in all. */
const HOLD_MAX_MS = 500;

/**
 * After its connection broke, QEMU repeats its requests on a new one. When an answer arrives before it is through with
 * that, it resumes the very coroutine that is still repeating, in the middle of whatever that waits for, and may crash
 * (its `co_recv` is not cleared on that path). So a connection that begins with repeated requests gets its first
 * answers when it has fallen silent.
 */
export class QuietStart {
  private answers: (() => void)[] = [];
  private timer: Timer;
  private readonly endMs: number;
  private over = false;

  constructor(private readonly clock: Clock) {
    this.endMs = clock.nowMs() + HOLD_MAX_MS;
    this.timer = clock.after(SILENCE_MS, () => this.end());
  }

  /** Answers leave at once from here on. */
  get isOver(): boolean {
    return this.over;
  }

  /** The client has sent something. */
  heard(): void {
    if (this.over) return;
    this.timer.cancel();
    const leftMs = Math.max(0, this.endMs - this.clock.nowMs());
    this.timer = this.clock.after(Math.min(SILENCE_MS, leftMs), () => this.end());
  }

  /** Takes the answer, to be sent later; false when it may leave now. */
  holds(send: () => void): boolean {
    if (this.over) return false;
    this.answers.push(send);
    return true;
  }

  private end(): void {
    this.over = true;
    const { answers } = this;
    this.answers = [];
    for (const send of answers) send();
  }
}

/** QEMU counts the requests of a connection for I/O from 0, and repeats them under the numbers they had. */
export function beginsWithRepetition(first: { opcode: number; id: number; version: number }): boolean {
  const { opcode, id, version } = first;
  if (id === 0 || version !== 0) return false;
  return (
    opcode === Op.READ_OBJ ||
    opcode === Op.WRITE_OBJ ||
    opcode === Op.CREATE_AND_WRITE_OBJ ||
    opcode === Op.FLUSH_VDI
  );
}
