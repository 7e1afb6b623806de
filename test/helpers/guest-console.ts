/** Commands for a guest of `scripts/guest.sh`, over its second serial port: a unix socket of its QEMU. */
import { connect, type Socket } from 'node:net';
import { sleep, systemClock } from '../../src/base/clock.js';

const COMMAND_DEADLINE_MS = 60_000;
const KNOCK_MS = 500;
const OUTPUT_BYTES_MAX = 1024 * 1024;

/** What became of a command in the guest. */
export interface GuestResult {
  readonly status: number;
  /** Of both outputs. */
  readonly output: string;
}

let lastNumber = 0;

/**
 * One connection to a guest. QEMU takes one at a time, and forgets what nobody reads: a guest that has moved has its
 * console elsewhere, and is knocked at anew.
 */
export class GuestConsole {
  private received = '';
  private broken: Error | undefined;

  private constructor(private readonly socket: Socket) {
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      // The end decides: an answer longer than this is not found, and its command fails at its deadline.
      this.received = (this.received + text).slice(-OUTPUT_BYTES_MAX);
    });
    socket.on('error', (error) => (this.broken ??= error));
    socket.on('close', () => (this.broken ??= new Error('the console is closed')));
  }

  /** Waits until the guest answers at the socket, which may not be there yet. */
  static async open(path: string, deadlineMs: number): Promise<GuestConsole> {
    const endMs = performance.now() + deadlineMs;
    for (;;) {
      const found = await GuestConsole.knock(path).catch((error: Error) => error);
      if (found instanceof GuestConsole) return found;
      if (performance.now() > endMs) throw new Error(`no guest at ${path}: ${found.message}`);
      await sleep(systemClock, KNOCK_MS / 2);
    }
  }

  private static async knock(path: string): Promise<GuestConsole> {
    const socket = connect({ path });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    const console = new GuestConsole(socket);
    try {
      // Whatever half a line is there from before ends here.
      await console.run('true', KNOCK_MS, '\n');
      return console;
    } catch (error) {
      console.close();
      throw error;
    }
  }

  /** Runs a shell command of one line in the guest, one at a time; rejects when no answer comes in time. */
  async run(command: string, deadlineMs = COMMAND_DEADLINE_MS, before = ''): Promise<GuestResult> {
    if (command.includes('\n')) throw new Error(`not one line: ${command}`);
    const number = ++lastNumber;
    this.received = '';
    this.socket.write(`${before}${number} ${command}\n`);
    const answer = new RegExp(`@${number}<\\n([^]*)\\n@${number}=(\\d+)\\n`);
    const endMs = performance.now() + deadlineMs;
    while (performance.now() < endMs) {
      const found = answer.exec(this.received);
      if (found !== null) return { output: found[1]!, status: Number(found[2]) };
      if (this.broken !== undefined) throw this.broken;
      await sleep(systemClock, 10);
    }
    throw new Error(`the guest does not answer: ${command}\n${this.received}`);
  }

  /** Output of a command that must succeed. */
  async must(command: string, deadlineMs?: number): Promise<string> {
    const { status, output } = await this.run(command, deadlineMs);
    if (status !== 0) throw new Error(`in the guest: ${command}: exit ${status}\n${output}`);
    return output.trim();
  }

  close(): void {
    this.socket.destroy();
  }
}
