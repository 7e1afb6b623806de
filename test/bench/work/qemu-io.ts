/**
 * A client that stays: qemu-io with the volume open, told by a pipe what to do. Its start, its connection and its end,
 * which for some drivers take longer than the work, are in no figure.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { ownedProcess } from '../../helpers/real-cluster.js';
import type { Endpoint } from '../targets.js';

const PROMPT = 'qemu-io> ';
const DEADLINE_MS = 600_000;
const OUTPUT_CHARACTERS_MAX = 100_000;
/** What it says when a command fails; the command's own exit is only in the last status of the process. */
const TROUBLE = /failed|error|Invalid|not found|Cannot|cannot|out of range/i;

export class QemuIo {
  private output = '';
  private rest = '';
  private prompts = 0;
  private waiting: { prompts: number; done: () => void; fail: (error: Error) => void } | undefined;

  private constructor(private readonly child: ChildProcess) {
    child.stdout!.on('data', (chunk: Buffer) => this.take(chunk.toString()));
    child.stderr!.on('data', (chunk: Buffer) => this.keep(chunk.toString()));
    child.stdin!.on('error', () => undefined);
    child.once('error', (error) => this.waiting?.fail(error));
    child.once('exit', () => this.waiting?.fail(new Error(`qemu-io ended: ${this.output.trim()}`)));
  }

  /** Resolves when the volume is open. Discards reach the volume, and writes are behind until a flush. */
  static async open(at: Endpoint): Promise<QemuIo> {
    // Of several lines in a buffer of its own it would do the first, and wait for more in the pipe.
    const words = ['-i0', ioProgram(at), ...ioWords(at)];
    const child = ownedProcess(spawn('stdbuf', words, { stdio: 'pipe' }));
    const client = new QemuIo(child);
    try {
      await client.until(1);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
    return client;
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** All of them, one after the other; what it printed. Rejects when it says that one failed. */
  async run(commands: readonly string[]): Promise<string> {
    this.output = '';
    const answered = this.until(this.prompts + commands.length);
    this.child.stdin!.write(`${commands.join('\n')}\n`);
    await answered;
    const text = this.output.replaceAll(PROMPT, '').trim();
    if (TROUBLE.test(text)) throw new Error(`qemu-io: ${text.slice(0, 500)}`);
    return text;
  }

  /** Waits for its end, which closes the volume. */
  async close(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise<void>((done) => this.child.once('exit', () => done()));
    const timer = setTimeout(() => this.child.kill('SIGKILL'), DEADLINE_MS);
    this.child.stdin!.end();
    await ended;
    clearTimeout(timer);
  }

  private keep(text: string): void {
    this.output = (this.output + text).slice(-OUTPUT_CHARACTERS_MAX);
  }

  private take(text: string): void {
    this.keep(text);
    // A prompt may come in two pieces.
    const parts = (this.rest + text).split(PROMPT);
    this.rest = parts.at(-1)!.slice(-PROMPT.length);
    this.prompts += parts.length - 1;
    if (this.waiting !== undefined && this.prompts >= this.waiting.prompts) this.waiting.done();
  }

  private until(prompts: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => fail(new Error(`qemu-io is silent: ${this.output}`)), DEADLINE_MS);
      const settle = (end: () => void) => {
        clearTimeout(timer);
        this.waiting = undefined;
        end();
      };
      const fail = (error: Error) => settle(() => reject(error));
      this.waiting = { prompts, done: () => settle(resolve), fail };
    });
  }
}

export function ioWords(at: Endpoint): string[] {
  return ['-f', 'raw', '-d', 'unmap', '-t', 'writeback', at.uri ?? at.file!];
}

/** Beside the qemu-img of an endpoint lies the qemu-io of the same build. */
export function ioProgram({ qemuImg }: Endpoint): string {
  return qemuImg === undefined ? 'qemu-io' : qemuImg.replace(/qemu-img$/, 'qemu-io');
}
