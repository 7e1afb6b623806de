/** A comparison for people: tables in Markdown, what they compare, and the bars of its chart. */
import { table } from '../markdown.js';
import type { Spread } from '../statistics.js';
import { type TargetName, targetNames, targetTitles } from '../targets.js';
import { type ChartRow, chart, ratioText } from './chart.js';
import type { Comparison } from './compare.js';
import { advantage, type Figure, quietRounds, spreadOver } from './figures.js';
import { guarantees } from './guarantees.js';
import { cpuFigures, mainFigures, writtenFigures } from './tables.js';

const MIB = 2 ** 20;
const NONE = '-';
/** Those that keep three copies: ratios to the others compare different promises. */
const REPLICATED: readonly TargetName[] = ['ceph', 'gluster', 'sheepdog'];
const CHART_TITLE = 'How many times better Sheepfold is (right of 1) or worse (left of 1)';

export function formatComparison(comparison: Comparison): string {
  const main = mainFigures(comparison);
  const sections = [
    head(comparison),
    figureTable('Figures: median (least to most)', main, comparison),
    ratioTable(main, comparison),
    figureTable(
      'CPU microseconds per operation, all daemons and the client',
      cpuFigures(comparison),
      comparison,
    ),
    figureTable(
      'Bytes written to the disk, by everybody, for each byte of the client',
      writtenFigures(comparison),
      comparison,
    ),
    memoryTable(comparison),
    guaranteeTable(comparison),
    dropped(comparison),
  ];
  return sections.filter((section) => section !== '').join('\n\n');
}

/** An SVG of the ratios to other systems with three copies; undefined when there is none to show. */
export function comparisonChart(comparison: Comparison): string | undefined {
  const names = present(comparison).filter((name) => REPLICATED.includes(name));
  const rows = mainFigures(comparison).map((figure): ChartRow => {
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

function figureTable(title: string, figures: readonly Figure[], comparison: Comparison): string {
  const names = present(comparison);
  const lines = figures.flatMap((figure) => {
    const rounds = quietRounds(figure, comparison.stolenShareMax);
    const texts = names.map((name) => spreadText(spreadOver(rounds, name)));
    if (texts.every((text) => text === NONE) && rounds.length === figure.rounds.length) return [];
    return [[`${figure.name} (${figure.unit})`, ...texts, `${rounds.length} of ${figure.rounds.length}`]];
  });
  if (lines.length === 0) return '';
  return table(title, [...names.map((name) => targetTitles[name]), 'rounds kept'], lines);
}

function ratioTable(figures: readonly Figure[], comparison: Comparison): string {
  const names = present(comparison).filter((name) => name !== 'sheepfold');
  const lines = figures.flatMap((figure) => {
    const rounds = quietRounds(figure, comparison.stolenShareMax);
    const ratios = names.map((name) => advantage(figure, rounds, name));
    if (ratios.every((ratio) => ratio === undefined)) return [];
    return [[figure.name, ...ratios.map((ratio) => (ratio === undefined ? NONE : ratioText(ratio)))]];
  });
  if (lines.length === 0) return '';
  const words =
    'Medians of ratios within a round. Above 1 Sheepfold does more in a second, or takes less. Those with one copy ' +
    'are yardsticks.';
  const titles = names.map((name) => `Sheepfold : ${targetTitles[name]}`);
  return `${table('How many times better Sheepfold is', titles, lines)}\n\n${words}`;
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

function dropped({ rows, snapshots, stolenShareMax }: Comparison): string {
  const rounds = [...rows.flatMap((row) => row.rounds), ...snapshots];
  const noisy = rounds.filter((round) => Object.values(round).some((s) => s.stolenShare > stolenShareMax));
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

function spreadText(spread: Spread | undefined): string {
  if (spread === undefined) return NONE;
  const { median, min, max } = spread;
  return min === max ? short(median) : `${short(median)} (${short(min)} to ${short(max)})`;
}

function short(value: number): string {
  if (value >= 10_000) return `${(value / 1000).toFixed(1)}k`;
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
