/** One worker process of a campaign: takes a seed, runs it, sends the result, until the parent hangs up. */
import type { ClusterKind, Mutants } from '../helpers/sim-kind.js';
import { forbidTimeAndChance } from './forbid.js';
import { needsOf } from './sheep-mutants.js';
import { runSeed, type SeedResult } from './swarm.js';
import type { SwarmConfig } from './swarm-config.js';

/** One seed in so many is run twice and must repeat itself. */
const SEEDS_PER_REPETITION = 50;

const STACK_FRAMES = 3;

export interface WorkerResult extends SeedResult {
  readonly cpuMs: number;
}

/** Never resolves by itself: the process ends with its parent. */
export function runWorker(
  kind: ClusterKind,
  mutants: Mutants,
  config: Partial<SwarmConfig>,
): Promise<number> {
  let seed = -1;
  // Errors are daily bread here, and their traces a good part of the cost. A seed run by itself has them in full.
  Error.stackTraceLimit = STACK_FRAMES;
  forbidTimeAndChance();
  // A rejected promise that nobody handles is a bug of the code under test: it belongs to the running seed.
  process.on('unhandledRejection', (error) => fail(seed, error));
  process.on('uncaughtException', (error) => fail(seed, error));
  process.on('message', async (message: { seed: number }) => {
    seed = message.seed;
    const before = process.cpuUsage();
    const result = await runAndRepeat(kind, seed, mutants, { ...needsOf(mutants), ...config });
    // Rejections of the last promises are reported when the event loop has gone round.
    await new Promise((resolve) => setImmediate(resolve));
    const used = process.cpuUsage(before);
    const sent: WorkerResult = { ...result, cpuMs: (used.user + used.system) / 1000 };
    process.send?.(sent);
  });
  return new Promise((resolve) => process.on('disconnect', () => resolve(0)));
}

async function runAndRepeat(
  kind: ClusterKind,
  seed: number,
  mutants: Mutants,
  config: Partial<SwarmConfig>,
): Promise<SeedResult> {
  const result = await runSeed({ kind, seed, mutants, config });
  if (result.failure !== undefined && Object.keys(mutants).length > 0) {
    // What fails without the deliberate bug has not noticed it.
    const { failure } = await runSeed({ kind, seed, config });
    return failure === undefined ? result : { ...result, failure: undefined };
  }
  if (seed % SEEDS_PER_REPETITION !== 0 || result.failure !== undefined) return result;
  const second = await runSeed({ kind, seed, mutants, config });
  if (second.traceHash === result.traceHash) return result;
  const hashes = `${result.traceHash}, ${second.traceHash}`;
  const failure = `the seed does not repeat itself (${hashes}): ${second.failure ?? 'good'}`;
  return { ...result, failure };
}

function fail(seed: number, error: unknown): void {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const result: WorkerResult = {
    seed,
    failure: `an error that nobody handles: ${text}`,
    traceHash: '',
    simulatedMs: 0,
    events: 0,
    counters: {},
    cpuMs: 0,
  };
  // The run may be stuck now: the parent starts another worker.
  process.send?.(result, () => process.exit(1));
}
