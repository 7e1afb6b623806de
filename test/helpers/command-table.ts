/**
 * The table of virsh commands in pool-backend/README.md: a row for each command, a column for each way to reach a
 * cluster, a note for each refusal. Columns come from tests that run apart, some on few machines: each replaces or
 * checks its own and leaves the others as they are.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

const README = join(process.cwd(), 'pool-backend', 'README.md');
const BEGIN = '<!-- commands: written by test/process/pool-commands*.test.ts -->\n';
const END = '<!-- end of commands -->';

const DONE = 'done';
/** Of a command that this virsh does not have, or a column that never ran. */
const NOTHING = '-';

/** What the columns are called, in their order. */
export const columnTitles = {
  own: 'our daemon',
  ownNewer: 'our daemon, newer virsh',
  virtqemud: 'behind virtqemud',
  sheepfs: 'sheepfs in a `dir` pool',
  backend: "libvirt's own backend",
} as const;
export type ColumnName = keyof typeof columnTitles;

export interface Column {
  /** Of the programs that took part; shown, and never compared: another version may do the same. */
  readonly versions: { readonly virsh: string; readonly daemon: string };
  /** By command: `done`, or why it was refused. */
  readonly outcomes: ReadonlyMap<string, string>;
}

export type Table = ReadonlyMap<ColumnName, Column>;

const names = Object.keys(columnTitles) as ColumnName[];
const versionRows = ['virsh', 'daemon'] as const;

/** As Markdown, the same for the same columns. */
export function renderTable(table: Table): string {
  const notes: string[] = [];
  const cell = (outcome: string | undefined): string => {
    if (outcome === undefined) return NOTHING;
    if (outcome === DONE) return DONE;
    if (!notes.includes(outcome)) notes.push(outcome);
    return `no [${notes.indexOf(outcome) + 1}]`;
  };
  const row = (first: string, of: (column: Column) => string | undefined): string[] => [
    first,
    ...names.map((name) => {
      const column = table.get(name);
      return column === undefined ? NOTHING : (of(column) ?? NOTHING);
    }),
  ];
  const commands = new Set([...table.values()].flatMap(({ outcomes }) => [...outcomes.keys()]));
  const rows = [
    ...versionRows.map((what) => row(`version of ${what}`, ({ versions }) => versions[what])),
    ...[...commands].sort().map((each) => row(`\`${each}\``, ({ outcomes }) => cell(outcomes.get(each)))),
  ];
  const list = notes.map((note, index) => `${index + 1}. ${note}\n`).join('');
  return aligned([['Command', ...names.map((name) => columnTitles[name])], ...rows]) + (list && `\n${list}`);
}

/** What `renderTable` made, whatever a formatter did to its blanks since. */
export function parseTable(text: string): Table {
  const lines = text.split('\n');
  const notes = new Map(
    lines.flatMap((line) => [...line.matchAll(/^(\d+)\. (.*)$/g)].map((m) => [m[1]!, m[2]!] as const)),
  );
  const [head = [], , ...rows] = lines.filter((line) => line.startsWith('|')).map(cells);
  const table = new Map<ColumnName, Column>();
  for (const name of names) {
    const at = head.indexOf(columnTitles[name]);
    if (at === -1) continue;
    const texts = new Map(
      rows.map((row) => [row[0]!, row[at]!] as const).filter(([, cell]) => cell !== NOTHING),
    );
    const version = (what: string) => texts.get(`version of ${what}`) ?? NOTHING;
    const outcomes = [...texts].flatMap(([first, cell]) => {
      const command = /^`(.*)`$/.exec(first)?.[1];
      const note = /^no \[(\d+)\]$/.exec(cell)?.[1];
      return command === undefined ? [] : [[command, note === undefined ? cell : notes.get(note)!] as const];
    });
    if (outcomes.length === 0) continue;
    const versions = { virsh: version('virsh'), daemon: version('daemon') };
    table.set(name, { versions, outcomes: new Map(outcomes) });
  }
  return table;
}

/** The README has this column with these outcomes; with POOL_TABLE=write it gets it. */
export function keepColumn(name: ColumnName, column: Column): void {
  const readme = readFileSync(README, 'utf8');
  const [from, to] = [readme.indexOf(BEGIN) + BEGIN.length, readme.indexOf(END)];
  assert.ok(from >= BEGIN.length && to >= from, 'pool-backend/README.md has a place for the table');
  const table = new Map(parseTable(readme.slice(from, to)));
  if (process.env.POOL_TABLE === 'write') {
    table.set(name, column);
    writeFileSync(README, readme.slice(0, from) + renderTable(table) + readme.slice(to));
    return;
  }
  const sorted = (outcomes: Iterable<readonly [string, string]>) => [...outcomes].sort();
  assert.equal(sorted(table.get(name)?.outcomes ?? []), sorted(column.outcomes));
}

function cells(line: string): string[] {
  return line
    .slice(1, line.lastIndexOf('|'))
    .split('|')
    .map((cell) => cell.trim());
}

function aligned([head = [], ...rows]: readonly string[][]): string {
  const widths = head.map((_, at) => Math.max(...[head, ...rows].map((row) => row[at]!.length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, at) => cell.padEnd(widths[at]!)).join(' | ')} |\n`;
  return line(head) + line(widths.map((width) => '-'.repeat(width))) + rows.map(line).join('');
}
