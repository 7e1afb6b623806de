/**
 * A cluster of real sheep: processes of their own on free loopback ports, in a temporary folder, killed as tests
 * like.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sleep, systemClock } from '../../src/base/clock.js';
import type { ControlMethod, ControlParams, ControlResult } from '../../src/control/api.js';
import { ControlClient } from '../../src/control/client.js';

const MAIN = fileURLToPath(new URL('../../src/daemon/main.js', import.meta.url));
const START_DEADLINE_MS = 30_000;
const CALL_DEADLINE_MS = 60_000;
const LOG_TAIL_LINES = 25;

const living = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(1));

/** Ends with this process, whatever happens to it first; for sheep and for the clients that run beside them. */
export function ownedProcess(child: ChildProcess): ChildProcess {
  living.add(child);
  child.once('exit', () => living.delete(child));
  child.once('error', () => living.delete(child));
  return child;
}

/** Polls until `attempt` returns something other than undefined or false; its last error is told at the deadline. */
export async function within<T>(
  deadlineMs: number,
  what: string,
  attempt: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  const endMs = performance.now() + deadlineMs;
  let last: unknown;
  do {
    try {
      const found = await attempt();
      if (found !== undefined && found !== false) return found;
    } catch (error) {
      last = error;
    }
    await sleep(systemClock, 25);
  } while (performance.now() < endMs);
  throw new Error(`not within ${deadlineMs} ms: ${what}${last instanceof Error ? ` (${last.message})` : ''}`);
}

/**
 * Ports below the range that the system gives to outgoing connections: a sheep that is down for a moment must find its
 * ports free when it comes back.
 */
export async function freePorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  while (found.size < count) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const free = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) found.add(port);
  }
  return [...found];
}

export class RealSheep {
  /** More options, from the next start on. */
  words: readonly string[] = [];
  private child: ChildProcess | undefined;
  private exited: Promise<number | string> = Promise.resolve('never started');

  constructor(
    readonly index: number,
    readonly dir: string,
    readonly coordinator: string,
    readonly port: number,
    readonly nbdPort: number,
    readonly httpPort: number,
    /** Of its log, output and pid file: not its own directory, which may be unusable on purpose. */
    private readonly logFolder = dirname(coordinator),
  ) {}

  get logFile(): string {
    return this.beside('log');
  }

  /** What it says on standard output and error. */
  get output(): string {
    const file = this.beside('out');
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  private beside(kind: string): string {
    return join(this.logFolder, `sheep-${this.port}-${this.nbdPort}.${kind}`);
  }

  get running(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  get pid(): number {
    return this.child?.pid ?? -1;
  }

  get nbd(): { host: string; port: number } {
    return { host: '127.0.0.1', port: this.nbdPort };
  }

  uri(exportName: string): string {
    return `nbd://127.0.0.1:${this.nbdPort}/${encodeURIComponent(exportName)}`;
  }

  /** Starts the process and does not wait for anything. */
  spawn(): void {
    const words = [
      ...['--dir', this.dir, '--coordinator', this.coordinator, '--zone', String(this.index)],
      ...[
        '--port',
        String(this.port),
        '--nbd-port',
        String(this.nbdPort),
        '--http-port',
        String(this.httpPort),
      ],
      ...['--log', this.logFile, '--pid-file', this.beside('pid')],
      ...this.words,
    ];
    const output = openSync(this.beside('out'), 'a');
    const child = spawn(process.execPath, ['--enable-source-maps', MAIN, ...words], {
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    this.child = ownedProcess(child);
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown'));
    });
  }

  /** Starts the process and waits until it serves. */
  async start(): Promise<void> {
    this.spawn();
    await this.waitUp();
  }

  /** Waits until it answers control calls; before the cluster is formatted that is all a sheep can do. */
  async waitUp(): Promise<void> {
    await within(START_DEADLINE_MS, `sheep ${this.index} answers`, async () => {
      // Waiting on is of no use then, and the reason is in the log.
      if (!this.running) return true;
      const { status } = await this.call('cluster.info', {});
      return status === 'running' || status === 'wait-for-format';
    });
    if (!this.running) throw new Error(`sheep ${this.index} ended: ${await this.exited}\n${this.tail()}`);
  }

  /** Exit code or signal; waits for the end. */
  async end(deadlineMs = START_DEADLINE_MS): Promise<number | string> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`sheep ${this.index} does not end\n${this.tail()}`)),
        deadlineMs,
      );
    });
    return Promise.race([this.exited, late]).finally(() => clearTimeout(timer));
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!this.running) return;
    this.child?.kill(signal);
    await this.end();
  }

  /** One call on a connection of its own. */
  async call<M extends ControlMethod>(
    method: M,
    params: ControlParams<M>,
    blob?: Buffer,
  ): Promise<ControlResult<M>> {
    const client = await ControlClient.connect({ host: '127.0.0.1', port: this.port });
    try {
      const signal = AbortSignal.timeout(CALL_DEADLINE_MS);
      return (await client.call(method, params, { signal, ...(blob && { blob }) })).result;
    } finally {
      client.close();
    }
  }

  /** What /health says: everything is up and caught up, as this sheep sees it. */
  async healthy(): Promise<boolean> {
    const response = await fetch(`http://127.0.0.1:${this.httpPort}/health`, {
      signal: AbortSignal.timeout(5000),
    });
    const body = (await response.json()) as { healthy: boolean };
    return response.status === 200 && body.healthy;
  }

  tail(): string {
    const log = existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8') : '';
    return [log, this.output].flatMap((text) => text.trimEnd().split('\n').slice(-LOG_TAIL_LINES)).join('\n');
  }
}

export interface RealClusterOptions {
  readonly sheep?: number;
  readonly copies?: number;
  /** Directory of a sheep; others than the default may lie on file systems of their own. */
  readonly dirOf?: (index: number, folder: string) => string;
  /** More options of a sheep. */
  readonly wordsOf?: (index: number, folder: string) => readonly string[];
  /** Ports of their sheepdog doors, where any free ones would not do. */
  readonly ports?: readonly number[];
  /** Address of an etcd; the embedded coordinator without. */
  readonly coordinator?: string;
}

export class RealCluster {
  private constructor(
    readonly folder: string,
    readonly sheep: readonly RealSheep[],
  ) {}

  static async start(options: RealClusterOptions = {}): Promise<RealCluster> {
    const count = options.sheep ?? 3;
    const folder = mkdtempSync(join(tmpdir(), 'sheepfold-cluster-'));
    const ports = await freePorts(count * 3);
    const sheep = Array.from({ length: count }, (_, index) => {
      const dir = options.dirOf?.(index, folder) ?? join(folder, `sheep${index}`);
      const [port, nbdPort, httpPort] = ports.slice(index * 3) as [number, number, number];
      const ownPort = options.ports?.[index] ?? port;
      const coordinator = options.coordinator ?? join(folder, 'coordinator');
      const one = new RealSheep(index, dir, coordinator, ownPort, nbdPort, httpPort, folder);
      one.words = options.wordsOf?.(index, folder) ?? [];
      return one;
    });
    const cluster = new RealCluster(folder, sheep);
    try {
      for (const one of sheep) one.spawn();
      await Promise.all(sheep.map((one) => one.waitUp()));
      // Who has not registered by then is no member: a sheep answers calls a moment earlier.
      await within(START_DEADLINE_MS, 'all sheep know each other', async () => {
        const { nodes } = await sheep[0]!.call('cluster.info', {});
        return nodes.filter((node) => node.up).length === count;
      });
      await sheep[0]!.call('cluster.format', { copies: options.copies ?? Math.min(3, count) });
      await cluster.waitHealthy();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** A sheep more, not started. */
  async spare(
    name: string,
    overrides: Partial<Pick<RealSheep, 'dir' | 'coordinator' | 'port'>> = {},
  ): Promise<RealSheep> {
    const [port, nbdPort, httpPort] = (await freePorts(3)) as [number, number, number];
    const own = {
      dir: join(this.folder, name),
      coordinator: join(this.folder, 'coordinator'),
      port,
      ...overrides,
    };
    return new RealSheep(90, own.dir, own.coordinator, own.port, nbdPort, httpPort, this.folder);
  }

  /** A call through the first sheep that runs. */
  call<M extends ControlMethod>(
    method: M,
    params: ControlParams<M>,
    blob?: Buffer,
  ): Promise<ControlResult<M>> {
    const one = this.sheep.find((each) => each.running);
    if (one === undefined) throw new Error('no sheep runs');
    return one.call(method, params, blob);
  }

  /** Waits until every sheep that runs sees everything up and caught up. */
  async waitHealthy(deadlineMs = START_DEADLINE_MS): Promise<void> {
    for (const one of this.sheep) {
      if (one.running) await within(deadlineMs, `sheep ${one.index} is healthy`, () => one.healthy());
    }
  }

  folderFor(name: string): string {
    const path = join(this.folder, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  tails(): string {
    return this.sheep
      .map((one) => `--- sheep ${one.index}, pid ${one.pid}, port ${one.port}\n${one.tail()}`)
      .join('\n');
  }

  /** Kills what runs and removes everything. */
  async stop(): Promise<void> {
    await Promise.all(this.sheep.map((one) => one.kill()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Blocks taken on disk by all objects of a sheep, its journal and the rest left out. */
export function objectDiskBytes(dir: string): number {
  return readdirSync(join(dir, 'store'), { recursive: true, withFileTypes: true })
    .filter(
      (entry) => entry.isFile() && !entry.parentPath.includes('journal') && !entry.name.includes('journal'),
    )
    .map((entry) => statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.blocks ?? 0)
    .reduce((sum, blocks) => sum + blocks * 512, 0);
}

/**
 * Runs a test body with a cluster: tails of all logs are part of a failure, and nothing is left behind. A body that
 * takes longer than `deadlineMs` fails.
 */
export async function withCluster(
  options: RealClusterOptions & { deadlineMs: number },
  body: (cluster: RealCluster) => Promise<void>,
): Promise<void> {
  const cluster = await RealCluster.start(options);
  let timer: NodeJS.Timeout | undefined;
  try {
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`no end after ${options.deadlineMs} ms`)),
        options.deadlineMs,
      );
    });
    await Promise.race([body(cluster), late]);
  } catch (error) {
    process.stderr.write(`${cluster.tails()}\n`);
    throw error;
  } finally {
    clearTimeout(timer);
    await cluster.stop();
  }
}
