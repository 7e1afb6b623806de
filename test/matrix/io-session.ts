/** A qemu-io that stays, and so keeps its connection and what it believes of the volume. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { ownedProcess, within } from '../helpers/real-cluster.js';

const PROMPT = 'qemu-io> ';
const COMMAND_DEADLINE_MS = 60_000;

export class IoSession {
  private stdout = '';
  private stderr = '';

  private constructor(private readonly child: ChildProcessWithoutNullStreams) {
    child.stdout.on('data', (chunk: Buffer) => (this.stdout += chunk));
    child.stderr.on('data', (chunk: Buffer) => (this.stderr += chunk));
    // A command written to one that has ended is told of by its exit.
    child.stdin.on('error', () => {});
  }

  /** Opens the volume; `words` are the program and its arguments. */
  static async start(words: readonly string[]): Promise<IoSession> {
    const [program, ...rest] = words as [string, ...string[]];
    const child = spawn(program, rest);
    ownedProcess(child);
    const session = new IoSession(child);
    await session.prompt(words.join(' '));
    return session;
  }

  /** Runs one command; throws when qemu-io does not say that it did all of it. */
  async run(command: string): Promise<void> {
    this.stdout = '';
    this.child.stdin.write(`${command}\n`);
    const said = await this.prompt(command);
    const isDone = /^(read|wrote|discard) (\d+)\/\2 bytes/m.test(said) || command === 'flush';
    if (!isDone || /failed/i.test(said)) throw new Error(`${command}: ${said}${this.stderr}`);
  }

  /** Closes the volume. */
  async end(): Promise<void> {
    const exited = this.exited();
    this.child.stdin.end('quit\n');
    await exited;
  }

  async stop(): Promise<void> {
    if (!this.running) return;
    const exited = this.exited();
    this.child.kill('SIGKILL');
    await exited;
  }

  private get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  private exited(): Promise<unknown> {
    return new Promise((resolve) => this.child.once('exit', resolve));
  }

  private prompt(what: string): Promise<string> {
    return within(COMMAND_DEADLINE_MS, what, () => {
      const at = this.stdout.indexOf(PROMPT);
      if (at !== -1) return this.stdout.slice(0, at) || ' ';
      // Nothing can come any more: no use in waiting.
      return this.running ? undefined : `failed: it has ended: ${this.stdout}${this.stderr}`;
    });
  }
}
