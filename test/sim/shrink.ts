/**
 * Makes a violation smaller: leaves out one fault, operation or client after the other as long as the run still
 * fails in the same way. What remains is usually the explanation. (A config other than the seed's own gives another
 * run, so it may still be another bug of the same kind.)
 */

import { SeededRandom } from '../../src/base/random.js';
import type { ClusterKind, Mutants } from '../helpers/sim-kind.js';
import { runSeed } from './swarm.js';
import { configFor, type SwarmConfig } from './swarm-config.js';

export interface ShrinkOptions {
  kind: ClusterKind;
  seed: number;
  mutants: Mutants;
  config: Partial<SwarmConfig>;
  print: (line: string) => void;
}

/** Prints the smallest failing config found and how to replay it; exit code 1 when the seed fails at all. */
export async function shrink(options: ShrinkOptions): Promise<number> {
  const { kind, seed, mutants, print } = options;
  const fails = async (config: Partial<SwarmConfig>): Promise<string | undefined> =>
    (await runSeed({ kind, seed, mutants, config })).failure?.split('\n')[0];
  const sameKind = (a: string, b: string): boolean => kindOf(a) === kindOf(b);
  let best = options.config;
  let failure = await fails(best);
  if (failure === undefined) {
    print(`seed ${seed} is good: nothing to shrink`);
    return 0;
  }
  for (let smaller = true; smaller; ) {
    smaller = false;
    for (const candidate of smallerConfigs(seed, best)) {
      const candidateFailure = await fails(candidate);
      if (candidateFailure === undefined || !sameKind(candidateFailure, failure)) continue;
      best = candidate;
      failure = candidateFailure;
      smaller = true;
      print(`still fails: ${JSON.stringify(best)}`);
      break;
    }
  }
  print(failure);
  const what = `--seed ${seed} --kind ${kind.name}${mutantText(mutants)}`;
  print(`replay: npm run sim -- ${what} --config '${JSON.stringify(best)}' -v`);
  return 1;
}

function* smallerConfigs(seed: number, given: Partial<SwarmConfig>): Iterable<Partial<SwarmConfig>> {
  const full = { ...configFor(seed, new SeededRandom(seed)), ...given };
  for (const name of Object.keys(full.faults) as (keyof SwarmConfig['faults'])[]) {
    const { [name]: _left, ...faults } = full.faults;
    yield { ...given, faults };
  }
  for (const [name, weight] of Object.entries(full.weights)) {
    if (weight > 0 && name !== 'read') yield { ...given, weights: { ...full.weights, [name]: 0 } };
  }
  if (full.clients > 1) yield { ...given, clients: Math.ceil(full.clients / 2) };
  if (full.gateways.length > 1) yield { ...given, gateways: full.gateways.slice(0, 1) };
  if (full.nodes > 3) yield { ...given, nodes: 3, gateways: [...new Set(full.gateways.map((g) => g % 3))] };
  if (full.operations > 10) yield { ...given, operations: Math.ceil(full.operations / 2) };
  if (full.durationMs > 2000) yield { ...given, durationMs: Math.ceil(full.durationMs / 2) };
  if (full.slowMessageChance > 0) yield { ...given, slowMessageChance: 0 };
  if (full.clockRates.some((rate) => rate !== 1)) yield { ...given, clockRates: [] };
}

/** The message without its numbers and names: enough to tell a stale read from a cluster that does not heal. */
function kindOf(failure: string): string {
  return failure
    .replace(/\(.*/, '')
    .replace(/[a-z]*-?\d[\w-]*/g, '')
    .slice(0, 24);
}

function mutantText(mutants: Mutants): string {
  return Object.keys(mutants)
    .map((name) => ` --mutant ${name}`)
    .join('');
}
