/**
 * `npm run bench`: one client against Sheepfold with three copies and against yardsticks, or, with --peers, against
 * other systems. Options: --help. No figure is ever a test: machines differ, and neighbours come and go.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { hasTool } from '../helpers/requires.js';
import { prefill, runClient } from './clients.js';
import { describeDisk } from './disk.js';
import { describeMachine, machineTicks, memoryOf } from './measure.js';
import { type PeerSettings, parseOptions, type Settings, USAGE } from './options.js';
import { type Comparison, compare } from './peers/compare.js';
import { comparisonChart, formatComparison } from './peers/report.js';
import { say } from './progress.js';
import { measureRecovery, type RecoveryRun } from './recovery.js';
import { formatRecovery } from './recovery-report.js';
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

const VOLUME_TIMES_PART = 4;
const EXIT_LISTENERS_MAX = 40;
const RESULTS = join('test', 'bench', 'results');

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
  const settings = parseOptions(process.argv.slice(2));
  if (settings === undefined) {
    process.stdout.write(USAGE);
    return;
  }
  if (settings.recovery !== undefined) {
    await benchRecovery(settings, settings.recovery.depth);
    return;
  }
  if (!hasTool('qemu-img')) throw new Error('qemu-img is needed: scripts/setup.sh test installs it');
  const targets: Target[] = [];
  try {
    if (settings.peers !== undefined) await comparePeers(settings, settings.peers, targets);
    else await benchAlone(settings, targets);
  } finally {
    for (const target of targets) await target.stop();
  }
}

async function benchAlone(settings: Settings, targets: Target[]): Promise<void> {
  const report = await bench(settings, targets);
  process.stdout.write(`${formatReport(report)}\n`);
  if (settings.json !== undefined) write(settings.json, toJson(report));
}

async function benchRecovery({ sizeBytes, runs: count, json }: Settings, depth: number): Promise<void> {
  const options = { sizeBytes, depth };
  const [startedAt, machine, runs] = [new Date().toISOString(), describeMachine({}), [] as RecoveryRun[]];
  for (let run = 0; run < count; run++) {
    say(`recovery, run ${run + 1} of ${count}`);
    runs.push(await measureRecovery(options));
  }
  const report = { startedAt, machine, disk: describeDisk(), options, runs };
  process.stdout.write(`${formatRecovery(report)}\n`);
  if (json !== undefined) write(json, `${JSON.stringify(report, undefined, 2)}\n`);
}

async function comparePeers(settings: Settings, peers: PeerSettings, targets: Target[]): Promise<void> {
  const comparison = await compare(settings, peers, targets);
  process.stdout.write(`${formatComparison(comparison)}\n`);
  if (settings.json !== undefined) write(settings.json, `${JSON.stringify(comparison, undefined, 2)}\n`);
  if (peers.results !== undefined) writeResults(comparison, peers.results);
}

function writeResults(comparison: Comparison, what: string): void {
  const name = `${comparison.startedAt.slice(0, 10)}-${what}`;
  const svg = comparisonChart(comparison);
  const image = svg === undefined ? '' : `![How many times better Sheepfold is](${name}.svg)\n\n`;
  write(join(RESULTS, `${name}.md`), `# ${name}\n\n${image}${formatComparison(comparison)}\n`);
  if (svg !== undefined) write(join(RESULTS, `${name}.svg`), svg);
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  say(`wrote ${path}`);
}

// Each target has one.
process.setMaxListeners(EXIT_LISTENERS_MAX);

// Exit handlers end the daemons and remove their files.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));

main().catch((error: unknown) => {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
