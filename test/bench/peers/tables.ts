/** The figures of a comparison, row by row, out of all its samples. */
import { median } from '../statistics.js';
import { type TargetName, targetNames } from '../targets.js';
import type { ComparedSample, Comparison, DaemonMemory, SnapshotSample } from './compare.js';
import type { PerTarget } from './field.js';
import type { Cell, Figure, Round } from './figures.js';
import { SNAPSHOT_ALONE_ROW, SNAPSHOT_ROW, WRITES_AFTER_ROW } from './rows.js';

const MIB = 2 ** 20;
/** Of the daemons that keep objects; managers, monitors and helpers are in the table of memory alone. */
const STORING = ['sheep', 'OSD', 'brick'];

/** The rows of the first table, in the order in which they are read. */
export function mainFigures(comparison: Comparison): Figure[] {
  const { rows, snapshots } = comparison;
  const cpu = cpuFigures(comparison).filter(({ name }) => name === '4 KiB durable write, depth 32');
  return [
    ...rows.map(({ workload, rounds }): Figure => {
      const isLarge = workload.blockBytes >= MIB;
      const rate = (s: ComparedSample) =>
        isLarge ? (s.operationsPerSecond * workload.blockBytes) / 1e6 : s.operationsPerSecond;
      const unit = isLarge ? 'MB/s' : '1/s';
      return { name: workload.name, unit, better: 'more', rounds: rounds.map((round) => cells(round, rate)) };
    }),
    ...snapshotFigures(snapshots),
    ...cpu.map((figure) => ({ ...figure, name: `CPU of a ${figure.name}` })),
    ...memoryFigures(comparison.memory),
  ];
}

/** Of the daemons and the client together, without what the client's coming and going costs. */
export function cpuFigures({ rows }: Comparison): Figure[] {
  const each = (s: ComparedSample) => {
    const startMsPerThousand = (s.startCpuMs / s.operations) * 1000;
    return Math.max(0, s.daemonCpuMsPerThousand + s.clientCpuMsPerThousand - startMsPerThousand);
  };
  return rows.map(({ workload, rounds }) => ({
    ...{ name: workload.name, unit: 'us', better: 'less' as const },
    rounds: rounds.map((round) => cells(round, each)),
  }));
}

/** Of the whole disk: a busy machine's other processes are in it. */
export function writtenFigures({ rows }: Comparison): Figure[] {
  return rows
    .filter(({ workload }) => workload.direction === 'write')
    .map(({ workload, rounds }) => ({
      ...{ name: workload.name, unit: 'B', better: 'less' as const },
      rounds: rounds.map((round) => cells(round, (s) => s.writtenPerByte)),
    }));
}

function snapshotFigures(snapshots: readonly PerTarget<SnapshotSample>[]): Figure[] {
  if (snapshots.length === 0) return [];
  const figure = (name: string, pick: (sample: SnapshotSample) => number | undefined): Figure => ({
    ...{ name, unit: 'ms', better: 'less' },
    rounds: snapshots.map((round) => cells(round, pick)),
  });
  return [
    figure(SNAPSHOT_ROW, (s) => s.snapshotMs),
    figure(SNAPSHOT_ALONE_ROW, (s) => s.lookMs && Math.max(1, s.snapshotMs - s.lookMs)),
    figure(WRITES_AFTER_ROW, (s) => s.writesMs),
  ];
}

/** Read once, after all rounds: it is no rate that a neighbour could lower. */
function memoryFigures(memory: PerTarget<DaemonMemory[]>): Figure[] {
  const round: Round = {};
  for (const name of targetNames) {
    const storing = (memory[name] ?? []).filter(({ role }) => STORING.includes(role));
    const bytes = median(storing.map(({ residentBytes }) => residentBytes));
    if (storing.length > 0) round[name] = { value: bytes / MIB, stolenShare: 0 };
  }
  return [{ name: 'memory of a storing daemon', unit: 'MiB', better: 'less', rounds: [round] }];
}

/** Targets that have no such figure are not in it. */
function cells<T extends { readonly stolenShare: number }>(
  round: PerTarget<T>,
  pick: (sample: T) => number | undefined,
): Round {
  const entries = Object.entries(round) as [TargetName, T][];
  return Object.fromEntries(
    entries.flatMap(([name, sample]): [TargetName, Cell][] => {
      const value = pick(sample);
      return value === undefined ? [] : [[name, { value, stolenShare: sample.stolenShare }]];
    }),
  );
}
