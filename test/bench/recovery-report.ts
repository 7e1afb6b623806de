/** What recovery and its client bore, as Markdown. */
import { table } from './markdown.js';
import type { Machine } from './measure.js';
import type { Move, RecoveryOptions, RecoveryRun } from './recovery.js';
import type { Seen } from './recovery-load.js';
import { spread } from './statistics.js';

const MIB = 2 ** 20;

export interface RecoveryReport {
  readonly startedAt: string;
  readonly machine: Machine;
  readonly disk: string;
  readonly options: RecoveryOptions;
  readonly runs: readonly RecoveryRun[];
}

/** Medians, with the least and the most where there are several runs. */
export function formatRecovery(report: RecoveryReport): string {
  return [head(report), moves(report.runs), client(report.runs)].join('\n\n');
}

function head({ startedAt, machine, disk, options, runs }: RecoveryReport): string {
  const { processor, processors, memoryBytes, node, loadAverage } = machine;
  const memory = `${Math.round(memoryBytes / MIB / 1024)} GiB`;
  return [
    `${startedAt.slice(0, 10)}: ${processors} x ${processor}, ${memory}, ${disk}, Node ${node}.`,
    `A fourth sheep joins three with three copies of a full volume of ${options.sizeBytes / MIB} MiB; runs: ` +
      `${runs.length}. The client reads and writes 4 KiB by turns, at random, depth ${options.depth}.`,
    `Load average at the start ${loadAverage.join(' ')}.`,
  ].join('\n');
}

function moves(runs: readonly RecoveryRun[]): string {
  const seconds = (ms: number) => ms / 1000;
  const rate = ({ bytes, ms }: Move) => bytes / MIB / seconds(ms);
  const lines: [string, (pick: (run: RecoveryRun) => Move) => (run: RecoveryRun) => number][] = [
    ['moved, MiB', (pick) => (run) => pick(run).bytes / MIB],
    ['time with the start of the sheep, s', (pick) => (run) => seconds(pick(run).ms)],
    ['MiB/s', (pick) => (run) => rate(pick(run))],
    ['times as long as a plain copy of its store', (pick) => (run) => pick(run).ms / run.plainCopy.ms],
    ['CPU of the three others, s', (pick) => (run) => seconds(pick(run).cpuMs)],
    ['of the machine, taken by other virtual machines, %', (pick) => (run) => pick(run).stolenShare * 100],
  ];
  return table(
    'Recovery',
    ['without clients', 'beside a client'],
    lines.map(([name, of]) => [
      name,
      figure(
        runs,
        of((run) => run.alone),
      ),
      figure(
        runs,
        of((run) => run.withClient),
      ),
    ]),
  );
}

function client(runs: readonly RecoveryRun[]): string {
  const phases = ['before', 'during', 'after'] as const;
  const lines: [string, keyof Seen][] = [
    ['requests per second', 'operationsPerSecond'],
    ['half are faster, ms', 'p50Ms'],
    ['90 of 100 are faster, ms', 'p90Ms'],
    ['99 of 100 are faster, ms', 'p99Ms'],
    ['the slowest, ms', 'maxMs'],
  ];
  return table(
    'What the client sees',
    ['before', 'during recovery', 'after'],
    lines.map(([name, key]) => [name, ...phases.map((phase) => figure(runs, (run) => run[phase][key]))]),
  );
}

function figure(runs: readonly RecoveryRun[], pick: (run: RecoveryRun) => number): string {
  const { median, min, max } = spread(runs.map(pick));
  return runs.length === 1 ? short(median) : `${short(median)} (${short(min)} to ${short(max)})`;
}

function short(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
