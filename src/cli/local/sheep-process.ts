import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ClusterConfig, ClusterHome } from './home.js';

/** One daemon of a cluster on this machine: start it, find it again, stop it. Never a process that is not ours. */
export class SheepProcess {
  /** How the process ended, when it did while this command watched it. */
  ended: string | undefined;

  constructor(
    private readonly home: ClusterHome,
    private readonly config: ClusterConfig,
    readonly index: number,
  ) {}

  get host(): string {
    return this.config.joined?.host ?? this.config.host ?? '127.0.0.1';
  }

  get port(): number {
    return this.config.port + this.index;
  }

  get nbdPort(): number {
    return this.config.nbdPort + this.index;
  }

  get httpPort(): number {
    return this.config.httpPort + this.index;
  }

  get logFile(): string {
    return this.home.logFile(this.index);
  }

  arguments(): string[] {
    const directory = this.home.sheepDirectory(this.index);
    const { joined, ioHost } = this.config;
    return [
      ...['--dir', directory],
      ...['--coordinator', joined?.coordinator ?? this.home.coordinatorDirectory],
      ...['--host', this.host],
      ...['--port', String(this.port)],
      ...['--nbd-port', String(this.nbdPort)],
      ...['--http-port', String(this.httpPort)],
      ...['--unix-socket', join(directory, 'sock')],
      ...['--nbd-socket', joined?.nbdSocket ?? join(directory, 'nbd.sock')],
      ...['--zone', String(joined?.zone ?? this.index)],
      ...['--log', this.logFile],
      ...['--pid-file', this.home.pidFile(this.index)],
      ...(ioHost === undefined ? [] : ['--io-host', ioHost]),
      ...(joined?.gateway === true ? ['--vnodes', '0'] : []),
    ];
  }

  /** Starts the daemon on its own: it outlives this command and its terminal. */
  start(env: Readonly<Record<string, string | undefined>>, more: readonly string[] = []): void {
    this.ended = undefined;
    // What the daemon says before its log is open, or while it dies, must not be lost.
    const log = openSync(this.logFile, 'a', 0o600);
    const words = [...programOf(env), ...this.arguments(), ...more];
    const child = spawn(process.execPath, words, {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: this.home.directory,
      env: { ...env },
    });
    closeSync(log);
    child.once('error', (error) => {
      this.ended = error.message;
    });
    child.once('exit', (code, signal) => {
      this.ended = signal === null ? `exit code ${code}` : `signal ${signal}`;
    });
    child.unref();
  }

  /**
   * The process id of this sheep, when it runs. A stale pid file may name any process, and a missing one must not
   * hide a sheep whose directory is about to be removed: the command line decides.
   */
  pid(): number | undefined {
    const directory = this.home.sheepDirectory(this.index);
    const noted = this.notedPid();
    if (noted !== undefined && isOurs(noted, directory)) return noted;
    return readdirSync('/proc')
      .map(Number)
      .find((pid) => Number.isSafeInteger(pid) && isOurs(pid, directory));
  }

  private notedPid(): number | undefined {
    const path = this.home.pidFile(this.index);
    if (!existsSync(path)) return undefined;
    const pid = Number(readFileSync(path, 'utf8').trim());
    return Number.isSafeInteger(pid) && pid > 1 ? pid : undefined;
  }

  /** Sends a signal if the sheep runs; true when it did. */
  signal(name: NodeJS.Signals): boolean {
    const pid = this.pid();
    if (pid === undefined) return false;
    try {
      process.kill(pid, name);
      return true;
    } catch {
      // It ended between the look and the signal.
      return false;
    }
  }

  lastLogLines(count: number): string[] {
    if (!existsSync(this.logFile)) return [];
    return readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-count);
  }
}

/** The daemon, for node to run. */
export function programOf(env: Readonly<Record<string, string | undefined>>): string[] {
  const main = env.SHEEPFOLD_SHEEP ?? fileURLToPath(new URL('../../daemon/main.js', import.meta.url));
  return ['--enable-source-maps', main];
}

function isOurs(pid: number, directory: string): boolean {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    const at = words.indexOf('--dir');
    return at >= 0 && words[at + 1] === directory && words.includes('--coordinator');
  } catch {
    // No such process.
    return false;
  }
}
