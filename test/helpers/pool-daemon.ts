/** The storage daemon as a process of its own, and the stock virsh to talk to it. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { ownedProcess, within } from './real-cluster.js';

export const poolsMain = fileURLToPath(new URL('../../pool-backend/main.js', import.meta.url));
const heapProbe = fileURLToPath(new URL('heap-probe.js', import.meta.url));

const START_DEADLINE_MS = 20_000;
/** Long enough for a machine with hundreds of them at a time. */
const COMMAND_DEADLINE_MS = 180_000;

export interface VirshResult {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs virsh against a storage daemon's socket; never rejects because of its exit code. */
export async function virsh(
  socket: string,
  words: readonly string[],
  options: VirshOptions = {},
): Promise<VirshResult> {
  return virshAt(`storage+unix:///system?socket=${socket}`, words, options);
}

export interface VirshOptions {
  readonly env?: Record<string, string>;
  readonly input?: string;
  /** What to run instead of the machine's `virsh`: a program and its first words. */
  readonly program?: readonly [string, ...string[]];
}

/** The same for any URI of libvirt. */
export async function virshAt(
  uri: string,
  words: readonly string[],
  options: VirshOptions = {},
): Promise<VirshResult> {
  const [program, ...first] = options.program ?? ['virsh'];
  const result = await execa(program, [...first, '--quiet', '--connect', uri, ...words], {
    reject: false,
    stripFinalNewline: false,
    timeout: COMMAND_DEADLINE_MS,
    env: { LC_ALL: 'C.UTF-8', ...options.env },
    input: options.input ?? '',
  });
  return { exit: result.exitCode ?? -1, stdout: result.stdout, stderr: result.stderr };
}

export class PoolDaemon {
  readonly socket: string;
  readonly readOnlySocket: string;
  private child: ReturnType<typeof spawn> | undefined;
  private exited: Promise<unknown> = Promise.resolve();

  constructor(
    /** Its sockets, definitions, state and log are in here. */
    readonly folder: string,
    private readonly words: readonly string[] = [],
  ) {
    this.socket = join(folder, 'sock');
    this.readOnlySocket = join(folder, 'sock-ro');
  }

  get configFolder(): string {
    return join(this.folder, 'config');
  }

  get pid(): number {
    return this.child?.pid ?? -1;
  }

  get log(): string {
    const file = join(this.folder, 'log');
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  /** Open descriptors of the process. */
  get descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** Resident memory in bytes. */
  get residentBytes(): number {
    const [, pages] = readFileSync(`/proc/${this.pid}/statm`, 'utf8').split(' ');
    return Number(pages) * 4096;
  }

  /** What its heap holds after a collection, with buffers outside of it, in bytes. */
  async heldBytes(): Promise<number> {
    rmSync(this.heapFile, { force: true });
    this.child?.kill('SIGUSR2');
    await within(START_DEADLINE_MS, 'the storage daemon counts its heap', () => existsSync(this.heapFile));
    return Number(readFileSync(this.heapFile, 'utf8'));
  }

  private get heapFile(): string {
    return join(this.folder, 'heap');
  }

  async start(): Promise<void> {
    const output = openSync(join(this.folder, 'log'), 'a');
    const words = [
      ...['serve', '--socket', this.socket, '--readonly-socket', this.readOnlySocket],
      ...['--config-dir', this.configFolder, '--state-dir', join(this.folder, 'state')],
      ...['--log-level', 'debug', ...this.words],
    ];
    const child = ownedProcess(
      spawn(process.execPath, ['--enable-source-maps', '--import', heapProbe, poolsMain, ...words], {
        stdio: ['ignore', output, output],
        env: { ...process.env, SHEEPFOLD_TEST_HEAP: this.heapFile },
      }),
    );
    closeSync(output);
    this.child = child;
    this.exited = new Promise((resolve) => child.once('exit', resolve));
    await within(START_DEADLINE_MS, 'the storage daemon listens', () => {
      if (child.exitCode !== null) throw new Error(this.log.slice(-2000));
      return accepts(this.socket);
    });
  }

  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.child?.kill(signal);
    await this.exited;
  }

  virsh(...words: string[]): Promise<VirshResult> {
    return virsh(this.socket, words);
  }

  /** Standard output; rejects with what virsh said when it failed. */
  async ok(...words: string[]): Promise<string> {
    const { exit, stdout, stderr } = await this.virsh(...words);
    if (exit !== 0) throw new Error(`virsh ${words.join(' ')}: exit ${exit}: ${stderr}`);
    return stdout;
  }

  /** What virsh said on standard error; rejects when it did not fail. */
  async refused(...words: string[]): Promise<string> {
    const { exit, stdout, stderr } = await this.virsh(...words);
    if (exit === 0) throw new Error(`virsh ${words.join(' ')} succeeded: ${stdout}`);
    return stderr;
  }

  /** Runs a body with a daemon, whose log is part of a failure. */
  static async with(
    folder: string,
    words: readonly string[],
    body: (daemon: PoolDaemon) => Promise<void>,
  ): Promise<void> {
    const daemon = new PoolDaemon(folder, words);
    await daemon.start();
    try {
      await body(daemon);
    } catch (error) {
      process.stderr.write(`--- storage daemon\n${daemon.log.split('\n').slice(-40).join('\n')}\n`);
      throw error;
    } finally {
      await daemon.end('SIGKILL');
    }
  }
}

/** A pool of a cluster as XML. */
export function poolXml(name: string, port: number, namespace = '', more = ''): string {
  const source = namespace === '' ? '' : `<name>${namespace}</name>`;
  return `<pool type='sheepdog'><name>${name}</name>
<source><host name='127.0.0.1' port='${port}'/>${source}</source>${more}</pool>`;
}

function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
