/** A table of other work as Markdown: figures, ratios, CPU, and how they came about. */
import { figureTable, ratioTable } from '../peers/figure-tables.js';
import type { Figure, Round } from '../peers/figures.js';
import type { WorkRound, WorkRow, WorkTable } from './table.js';

/** Rounds in which others took more than `stolenShareMax` of the machine's time count for no column of their row. */
export function formatWork({ title, columns, own, rows, notes }: WorkTable, stolenShareMax: number): string {
  const sections = [
    figureTable(`${title}: median (least to most)`, rows, columns, stolenShareMax),
    ratioTable(`${title}: ratios, above 1 the first is better`, rows, columns, own, stolenShareMax),
    figureTable(`${title}: CPU, all daemons and clients`, cpuFigures(rows), columns, stolenShareMax),
    notes.map((note) => `- ${note}`).join('\n'),
  ];
  return sections.filter((section) => section !== '').join('\n\n');
}

/** Of those rows in which it is counted. */
export function cpuFigures(rows: readonly WorkRow[]): Figure<string>[] {
  return rows.flatMap(({ name, cpuUnit, rounds }) =>
    cpuUnit === undefined
      ? []
      : [{ name, unit: cpuUnit, better: 'less' as const, rounds: rounds.map(cpuRound) }],
  );
}

function cpuRound(round: WorkRound): Round<string> {
  return Object.fromEntries(
    Object.entries(round).flatMap(([name, cell]) =>
      cell?.cpu === undefined ? [] : [[name, { value: cell.cpu, stolenShare: cell.stolenShare }]],
    ),
  );
}
