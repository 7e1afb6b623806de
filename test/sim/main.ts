/**
 * The campaign: many seeds in a few worker processes.
 *
 *   npm run sim -- --seeds 2000            seeds 1..2000
 *   npm run sim -- --seed 17 -v            one seed, with its event trace
 *   npm run sim -- --mutant ackBeforeReplicas   succeeds when the bug is caught
 *
 *   npm run sim -- --seed 17 --shrink      leaves out what the violation does not need
 *
 * Options: --seeds N, --start N, --minutes N (begins no seed after that), --seed N, --kind NAME, --mutant NAME,
 * --jobs N, --keep-going, --require-coverage (fails when an event of coverage.ts that 200 seeds should reach was not),
 * --json (the last line is a summary), --counters, --shrink, --config JSON (overrides parts of what the seed means, see
 * SwarmConfig), -v.
 * Exit 1 on a violation (or when a mutant survives), with the command that replays it.
 */
import { parseArgs } from 'node:util';
import { runCampaign } from './campaign.js';
import { forbidTimeAndChance } from './forbid.js';
import { clusterKinds, DEFAULT_KIND } from './kinds.js';
import { needsOf } from './sheep-mutants.js';
import { shrink } from './shrink.js';
import { runSeed } from './swarm.js';
import type { SwarmConfig } from './swarm-config.js';
import { runWorker } from './worker.js';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    start: { type: 'string', default: '1' },
    seed: { type: 'string' },
    kind: { type: 'string', default: DEFAULT_KIND },
    mutant: { type: 'string' },
    jobs: { type: 'string', default: '2' },
    minutes: { type: 'string', default: '0' },
    'require-coverage': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    'keep-going': { type: 'boolean', default: false },
    counters: { type: 'boolean', default: false },
    shrink: { type: 'boolean', default: false },
    config: { type: 'string', default: '{}' },
    verbose: { type: 'boolean', short: 'v', default: false },
    worker: { type: 'boolean', default: false },
  },
});

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const kind = clusterKinds[values.kind];

async function main(): Promise<number> {
  if (!kind) {
    print(`no cluster of kind ${values.kind}; there are: ${Object.keys(clusterKinds).join(', ')}`);
    return 64;
  }
  const mutants = values.mutant ? { [values.mutant]: true } : {};
  const config = JSON.parse(values.config) as Partial<SwarmConfig>;
  if (values.worker) return runWorker(kind, mutants, config);
  if (values.seed !== undefined) return runOne(Number(values.seed), mutants);
  return runCampaign({
    first: Number(values.start),
    count: Number(values.seeds),
    jobs: Number(values.jobs),
    kind: values.kind,
    config: values.config,
    ...(values.mutant ? { mutant: values.mutant } : {}),
    keepGoing: values['keep-going'],
    minutes: Number(values.minutes),
    requireCoverage: values['require-coverage'],
    json: values.json,
    print,
  });
}

async function runOne(seed: number, mutants: Record<string, boolean>): Promise<number> {
  forbidTimeAndChance();
  const config: Partial<SwarmConfig> = { ...needsOf(mutants), ...JSON.parse(values.config) };
  if (values.shrink) return shrink({ kind: kind!, seed, mutants, config, print });
  const started = process.cpuUsage();
  const trace = values.verbose ? { trace: print } : {};
  const result = await runSeed({ kind: kind!, seed, mutants, config, ...trace });
  const cpuMs = Math.round(process.cpuUsage(started).user / 1000);
  print(`seed ${seed}: ${result.failure ? 'VIOLATION' : 'good'}, trace ${result.traceHash}`);
  print(`  ${result.simulatedMs} ms simulated, ${result.events} events, ${cpuMs} ms of CPU`);
  if (values.counters) for (const [name, n] of Object.entries(result.counters)) print(`  ${n}\t${name}`);
  if (result.failure) print(result.failure);
  return result.failure ? 1 : 0;
}

process.exitCode = await main();
// Workers end when their parent hangs up; nothing else may keep the process.
if (!values.worker) process.exit();
