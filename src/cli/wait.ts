import { AppError } from '../base/errors.js';
import type { NodeInfo } from '../control/api.js';
import type { RecoveryStatus } from '../control/member-api.js';
import type { Context } from './context.js';
import { formatDuration } from './durations.js';
import { Exit, exitCodes } from './exit.js';
import { callNode } from './nodes.js';
import { openProgress, type Progress } from './progress.js';

const LOOK_MS = 400;
/** What stands in the way is told when it has done so for this long: much passes by itself. */
const TELL_AFTER_MS = 3000;
/** All sheep may be away for so long, as when a host starts again. */
const AWAY_MS = 120_000;

export interface ClusterState {
  readonly nodes: readonly NodeInfo[];
  readonly recovery: RecoveryStatus;
}

type Address = { readonly host: string; readonly port: number };

/** Asks one sheep after the other: the one that was asked first may be started again meanwhile. */
export class Observer {
  private addresses: readonly Address[];

  constructor(private readonly context: Context) {
    this.addresses = [{ host: context.host, port: context.port }];
  }

  async look(): Promise<ClusterState> {
    return this.ask(async (address) => {
      const recovery = await callNode(address, 'cluster.recovery', {});
      const nodes = await callNode(address, 'node.list', {});
      const others = nodes.filter((node) => node.up).map(({ host, port }) => ({ host, port }));
      const { host, port } = this.context;
      this.addresses = [address, { host, port }, ...others];
      return { nodes, recovery };
    });
  }

  /** Rejects when no sheep has answered for two minutes, or with what is no passing trouble. */
  async ask<T>(work: (address: Address) => Promise<T>): Promise<T> {
    for (const endMs = performance.now() + AWAY_MS; ; await pause(LOOK_MS)) {
      for (const address of this.addresses) {
        try {
          return await work(address);
        } catch (error) {
          if (!isPassing(error) || performance.now() > endMs) throw error;
        }
      }
    }
  }
}

function isPassing(error: unknown): boolean {
  const cause = error instanceof Exit ? error.cause : error;
  return AppError.isCode(cause, 'network', 'shutdown', 'wait-for-join', 'again', 'wait-for-format');
}

/** Shows how far the cluster is until `isDone`; says why it does not go on. Resolves with the state that was wanted. */
export async function waitUntil(
  context: Context,
  title: string,
  isDone: (state: ClusterState) => boolean | Promise<boolean>,
  observer = new Observer(context),
): Promise<ClusterState> {
  const progress = await openProgress(context, title);
  const teller = new Teller(context);
  try {
    for (;;) {
      const state = await observer.look();
      if (await isDone(state)) return state;
      show(progress, state.recovery);
      teller.hear(state.recovery.waiting);
      await pause(LOOK_MS);
    }
  } finally {
    progress.stop();
  }
}

function show(progress: Progress, { nodes, etaMs }: RecoveryStatus): void {
  const sum = (key: 'done' | 'total' | 'movedBytes') => nodes.reduce((all, node) => all + node[key], 0);
  const left = etaMs === undefined ? '' : `, about ${formatDuration(etaMs)} left`;
  progress.update({ done: sum('done'), total: sum('total'), unit: `objects${left}` });
}

/** Tells each reason once, when it has stood in the way for a while. */
class Teller {
  private readonly sinceMs = new Map<string, number>();
  private readonly told = new Set<string>();

  constructor(private readonly context: Context) {}

  hear(reasons: readonly string[]): void {
    for (const reason of this.sinceMs.keys()) if (!reasons.includes(reason)) this.sinceMs.delete(reason);
    for (const reason of reasons) {
      const since = this.sinceMs.get(reason) ?? performance.now();
      this.sinceMs.set(reason, since);
      if (performance.now() - since < TELL_AFTER_MS || this.told.has(reason)) continue;
      this.told.add(reason);
      this.context.note(`Waiting: ${reason}`);
    }
  }
}

/** For commands that do not wait themselves. */
export const goesOn = "It goes on by itself: 'dog cluster recover status' shows how far.";

export function refused(texts: readonly string[], hint: string, exit: number = exitCodes.failure): Exit {
  return new Exit(exit, `Nothing was done: ${texts.join('\n  ')}`, { hint });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
