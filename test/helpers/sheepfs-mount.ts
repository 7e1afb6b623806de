/** A sheepfs process over a real cluster, mounted in the cluster's folder, and always unmounted in the end. */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  ownedProcess,
  type RealCluster,
  type RealClusterOptions,
  withCluster,
  within,
} from './real-cluster.js';
import { hasTool } from './requires.js';

const MAIN = fileURLToPath(new URL('../../src/sheepfs/main.js', import.meta.url));
const START_DEADLINE_MS = 30_000;
const UNMOUNT_MS = 5000;
const TOOL_DEADLINE_MS = 60_000;
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

/** Mounting needs the device, and root. */
export const canMount = existsSync('/dev/fuse') && process.getuid?.() === 0 && hasTool('mount');

export interface ToolResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A foreign program, while this process goes on. */
export function run(tool: string, ...words: string[]): Promise<ToolResult> {
  return new Promise((resolve) => {
    const options = {
      timeout: TOOL_DEADLINE_MS,
      maxBuffer: OUTPUT_BYTES_MAX,
      killSignal: 'SIGKILL' as const,
    };
    execFile(tool, words, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, stdout, stderr });
    });
  });
}

/** Its standard output. Rejects with what it said when it fails. */
export async function ran(tool: string, ...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(tool, ...words);
  if (code !== 0) throw new Error(`${tool} ${words.join(' ')}: ${code}\n${stdout}${stderr}`);
  return stdout;
}

export class SheepfsMount {
  private child: ChildProcess | undefined;
  private exited: Promise<void> = Promise.resolve();

  constructor(
    readonly path: string,
    private readonly words: readonly string[],
    private readonly logFile: string,
  ) {}

  get pid(): number {
    return this.child?.pid ?? -1;
  }

  at(name: string): string {
    return join(this.path, name);
  }

  async start(): Promise<void> {
    const words = [this.path, ...this.words, '--log', this.logFile];
    const child = spawn(process.execPath, ['--enable-source-maps', MAIN, ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child = ownedProcess(child);
    this.exited = new Promise((resolve) => child.once('exit', () => resolve()));
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (said += String(data)));
    await within(START_DEADLINE_MS, 'sheepfs has mounted', () => {
      if (child.exitCode !== null) throw new Error(said);
      return said.includes('mounted on');
    });
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    this.child?.kill(signal);
    await this.exited;
  }

  log(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8') : '';
  }

  async stop(): Promise<void> {
    spawnSync('umount', ['-i', '-l', this.path], { stdio: 'ignore' });
    if (this.child?.exitCode === null && this.child.signalCode === null) await this.kill('SIGKILL');
  }
}

/** Words for a sheep that has its NBD door on a socket, too. */
export function withNbdSocket(index: number, folder: string): readonly string[] {
  return ['--nbd-socket', join(folder, `nbd${index}.sock`)];
}

export function mountOf(cluster: RealCluster, name = 'mount', words: readonly string[] = []): SheepfsMount {
  const path = join(cluster.folder, name);
  mkdirSync(path, { recursive: true });
  const port = String(cluster.sheep[0]!.port);
  return new SheepfsMount(path, ['--port', port, ...words], join(cluster.folder, `${name}.log`));
}

/** A cluster and a mount of it; the log of sheepfs is part of a failure. */
export async function withMount(
  options: RealClusterOptions & { deadlineMs: number },
  body: (mount: SheepfsMount, cluster: RealCluster) => Promise<void>,
): Promise<void> {
  await withCluster({ wordsOf: withNbdSocket, ...options }, async (cluster) => {
    const mount = mountOf(cluster);
    let timer: NodeJS.Timeout | undefined;
    try {
      await mount.start();
      // Before the cluster's own deadline: its folder cannot be removed while something is mounted in it.
      const late = new Promise<never>((_, reject) => {
        const endMs = options.deadlineMs - UNMOUNT_MS;
        timer = setTimeout(() => reject(new Error(`no end after ${endMs} ms`)), endMs);
      });
      await Promise.race([body(mount, cluster), late]);
    } catch (error) {
      process.stderr.write(`--- sheepfs\n${mount.log()}\n`);
      throw error;
    } finally {
      clearTimeout(timer);
      await mount.stop();
    }
  });
}
