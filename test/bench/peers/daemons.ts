/** The daemons of one peer, in a temporary folder of their own: both are gone when this process is, however it ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ownedProcess, within } from '../../helpers/real-cluster.js';
import { hasTool } from '../../helpers/requires.js';
import type { Target } from '../targets.js';

const STOP_DEADLINE_MS = 10_000;
const LOG_TAIL_BYTES = 1000;

/** Starts a peer's daemons by `start`; when that fails, those that run are ended. */
export async function withDaemons(start: (daemons: PeerDaemons) => Promise<Target>): Promise<Target> {
  const daemons = new PeerDaemons();
  try {
    return await start(daemons);
  } catch (error) {
    await daemons.stop();
    throw error;
  }
}

export class PeerDaemons {
  /** Beside the stores of the sheep: on the same disk. */
  readonly folder = mkdtempSync(join(tmpdir(), 'sheepfold-peer-'));
  private readonly children = new Map<string, { child: ChildProcess; log: string }>();
  private readonly remove = () => {
    for (const { child } of this.children.values()) child.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  };

  constructor() {
    process.once('exit', this.remove);
  }

  path(...names: string[]): string {
    return join(this.folder, ...names);
  }

  /**
   * Starts a program that stays in the foreground; what it prints goes to NAME.out. Returns its process id. `log` is
   * the file of the folder that says why it ended.
   */
  start(name: string, command: string, words: readonly string[], log = `${name}.out`): number {
    const output = openSync(this.path(`${name}.out`), 'a');
    // The kernel ends it with us even when we get no chance to.
    const dying = hasTool('setpriv') ? ['setpriv', '--pdeathsig', 'KILL'] : [];
    const [program, ...rest] = [...dying, command, ...words] as [string, ...string[]];
    const child = ownedProcess(spawn(program, rest, { stdio: ['ignore', output, output] }));
    closeSync(output);
    this.children.set(name, { child, log });
    if (child.pid === undefined) throw new Error(`${command} does not start`);
    return child.pid;
  }

  /** Polls until `attempt` is true; rejects at once when one of the daemons has ended, with the end of what it said. */
  async ready(deadlineMs: number, what: string, attempt: () => Promise<boolean> | boolean): Promise<void> {
    let ended: string | undefined;
    await within(deadlineMs, what, async () => {
      ended = this.ended();
      return ended !== undefined || (await attempt());
    });
    if (ended !== undefined) throw new Error(ended);
  }

  /** Processes whose command line names the folder; daemons that daemons have started are among them. */
  relatives(): { pid: number; words: string[] }[] {
    return readdirSync('/proc').flatMap((name) => {
      const words = /^\d+$/.test(name) ? commandLine(name) : [];
      return words.some((word) => word.includes(this.folder)) ? [{ pid: Number(name), words }] : [];
    });
  }

  /** Ends all at once: what they keep is thrown away. */
  async stop(): Promise<void> {
    const all = [...this.children.values()].map(({ child }) => child);
    for (const child of all) child.kill('SIGKILL');
    await within(STOP_DEADLINE_MS, 'the daemons end', () =>
      all.every((child) => child.exitCode !== null || child.signalCode !== null || child.pid === undefined),
    );
    this.remove();
    process.off('exit', this.remove);
  }

  private ended(): string | undefined {
    for (const [name, { child, log }] of this.children) {
      if (child.exitCode === null && child.signalCode === null) continue;
      return `${name} ended: ${readFileSync(this.path(log), 'utf8').slice(-LOG_TAIL_BYTES).trim()}`;
    }
    return undefined;
  }
}

function commandLine(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch {
    // It has ended since the folder was read.
    return [];
  }
}
