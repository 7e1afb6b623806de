/** A virtual machine with one disk or CD, driven over QMP; QEMU 5.2 and 7.2 take the same words. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ownedProcess, within } from '../helpers/real-cluster.js';
import { QmpClient } from './qmp-client.js';

const START_DEADLINE_MS = 30_000;
const MIGRATION_DEADLINE_MS = 60_000;
// biome-ignore lint/suspicious/noControlCharactersInRegex: terminals are controlled by these
const ESCAPES = /\u001b\[[0-9;?]*[A-Za-z]/g;
let started = 0;
/** A helper command stands before the emulator, and does not take it along when it is killed. */
const pidFiles = new Set<string>();
process.once('exit', () => {
  for (const file of pidFiles) killBy(file);
});

export interface EmulatorOptions {
  /** The program, or a helper command and its name. */
  readonly program: readonly string[];
  /** A folder for its sockets and its console. */
  readonly folder: string;
  /** The value of `-drive`, without the guest's side. */
  readonly drive: string;
  readonly cdrom?: boolean;
  /** The guest waits for `cont`. */
  readonly paused?: boolean;
  /** Waits for a guest to come over this socket. */
  readonly incoming?: string;
  readonly words?: readonly string[];
}

export class Emulator {
  private constructor(
    private readonly child: ChildProcess,
    private readonly qmp: QmpClient,
    /** How its files begin. */
    private readonly path: string,
    /** Standard output and error, in one. */
    private readonly said: { text: string },
  ) {}

  static async start(options: EmulatorOptions): Promise<Emulator> {
    const name = join(options.folder, `vm${++started}`);
    const guestSide = options.cdrom === true ? 'media=cdrom,readonly=on' : 'if=virtio,discard=unmap';
    const words = [
      ...['-nodefaults', '-display', 'none', '-net', 'none', '-m', '64', '-accel', 'kvm', '-accel', 'tcg'],
      // What the screen shows goes to the serial port.
      ...['-machine', 'pc,graphics=off', '-serial', `file:${name}.console`],
      ...['-pidfile', `${name}.pid`, '-qmp', `unix:${name}.qmp,server=on,wait=off`],
      ...['-drive', `${options.drive},id=disk0,${guestSide}`],
      ...(options.paused === true ? ['-S'] : []),
      ...(options.incoming === undefined ? [] : ['-incoming', `unix:${options.incoming}`]),
      ...(options.words ?? []),
    ];
    // qemu-io commands answer on standard output, which would be held back.
    const child = spawn('stdbuf', ['-oL', ...options.program, ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    ownedProcess(child);
    pidFiles.add(`${name}.pid`);
    const said = { text: '' };
    for (const one of [child.stdout, child.stderr]) one.on('data', (chunk) => (said.text += chunk));
    try {
      const qmp = await within(START_DEADLINE_MS, 'the emulator answers', async () => {
        if (child.exitCode !== null) throw new Error(`the emulator ended: ${said.text}`);
        return existsSync(`${name}.qmp`) && QmpClient.connect(`${name}.qmp`);
      });
      return new Emulator(child, qmp, name, said);
    } catch (error) {
      killBy(`${name}.pid`);
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** What the guest has written to its screen. */
  get console(): string {
    const file = `${this.path}.console`;
    return existsSync(file) ? readFileSync(file, 'latin1').replace(ESCAPES, '') : '';
  }

  async shows(text: RegExp, deadlineMs: number): Promise<void> {
    try {
      await within(deadlineMs, `the guest says ${text}`, () => text.test(this.console));
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.console}${this.said.text}`);
    }
  }

  execute(command: string, words: object = {}): Promise<unknown> {
    return this.qmp.execute(command, words);
  }

  /** A command of the human monitor; its errors are texts. */
  async monitor(line: string): Promise<string> {
    const said = await this.qmp.execute('human-monitor-command', { 'command-line': line });
    if (/error/i.test(String(said))) throw new Error(`${line}: ${said}`);
    return String(said);
  }

  /** Reads or writes the disk as the guest would, by a command of qemu-io. */
  async io(command: string): Promise<void> {
    const before = this.said.text.length;
    await this.monitor(`qemu-io disk0 "${command}"`);
    await within(START_DEADLINE_MS, command, () => {
      const answer = this.said.text.slice(before);
      if (/failed/i.test(answer)) throw new Error(answer);
      return /^(read|wrote|discard) (\d+)\/\2 bytes/m.test(answer);
    });
  }

  /** Bytes of the guest's memory, by way of a file. */
  async memory(file: string, bytes: number): Promise<Buffer> {
    await this.execute('pmemsave', { val: 0, size: bytes, filename: file });
    return readFileSync(file);
  }

  /** Sends the guest over; it runs there when this returns. */
  async migrate(socket: string): Promise<void> {
    await this.execute('migrate', { uri: `unix:${socket}` });
    await within(MIGRATION_DEADLINE_MS, 'the migration', async () => {
      const state = (await this.execute('query-migrate')) as { status: string; 'error-desc'?: string };
      if (state.status === 'failed') throw new Error(`the migration failed: ${state['error-desc']}`);
      return state.status === 'completed';
    });
  }

  async status(): Promise<string> {
    return ((await this.execute('query-status')) as { status: string }).status;
  }

  /** Ends it as a guest's shutdown does: the disk is flushed and closed. */
  async quit(): Promise<void> {
    const exited = this.exited();
    await this.execute('quit');
    await exited;
    this.qmp.close();
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = this.exited();
    killBy(`${this.path}.pid`);
    this.child.kill('SIGKILL');
    await exited;
    this.qmp.close();
  }

  private exited(): Promise<unknown> {
    return new Promise((resolve) => this.child.once('exit', resolve));
  }
}

/** The emulator itself; nothing when it has ended, as it takes its file away. */
function killBy(pidFile: string): void {
  pidFiles.delete(pidFile);
  const pid = existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) : 0;
  try {
    if (pid > 0) process.kill(pid, 'SIGKILL');
  } catch {
    // It ended in this moment.
  }
}
