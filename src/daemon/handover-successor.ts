import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { systemClock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import { within } from '../nbd/within.js';
import { carrier, type Detached } from './handover-connections.js';
import {
  type HandoverMessage,
  INHERITANCE_VARIABLE,
  INHERITANCE_VERSION,
  type Inheritance,
  isHandoverMessage,
} from './handover-message.js';
import type { DoorName } from './handover-sockets.js';

/** Loading the program and its configuration; a busy machine included. */
const READY_DEADLINE_MS = 30_000;
/** Opening the store and joining again. Past it the old process takes everything back. */
const SERVING_DEADLINE_MS = 60_000;
const GIVE_DEADLINE_MS = 5_000;
const KILL_DEADLINE_MS = 10_000;
const ERROR_TEXT_BYTES_MAX = 2000;
/** Descriptors 0 to 2 and the channel come first. */
const FIRST_INHERITED_FD = 4;

export interface Handles {
  readonly lock: number;
  readonly sockets: ReadonlyMap<DoorName, number>;
}

/**
 * The old process's side of a planned upgrade: another process of the same program (as it is on disk now) with the same
 * arguments, which inherits the listening sockets and the directory's lock. Every wait is bounded, and each ends with
 * AppError 'system' when the new process cannot go on.
 */
export class Successor {
  private readonly said = new Set<HandoverMessage['handover']>();
  private trouble: string | undefined;
  private changed: () => void = () => {};
  private readonly errorsFrom = errorFileSize();

  private constructor(private readonly child: ChildProcess) {
    child.on('message', (message) => {
      if (!isHandoverMessage(message)) return;
      this.said.add(message.handover);
      if (message.handover === 'failed') this.trouble ??= message.why;
      this.changed();
    });
    child.once('error', (error) => this.failed(error.message));
    child.once('exit', (code, signal) => {
      const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
      this.failed(`the new process ended (${how})${errorsSince(this.errorsFrom)}`);
    });
  }

  static start(handles: Handles): Successor {
    const sockets: Partial<Record<DoorName, number>> = {};
    const passed = [handles.lock];
    for (const [name, fd] of handles.sockets) {
      sockets[name] = FIRST_INHERITED_FD + passed.length;
      passed.push(fd);
    }
    const inheritance: Inheritance = { version: INHERITANCE_VERSION, lock: FIRST_INHERITED_FD, sockets };
    const words = [...process.execArgv, ...process.argv.slice(1)];
    // Not a group of its own: who looks after the old process by its group looks after the new one, too.
    const child = spawn(process.execPath, words, {
      stdio: ['inherit', 'inherit', 'inherit', 'ipc', ...passed],
      env: { ...process.env, [INHERITANCE_VARIABLE]: JSON.stringify(inheritance) },
    });
    return new Successor(child);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  ready(): Promise<void> {
    return this.wait('ready', READY_DEADLINE_MS);
  }

  /** Everything was given up; resolves when the new process serves. */
  async goOn(): Promise<void> {
    if (this.child.connected) this.child.send({ handover: 'go' } satisfies HandoverMessage, () => {});
    await this.wait('serving', SERVING_DEADLINE_MS);
  }

  /** Passes connections on; those that cannot be are closed. To be called once it serves. */
  async give(connections: readonly Detached[]): Promise<void> {
    const sent = connections.map(({ fd, unread, silent }) => {
      const socket = carrier({ fd });
      const message: HandoverMessage = {
        handover: 'connection',
        unread: unread.toString('base64'),
        silent,
      };
      return new Promise<void>((resolve) => {
        if (this.child.connected) this.child.send(message, socket, {}, () => resolve());
        else resolve();
      });
    });
    await within(systemClock, GIVE_DEADLINE_MS, Promise.all(sent));
  }

  /** Resolves when the process is gone: it may hold the store. */
  async kill(): Promise<void> {
    const { child } = this;
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((resolve, reject) => {
      const late = () => reject(new AppError('system', `process ${child.pid} cannot be killed`));
      const timer = setTimeout(late, KILL_DEADLINE_MS);
      child.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
      child.kill('SIGKILL');
    });
  }

  /** A request to stop that came too late for this process. */
  passOn(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  private failed(why: string): void {
    this.trouble ??= why;
    this.changed();
  }

  private wait(kind: 'ready' | 'serving', deadlineMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (why?: string) => {
        clearTimeout(timer);
        this.changed = () => {};
        if (why === undefined) resolve();
        else reject(new AppError('system', why));
      };
      const timer = setTimeout(
        () => end(`the new process was not ${kind} within ${deadlineMs} ms`),
        deadlineMs,
      );
      this.changed = () => {
        if (this.trouble !== undefined) end(this.trouble);
        else if (this.said.has(kind)) end();
      };
      this.changed();
    });
  }
}

/** What a program that cannot even be loaded says goes to the inherited standard error: readable when it is a file. */
function errorFileSize(): number | undefined {
  try {
    const stat = fstatSync(2);
    return stat.isFile() ? stat.size : undefined;
  } catch {
    // Closed, in a daemon without a log.
    return undefined;
  }
}

function errorsSince(fromBytes: number | undefined): string {
  if (fromBytes === undefined) return '';
  try {
    const fd = openSync('/proc/self/fd/2', 'r');
    try {
      const buffer = Buffer.alloc(ERROR_TEXT_BYTES_MAX);
      return essence(buffer.toString('utf8', 0, readSync(fd, buffer, 0, buffer.length, fromBytes)));
    } finally {
      closeSync(fd);
    }
  } catch {
    // Not readable: the text is in the log all the same.
    return '';
  }
}

/** The line that says what is wrong; the log of the old process, which may share the file, is JSON. */
function essence(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('{'));
  const line = lines.find((each) => /^\w*(Error|sheep:)/.test(each)) ?? lines.at(-1);
  return line === undefined ? '' : `: ${line.trim()}`;
}
