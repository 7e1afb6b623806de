/** The figures as a table for people (Markdown) and as JSON for comparisons. */
import { table } from './markdown.js';
import type { Machine, Memory } from './measure.js';
import type { Sample } from './samples.js';
import { medianRatio, type Spread, spread } from './statistics.js';
import { type TargetName, targetNames, targetTitles } from './targets.js';
import type { VolumeTimes } from './volume-times.js';

export interface Row {
  readonly workload: string;
  readonly samples: Partial<Record<TargetName, Sample[]>>;
}

export interface Report {
  readonly startedAt: string;
  readonly machine: Machine;
  readonly options: { readonly sizeBytes: number; readonly runs: number; readonly secondsPerRun: number };
  /** Share of the machine's time that other virtual machines took, and that was idle, while this ran. */
  readonly stolenShare: number;
  readonly idleShare: number;
  readonly rows: readonly Row[];
  readonly memory: Partial<Record<TargetName, Memory[]>>;
  readonly volumeBytes: number;
  readonly volumeTimes: readonly VolumeTimes[];
}

const MIB = 1024 * 1024;
const YARDSTICK: TargetName = 'qemu-nbd';

export function formatReport(report: Report): string {
  const sections = [throughput, cpu, latency, memory, volumes].map((section) => section(report));
  return [head(report), ...sections.filter((section) => section !== '')].join('\n\n');
}

/** Raw samples, and the medians beside them. */
export function toJson(report: Report): string {
  const rows = report.rows.map(({ workload, samples }) => ({
    workload,
    targets: Object.fromEntries(
      present(report).map((name) => [
        name,
        {
          operationsPerSecond: spreadOf(samples[name], (s) => s.operationsPerSecond),
          daemonCpuMsPerThousand: spreadOf(samples[name], (s) => s.daemonCpuMsPerThousand),
          clientCpuMsPerThousand: spreadOf(samples[name], (s) => s.clientCpuMsPerThousand),
          ratioToQemuNbd: ratio(samples, name),
          samples: samples[name],
        },
      ]),
    ),
  }));
  return `${JSON.stringify({ ...report, rows }, undefined, 2)}\n`;
}

function head({ machine, options, stolenShare, idleShare }: Report): string {
  const { processor, processors, memoryBytes, kernel, node, tools, loadAverage } = machine;
  const versions = Object.entries(tools).map(([name, version]) => `${name} ${version}`);
  const memory = `${Math.round(memoryBytes / MIB / 1024)} GiB`;
  const rounds = `${options.runs} rounds of ${options.secondsPerRun} s per cell`;
  const shares = `${percent(stolenShare)} of the machine stolen, ${percent(idleShare)} idle`;
  return [
    `${processors} x ${processor}, ${memory}, Linux ${kernel}, Node ${node}; ${versions.join(', ')}.`,
    `Volume ${options.sizeBytes / MIB} MiB, prefilled; ${rounds}, targets in turn.`,
    `Load average at the start ${loadAverage.join(' ')}; ${shares}.`,
  ].join('\n');
}

function throughput(report: Report): string {
  const names = present(report);
  const titles = names.map((name) => targetTitles[name]);
  const lines = report.rows.map(({ workload, samples }) => {
    const cells = names.map((name) => rate(spreadOf(samples[name], (s) => s.operationsPerSecond)));
    return [workload, ...cells, ratio(samples, 'sheepfold').toFixed(2)];
  });
  return table(
    'Operations per second: median (least to most)',
    [...titles, `Sheepfold / ${YARDSTICK}`],
    lines,
  );
}

function cpu(report: Report): string {
  const names = present(report).filter((name) => name !== 'raw');
  const lines = report.rows.map(({ workload, samples }) => {
    const cells = names.map((name) =>
      spreadOf(samples[name], (s) => s.daemonCpuMsPerThousand).median.toFixed(1),
    );
    const client = spreadOf(samples.sheepfold, (s) => s.clientCpuMsPerThousand).median;
    return [workload, ...cells, client.toFixed(1)];
  });
  const titles = names.map((name) => targetTitles[name]);
  return table(
    'CPU milliseconds per thousand operations, all daemons',
    [...titles, 'client of Sheepfold'],
    lines,
  );
}

function latency(report: Report): string {
  const rows = report.rows.filter(({ samples }) => samples.sheepfold?.[0]?.latencyP99Us !== undefined);
  if (rows.length === 0) return '';
  const names = present(report);
  const lines = rows.map(({ workload, samples }) => {
    const cells = names.map((name) => {
      const p50 = spreadOf(samples[name], (s) => s.latencyP50Us ?? Number.NaN).median;
      const p99 = spreadOf(samples[name], (s) => s.latencyP99Us ?? Number.NaN).median;
      return `${Math.round(p50)} / ${Math.round(p99)}`;
    });
    return [workload, ...cells];
  });
  return table(
    'Latency by fio, microseconds: half / 99 of 100 are faster',
    names.map((name) => targetTitles[name]),
    lines,
  );
}

function memory(report: Report): string {
  const lines = present(report).flatMap((name) => {
    const each = report.memory[name] ?? [];
    if (each.length === 0) return [];
    const list = (pick: (memory: Memory) => number) => each.map((m) => Math.round(pick(m) / MIB)).join(' + ');
    return [[targetTitles[name], list((m) => m.residentBytes), list((m) => m.peakBytes)]];
  });
  return table('Memory of each daemon, MiB', ['resident at the end', 'peak'], lines);
}

function volumes({ volumeTimes, volumeBytes }: Report): string {
  const keys = ['createMs', 'snapshotMs', 'deleteSnapshotMs', 'discardMs', 'deleteVolumeMs'] as const;
  const names = ['create', 'snapshot', 'delete the snapshot', 'discard up to 1 GiB', 'delete the volume'];
  const lines = keys.map((key, i) => {
    const { median, min, max } = spread(volumeTimes.map((times) => times[key]));
    return [names[i]!, `${median.toFixed(1)} (${min.toFixed(1)} to ${max.toFixed(1)})`];
  });
  return table(`A full volume of ${volumeBytes / MIB} MiB, milliseconds`, ['median (least to most)'], lines);
}

function present(report: Report): TargetName[] {
  return targetNames.filter((name) => report.rows.some(({ samples }) => samples[name] !== undefined));
}

function ratio(samples: Row['samples'], name: TargetName): number {
  const rates = (of: TargetName) => (samples[of] ?? []).map((s) => s.operationsPerSecond);
  return medianRatio(rates(name), rates(YARDSTICK));
}

function spreadOf(samples: readonly Sample[] | undefined, pick: (sample: Sample) => number): Spread {
  return spread((samples ?? []).map(pick));
}

function rate({ median, min, max }: Spread): string {
  return `${short(median)} (${short(min)} to ${short(max)})`;
}

function short(value: number): string {
  if (value >= 10_000) return `${(value / 1000).toFixed(1)}k`;
  return value >= 100 ? value.toFixed(0) : value.toFixed(1);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}
