/**
 * The table of operations (rows) and clients (columns). A cell is a test, or the one-line reason why that client cannot
 * do that operation whatever serves it. A cell whose client is not installed is skipped by name.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import type { RealCluster } from '../helpers/real-cluster.js';
import type { Driver } from './drivers.js';
import { type Column, columnKeys, columns, openDriver } from './drivers.js';
import { endCluster, startCluster } from './volumes.js';

/** What a cell gets: a client, the cluster, and a volume name that no other cell uses. */
export interface Bench {
  readonly driver: Driver;
  readonly cluster: RealCluster;
  readonly name: string;
}

export type Cell = ((bench: Bench) => Promise<void>) | string;

/** Cells of one row, by column. */
export type Row = Readonly<Record<Column, Cell>>;

export interface Result {
  readonly row: string;
  readonly column: Column;
  readonly state: 'works' | 'fails' | 'skipped' | 'impossible';
  /** Why: the client's impossibility, or what is missing. */
  readonly reason?: string;
}

const CELL_DEADLINE_MS = 120_000;
/** A part of a cell's name, `row: column`, to run only some. */
const ONLY = process.env.SHEEPFOLD_MATRIX_ONLY ?? '';
/** Where each group leaves its results for `main.ts`. */
const FOLDER_VARIABLE = 'SHEEPFOLD_MATRIX_FOLDER';

/** Defines the tests of some rows, with one cluster for all of them. */
export function defineGroup(group: string, rows: Readonly<Record<string, Row>>): void {
  const results: Result[] = [];
  let cluster: RealCluster | undefined;
  test.before(async () => {
    // uvu keeps what a hook throws to itself.
    cluster = await startCluster().catch((error: Error) => {
      process.stderr.write(`no cluster: ${error.stack}\n`);
      throw error;
    });
  });
  test.after(async () => {
    const order = Object.keys(rows);
    // What is impossible was noted before anything ran.
    report(
      group,
      results.sort((a, b) => order.indexOf(a.row) - order.indexOf(b.row)),
    );
    if (cluster !== undefined) {
      const failed = results.some(({ state }) => state === 'fails');
      await endCluster(cluster, failed);
    }
  });
  for (const [row, cells] of Object.entries(rows)) {
    for (const column of columnKeys) {
      define(row, column, cells[column], results, () => cluster!);
    }
  }
}

function define(
  row: string,
  column: Column,
  cell: Cell,
  results: Result[],
  cluster: () => RealCluster,
): void {
  const name = `${row}: ${columns[column].title}`;
  if (!name.includes(ONLY)) return;
  if (typeof cell === 'string') {
    results.push({ row, column, state: 'impossible', reason: cell });
    return;
  }
  const missing = columns[column].missing();
  if (missing !== undefined) {
    process.stderr.write(`skipped: ${name} (needs ${missing})\n`);
    results.push({ row, column, state: 'skipped', reason: `needs ${missing}` });
    test.skip(name, () => {});
    return;
  }
  test(name, async () => {
    try {
      await attempt(cell, column, cluster(), `${row}-${column}`.toLowerCase().replace(/[^a-z]/g, '-'));
      results.push({ row, column, state: 'works' });
    } catch (error) {
      results.push({ row, column, state: 'fails' });
      throw error;
    }
  });
}

async function attempt(
  cell: (bench: Bench) => Promise<void>,
  column: Column,
  cluster: RealCluster,
  name: string,
): Promise<void> {
  const driver = await openDriver(column, cluster);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${CELL_DEADLINE_MS} ms`)), CELL_DEADLINE_MS);
  });
  try {
    await Promise.race([cell({ driver, cluster, name }), late]);
  } finally {
    clearTimeout(timer);
    await driver.close();
  }
}

function report(group: string, results: readonly Result[]): void {
  const folder = process.env[FOLDER_VARIABLE];
  if (folder === undefined) process.stdout.write(`\n${asMarkdown(results)}\n`);
  else {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${group}.json`), JSON.stringify(results));
  }
}

/** Results as a table, reasons as a numbered list under it. */
export function asMarkdown(results: readonly Result[]): string {
  const rows = [...new Set(results.map(({ row }) => row))];
  const reasons: string[] = [];
  const cell = (row: string, column: Column): string => {
    const found = results.find((result) => result.row === row && result.column === column);
    if (found === undefined) return '**not run**';
    const { state, reason } = found;
    if (state === 'works') return 'works';
    if (state === 'fails') return '**fails**';
    const number = reasons.includes(reason!) ? reasons.indexOf(reason!) + 1 : reasons.push(reason!);
    return `${state === 'skipped' ? 'skipped' : 'no'} (${number})`;
  };
  const head = ['', ...columnKeys.map((column) => columns[column].title)];
  const table = aligned([
    head,
    ...rows.map((row) => [row, ...columnKeys.map((column) => cell(row, column))]),
  ]);
  return [...table, '', ...reasons.map((reason, index) => `${index + 1}. ${reason}`)].join('\n');
}

/** Lines of a Markdown table, filled up as the formatter does. */
function aligned(table: readonly (readonly string[])[]): string[] {
  const widths = table[0]!.map((_, column) => Math.max(3, ...table.map((row) => row[column]!.length)));
  const lines = table.map((row) => `| ${row.map((cell, at) => cell.padEnd(widths[at]!)).join(' | ')} |`);
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [lines[0]!, rule, ...lines.slice(1)];
}
