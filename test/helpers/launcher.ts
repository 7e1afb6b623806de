import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { ControlClient } from '../../src/control/client.js';

/**
 * A real cluster of real processes in a temporary directory, started as a user would: with `dog cluster up`.
 *
 *     const cluster = await Launcher.start({ sheep: 3 });
 *     try { ... cluster.dog('vdi', 'list') ... } finally { await cluster.stop(); }
 *
 * Logs are printed by `stop({ failed: true })`; everything is removed in any case.
 */
export const dogMain = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
export const sheepMain = fileURLToPath(new URL('../../src/daemon/main.js', import.meta.url));

export interface CommandResult {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface LaunchOptions {
  readonly sheep?: number;
  readonly copies?: number;
  readonly env?: Record<string, string>;
  /** Another program in place of the daemon, with the same options. */
  readonly main?: string;
}

const COMMAND_DEADLINE_MS = 60_000;

export class Launcher {
  private constructor(
    readonly directory: string,
    readonly port: number,
    readonly sheep: number,
    private readonly env: Record<string, string>,
  ) {}

  static async start(options: LaunchOptions = {}): Promise<Launcher> {
    const sheep = options.sheep ?? 3;
    const parent = mkdtempSync(join(tmpdir(), 'sheepfold-'));
    const port = await freePorts(3 * sheep);
    const env = {
      ...options.env,
      SHEEPFOLD_SHEEP: options.main ?? sheepMain,
      SHEEPFOLD_HOME: join(parent, 'c'),
    };
    const launcher = new Launcher(env.SHEEPFOLD_HOME, port, sheep, env);
    const result = await launcher.up(options.copies);
    if (result.exit === 0) return launcher;
    await launcher.stop({ failed: true });
    throw new Error(`cluster up failed (${result.exit}): ${result.stderr}`);
  }

  portOf(index: number): number {
    return this.port + index;
  }

  nbdPortOf(index: number): number {
    return this.port + this.sheep + index;
  }

  httpPortOf(index: number): number {
    return this.port + 2 * this.sheep + index;
  }

  /** Starts what is not running (again). */
  up(copies?: number): Promise<CommandResult> {
    const words = ['cluster', 'up', '--sheep', `${this.sheep}`, '--nbd-port', `${this.nbdPortOf(0)}`];
    words.push('--http-port', `${this.httpPortOf(0)}`);
    return this.dog(...words, ...(copies === undefined ? [] : ['--copies', `${copies}`]));
  }

  /** Runs dog against sheep 0 in a process of its own. */
  dog(...words: string[]): Promise<CommandResult> {
    return runDogProcess([...words, '-p', `${this.port}`], { env: this.env });
  }

  control(index = 0): Promise<ControlClient> {
    return ControlClient.connect({ host: '127.0.0.1', port: this.portOf(index) });
  }

  /** Undefined when its pid file is not there. */
  pid(index: number): number | undefined {
    const path = join(this.directory, `sheep${index}`, 'pid');
    return existsSync(path) ? Number(readFileSync(path, 'utf8')) : undefined;
  }

  /** Ends one sheep and waits until its process is gone. */
  async kill(index: number, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const pid = this.pid(index);
    if (pid === undefined) return;
    process.kill(pid, signal);
    const endMs = performance.now() + 10_000;
    while (existsSync(`/proc/${pid}/fd`) && readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== '') {
      if (performance.now() > endMs) throw new Error(`sheep ${index} (pid ${pid}) does not end`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  log(index: number): string {
    const path = join(this.directory, `sheep${index}`, 'sheep.log');
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  async stop(options: { failed?: boolean } = {}): Promise<void> {
    if (options.failed === true) {
      for (let index = 0; index < this.sheep; index++) {
        process.stderr.write(`--- end of the log of sheep ${index}\n${this.log(index).slice(-4000)}\n`);
      }
    }
    await this.dog('cluster', 'destroy', '--yes');
    rmSync(join(this.directory, '..'), { recursive: true, force: true });
  }
}

/** Runs dog in a process of its own; never rejects because of its exit code. */
export async function runDogProcess(
  words: readonly string[],
  options: { env?: Record<string, string>; input?: string | Uint8Array } = {},
): Promise<CommandResult> {
  const result = await execa(process.execPath, ['--enable-source-maps', dogMain, ...words], {
    reject: false,
    stripFinalNewline: false,
    timeout: COMMAND_DEADLINE_MS,
    ...(options.env === undefined ? {} : { env: options.env }),
    input: options.input ?? '',
  });
  return { exit: result.exitCode ?? -1, stdout: result.stdout, stderr: result.stderr };
}

/** The first of `count` free ports in a row, out of the range from which connections get theirs. */
export async function freePorts(count: number): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const base = 10_900 + Math.floor(Math.random() * 1000) * 20;
    const servers = await Promise.all(Array.from({ length: count }, (_, index) => tryListen(base + index)));
    await Promise.all(
      servers.map((server) => new Promise<void>((done) => (server ? server.close(() => done()) : done()))),
    );
    if (servers.every((server) => server !== undefined)) return base;
  }
  throw new Error('no free ports');
}

function tryListen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
