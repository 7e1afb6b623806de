/**
 * `npm run bench`: one client against Sheepfold with three copies and against yardsticks. Options: --help.
 * No figure is ever a test: machines differ, and neighbours come and go.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { parseSize } from '../../src/cli/sizes.js';
import { hasTool } from '../helpers/requires.js';
import { prefill, runClient } from './clients.js';
import { describeMachine, machineTicks, memoryOf } from './measure.js';
import { formatReport, type Report, type Row, toJson } from './report.js';
import { calibrate, sample } from './samples.js';
import {
  type SheepfoldTarget,
  startNbdkit,
  startQemuNbd,
  startRaw,
  startSheepfold,
  type Target,
  type TargetName,
} from './targets.js';
import { type VolumeTimes, volumeTimes } from './volume-times.js';
import { type Workload, workloads } from './workloads.js';

const USAGE = `usage: npm run bench -- [--quick] [--runs N] [--size SIZE] [--seconds S] [--only TEXT] [--json FILE]

  --quick       fewer rows, shorter: under three minutes instead of about ten
  --runs N      rounds (5, quick 3); in each, every cell is measured once
  --size SIZE   of the volume (1G, quick 256M)
  --seconds S   per cell and round (1.5, quick 0.5)
  --only TEXT   rows whose name contains it
  --json FILE   writes all samples there; test/bench/results/ is the place for those worth keeping
`;

interface Settings {
  readonly runs: number;
  readonly sizeBytes: number;
  readonly seconds: number;
  readonly rows: readonly Workload[];
  readonly json?: string;
}

const MIB = 1024 * 1024;
const VOLUME_TIMES_PART = 4;

function parse(argv: string[]): Settings {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    args: argv,
    options: { quick: flag, help: flag, runs: text, size: text, seconds: text, only: text, json: text },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    process.exit(0);
  }
  const runs = Number(values.runs ?? (values.quick ? 3 : 5));
  const seconds = Number(values.seconds ?? (values.quick ? 0.5 : 1.5));
  const sizeBytes = parseSize(values.size ?? (values.quick ? '256M' : '1G')) ?? 0;
  if (!(runs >= 1 && seconds > 0 && sizeBytes >= 4 * MIB))
    throw new Error('runs, seconds or size is too small');
  const wanted = workloads.filter(
    (row) => (row.quick || !values.quick) && row.name.includes(values.only ?? ''),
  );
  const rows = wanted.filter((row) => hasTool(row.client));
  for (const row of wanted) if (!rows.includes(row)) say(`left out: ${row.name} (needs ${row.client})`);
  if (rows.length === 0) throw new Error('no row is left');
  return { runs, seconds, sizeBytes, rows, ...(values.json !== undefined && { json: values.json }) };
}

/** Progress goes to standard error: standard output is the report. */
function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}

async function startTargets(sizeBytes: number, started: Target[]): Promise<SheepfoldTarget> {
  const sheepfold = await startSheepfold(sizeBytes);
  started.push(sheepfold);
  if (hasTool('qemu-nbd')) started.push(await startQemuNbd(sizeBytes));
  else say('left out: qemu-nbd is not installed');
  if (hasTool('nbdkit')) started.push(await startNbdkit(sizeBytes));
  else say('left out: nbdkit is not installed');
  started.push(await startRaw(sizeBytes));
  for (const target of started) await prefill(target, sizeBytes);
  return sheepfold;
}

/** Rounds over all cells; in each the targets take turns, and who begins changes. */
async function measureRows(settings: Settings, targets: readonly Target[]): Promise<Row[]> {
  const { runs, seconds } = settings;
  const rows = settings.rows.map((workload) => ({ workload: workload.name, samples: {} as Row['samples'] }));
  const operations = new Map<string, number>();
  for (let run = 0; run < runs; run++) {
    say(`round ${run + 1} of ${runs}`);
    for (const [i, workload] of settings.rows.entries()) {
      for (let turn = 0; turn < targets.length; turn++) {
        const target = targets[(turn + run) % targets.length]!;
        const cell = `${workload.name} ${target.name}`;
        if (!operations.has(cell)) operations.set(cell, await calibrate(target, workload, seconds));
        const result = await sample(target, workload, operations.get(cell)!, seconds);
        (rows[i]!.samples[target.name] ??= []).push(result);
      }
    }
  }
  return rows;
}

async function toolVersions(): Promise<Record<string, string>> {
  const versions: Record<string, string> = {};
  for (const tool of ['qemu-img', 'fio', 'nbdkit']) {
    if (!hasTool(tool)) continue;
    versions[tool] = /\d+\.[\d.]*\d/.exec(await runClient(tool, ['--version']))?.[0] ?? 'unknown';
  }
  return versions;
}

async function bench(settings: Settings, targets: Target[]): Promise<Report> {
  const startedAt = new Date().toISOString();
  const machine = describeMachine(await toolVersions());
  const before = machineTicks();
  const sheepfold = await startTargets(settings.sizeBytes, targets);
  const rows = await measureRows(settings, targets);
  const memory: Partial<Record<TargetName, ReturnType<typeof memoryOf>[]>> = {};
  for (const { name, pids } of targets) memory[name] = pids.map(memoryOf);
  const volumeBytes = settings.sizeBytes / VOLUME_TIMES_PART;
  const times: VolumeTimes[] = [];
  say('snapshot and delete');
  for (let run = 0; run < settings.runs; run++) times.push(await volumeTimes(sheepfold, volumeBytes));
  const after = machineTicks();
  const share = (key: 'stolen' | 'idle') => (after[key] - before[key]) / (after.total - before.total);
  const { sizeBytes, runs, seconds } = settings;
  return {
    ...{ startedAt, machine, rows, memory, volumeBytes },
    options: { sizeBytes, runs, secondsPerRun: seconds },
    stolenShare: share('stolen'),
    idleShare: share('idle'),
    volumeTimes: times,
  };
}

async function main(): Promise<void> {
  const settings = parse(process.argv.slice(2));
  if (!hasTool('qemu-img')) throw new Error('qemu-img is needed: scripts/setup.sh test installs it');
  const targets: Target[] = [];
  try {
    const report = await bench(settings, targets);
    process.stdout.write(`${formatReport(report)}\n`);
    if (settings.json === undefined) return;
    mkdirSync(dirname(settings.json), { recursive: true });
    writeFileSync(settings.json, toJson(report));
    say(`wrote ${settings.json}`);
  } finally {
    for (const target of targets) await target.stop();
  }
}

// Exit handlers end the daemons and remove their files.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

main().catch((error: unknown) => {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
