/** Figures of columns that took turns, as Markdown: medians with their spread, and ratios. */
import { table } from '../markdown.js';
import type { Spread } from '../statistics.js';
import { ratioText } from './chart.js';
import { advantage, type Figure, quietRounds, spreadOver } from './figures.js';

const NONE = '-';

export interface Column<Name extends string> {
  readonly name: Name;
  readonly title: string;
}

/** Empty when there is no figure. A row all of whose rounds were too noisy stays, without figures. */
export function figureTable<Name extends string>(
  title: string,
  figures: readonly Figure<Name>[],
  columns: readonly Column<Name>[],
  stolenShareMax: number,
): string {
  const lines = figures.flatMap((figure) => {
    const rounds = quietRounds(figure, stolenShareMax);
    const texts = columns.map(({ name }) => spreadText(spreadOver(rounds, name)));
    if (texts.every((text) => text === NONE) && rounds.length === figure.rounds.length) return [];
    return [[`${figure.name} (${figure.unit})`, ...texts, `${rounds.length} of ${figure.rounds.length}`]];
  });
  if (lines.length === 0) return '';
  return table(title, [...columns.map((column) => column.title), 'rounds kept'], lines);
}

/** How many times better the column `own` is than each of the others; empty when there is no pair. */
export function ratioTable<Name extends string>(
  title: string,
  figures: readonly Figure<Name>[],
  columns: readonly Column<Name>[],
  own: Name,
  stolenShareMax: number,
): string {
  const others = columns.filter(({ name }) => name !== own);
  const lines = figures.flatMap((figure) => {
    const rounds = quietRounds(figure, stolenShareMax);
    const ratios = others.map(({ name }) => advantage(figure, rounds, name, own));
    if (ratios.every((ratio) => ratio === undefined)) return [];
    return [[figure.name, ...ratios.map((ratio) => (ratio === undefined ? NONE : ratioText(ratio)))]];
  });
  if (lines.length === 0) return '';
  const short = own === 'sheepfold' ? 'Sheepfold' : columns.find(({ name }) => name === own)!.title;
  return table(
    title,
    others.map((column) => `${short} : ${column.title}`),
    lines,
  );
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
