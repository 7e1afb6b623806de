/**
 * Runs the groups of the matrix one after the other and prints the table as Markdown; with `--write` it also goes into
 * test/matrix/README.md. Exit 1 when a cell fails.
 *
 *     node dist/test/matrix/main.js [--write]
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { asMarkdown, type Result } from './matrix.js';

const here = dirname(fileURLToPath(import.meta.url));
const README = join('test', 'matrix', 'README.md');
const GROUPS = ['data', 'snapshots', 'images', 'guests'];
const [BEGIN, END] = ['<!-- table: begin -->', '<!-- table: end -->'];

function runGroup(group: string, folder: string): Promise<void> {
  const words = ['--enable-source-maps', join(here, `${group}.slow.test.js`)];
  const env = { ...process.env, SHEEPFOLD_MATRIX_FOLDER: folder };
  const child = spawn(process.execPath, words, { env, stdio: ['ignore', 2, 2] });
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

const folder = mkdtempSync(join(tmpdir(), 'matrix-'));
try {
  for (const group of GROUPS) await runGroup(group, folder);
  // The groups' numbers keep the rows in order.
  const files = readdirSync(folder).sort();
  const results = files.flatMap((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Result[]);
  const table = asMarkdown(results);
  process.stdout.write(`${table}\n`);
  if (process.argv.includes('--write')) {
    const text = readFileSync(README, 'utf8');
    const [head, tail] = [text.slice(0, text.indexOf(BEGIN)), text.slice(text.indexOf(END))];
    writeFileSync(README, `${head}${BEGIN}\n\n${table}\n\n${tail}`);
  }
  const isBad = files.length < GROUPS.length || results.some(({ state }) => state === 'fails');
  process.exitCode = isBad ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
