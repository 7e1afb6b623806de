import { AppError } from '../../base/errors.js';
import { Exit, exitCodes } from '../exit.js';
import { fetchInfo, poll, withSheep } from './control.js';
import type { ClusterConfig, ClusterHome } from './home.js';
import type { SheepProcess } from './sheep-process.js';
import { sheepOf } from './up.js';

/**
 * Stopping a cluster on this machine: ask, then SIGTERM, then SIGKILL, each with a deadline. Even the last loses
 * nothing that was acknowledged (I-1); the first is merely a faster start next time.
 */
export interface StopDeadlines {
  /** After the polite request. */
  readonly cleanMs: number;
  readonly termMs: number;
  readonly killMs: number;
}

const stopDeadlines: StopDeadlines = { cleanMs: 20_000, termMs: 10_000, killMs: 5000 };
const SHUTDOWN_CALL_MS = 10_000;

export interface DownResult {
  /** Sheep that ran when the command began. */
  readonly stopped: number;
  /** Sheep that had to be killed. */
  readonly killed: number;
}

export async function bringDown(
  home: ClusterHome,
  config: ClusterConfig,
  deadlines: StopDeadlines = stopDeadlines,
): Promise<DownResult> {
  const running = sheepOf(home, config).filter((sheep) => sheep.pid() !== undefined);
  if (running.length === 0) return { stopped: 0, killed: 0 };
  // Of a host that joined a cluster only this host's sheep stop, not the cluster.
  const asked = config.joined === undefined && (await askToStop(running));
  let left = asked ? await waitForEnd(running, deadlines.cleanMs) : running;
  for (const sheep of left) sheep.signal('SIGTERM');
  left = await waitForEnd(left, deadlines.termMs);
  const killed = left.filter((sheep) => sheep.signal('SIGKILL')).length;
  left = await waitForEnd(left, deadlines.killMs);
  if (left.length > 0) {
    throw new Exit(exitCodes.system, `Sheep ${left.map((sheep) => sheep.index).join(', ')} did not stop`, {
      hint: `Process ids: ${left.map((sheep) => sheep.pid()).join(', ')}.`,
    });
  }
  return { stopped: running.length, killed };
}

/**
 * Any sheep will do: it tells the others. False when none could be asked, and when other hosts have joined: those are
 * not ours to stop.
 */
async function askToStop(running: readonly SheepProcess[]): Promise<boolean> {
  for (const sheep of running) {
    try {
      const { nodes } = await fetchInfo(sheep);
      if (nodes.some((node) => node.up && node.host !== sheep.host)) return false;
      const signal = AbortSignal.timeout(SHUTDOWN_CALL_MS);
      await withSheep(sheep, (client) => client.call('cluster.shutdown', {}, { signal }));
      return true;
    } catch (error) {
      // Ask the next one; a sheep that stops before it answers looks the same from here.
      if (!(error instanceof AppError)) throw error;
    }
  }
  return false;
}

/** Returns those that still run after the deadline. */
async function waitForEnd(
  sheep: readonly SheepProcess[],
  deadlineMs: number,
): Promise<readonly SheepProcess[]> {
  const alive = (): SheepProcess[] => sheep.filter((one) => one.pid() !== undefined);
  const done = await poll(deadlineMs, async () => (alive().length === 0 ? true : undefined));
  return done === true ? [] : alive();
}
