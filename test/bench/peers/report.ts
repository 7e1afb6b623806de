/** A comparison for people: tables in Markdown, what they compare, and the bars of its chart. */
import { table } from '../markdown.js';
import { type TargetName, targetNames, targetTitles } from '../targets.js';
import { formatWork } from '../work/format.js';
import { type ChartRow, chart } from './chart.js';
import type { Comparison } from './compare.js';
import { type Column, figureTable, ratioTable } from './figure-tables.js';
import { advantage, type Figure, quietRounds } from './figures.js';
import { guarantees } from './guarantees.js';
import { cpuFigures, mainFigures, writtenFigures } from './tables.js';

const MIB = 2 ** 20;
/** Those that keep three copies: ratios to the others compare different promises. */
const REPLICATED: readonly TargetName[] = ['ceph', 'gluster', 'sheepdog'];
const RATIO_WORDS =
  'Medians of ratios within a round. Above 1 Sheepfold does more in a second, or takes less. Those with one copy ' +
  'are yardsticks.';
const CHART_TITLE = 'How many times better Sheepfold is (right of 1) or worse (left of 1)';

export function formatComparison(comparison: Comparison): string {
  const main = mainFigures(comparison);
  const { stolenShareMax } = comparison;
  const columns = present(comparison).map(
    (name): Column<TargetName> => ({ name, title: targetTitles[name] }),
  );
  const figures = (title: string, rows: readonly Figure[]) =>
    figureTable(title, rows, columns, stolenShareMax);
  const ratios = ratioTable('How many times better Sheepfold is', main, columns, 'sheepfold', stolenShareMax);
  const sections = [
    head(comparison),
    figures('Figures: median (least to most)', main),
    ratios && `${ratios}\n\n${RATIO_WORDS}`,
    figures('CPU microseconds per operation, all daemons and the client', cpuFigures(comparison)),
    figures(
      'Bytes written to the disk, by everybody, for each byte of the client',
      writtenFigures(comparison),
    ),
    ...comparison.work.map((each) => formatWork(each, stolenShareMax)),
    memoryTable(comparison),
    guaranteeTable(comparison),
    dropped(comparison),
  ];
  return sections.filter((section) => section !== '').join('\n\n');
}

/** An SVG of the ratios to other systems with three copies; undefined when there is none to show. */
export function comparisonChart(comparison: Comparison): string | undefined {
  const names = present(comparison).filter((name) => REPLICATED.includes(name));
  const work = comparison.work.filter(({ own }) => own === 'sheepfold').flatMap(({ rows }) => rows);
  const rows = [...mainFigures(comparison), ...work].map((figure): ChartRow => {
    const rounds = quietRounds(figure, comparison.stolenShareMax);
    const bars = names.flatMap((name) => {
      const ratio = advantage(figure, rounds, name);
      return ratio === undefined ? [] : [{ title: targetTitles[name], ratio }];
    });
    return { label: figure.name, bars };
  });
  return rows.some(({ bars }) => bars.length > 0) ? chart(CHART_TITLE, rows) : undefined;
}

function head({ machine, disk, options, startedAt }: Comparison): string {
  const { processor, processors, memoryBytes, kernel, node, tools, loadAverage } = machine;
  const versions = Object.entries(tools).map(([name, version]) => `${name} ${version}`);
  return [
    `${startedAt.slice(0, 10)}: ${processors} x ${processor}, ${Math.round(memoryBytes / MIB / 1024)} GiB, ${disk}, ` +
      // What a builder appended names his machines.
      `Linux ${/^[\d.]*\d/.exec(kernel)?.[0] ?? kernel}, Node ${node}.`,
    `${versions.join(', ')}.`,
    `Client and all daemons on this machine. Volume ${options.sizeBytes / MIB} MiB, prefilled. Rounds: ` +
      `${options.runs}, ${options.secondsPerRun} s per cell after a second that does not count, targets in turn.`,
    `Load average at the start ${loadAverage.join(' ')}.`,
    'Durable writes carry FUA, or a flush follows each; where a driver knows no FUA, QEMU flushes. Scattered: far ' +
      'apart, all over the volume. CPU is without what the start and the end of the client cost.',
  ].join('\n');
}

function memoryTable(comparison: Comparison): string {
  const lines = present(comparison).flatMap((name) => {
    const daemons = comparison.memory[name] ?? [];
    if (daemons.length === 0) return [];
    const each = daemons.map(({ role, residentBytes }) => `${role} ${Math.round(residentBytes / MIB)}`);
    const sum = daemons.reduce((total, { residentBytes }) => total + residentBytes, 0);
    return [[targetTitles[name], each.join(', '), `${Math.round(sum / MIB)}`]];
  });
  return lines.length === 0 ? '' : table('Resident memory, MiB', ['each daemon', 'together'], lines);
}

function guaranteeTable(comparison: Comparison): string {
  const lines = present(comparison).map((name) => {
    const { plain, durable } = guarantees[name];
    return [targetTitles[name], durable, plain];
  });
  return table('Where a write is when it is acknowledged', ['durable rows', 'rows without a flush'], lines);
}

function dropped({ rows, snapshots, work, stolenShareMax }: Comparison): string {
  const ofWork = work.flatMap((each) => each.rows.flatMap((row) => row.rounds));
  const rounds = [...rows.flatMap((row) => row.rounds), ...snapshots, ...ofWork];
  const noisy = rounds.filter((round) => Object.values(round).some((s) => s!.stolenShare > stolenShareMax));
  const bound = `${Math.round(stolenShareMax * 1000) / 10} %`;
  return (
    `Dropped: ${noisy.length} of ${rounds.length} rounds of a row, in which other virtual machines took more than ` +
    `${bound} of the machine's time from one of the cells.`
  );
}

function present({ rows, snapshots, memory }: Comparison): TargetName[] {
  const rounds = [...rows.flatMap((row) => row.rounds), ...snapshots];
  return targetNames.filter((name) => rounds.some((round) => round[name] !== undefined) || memory[name]);
}
