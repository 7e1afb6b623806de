#!/usr/bin/env node
// Runs test files (dist/test/**/*.test.js), each in a process of its own with a deadline, two at a time, and ends
// with the line `N passed, N failed` (and `, N skipped` when there are any). Exit 1 on a failure, or when nothing ran.
//
//   node scripts/run-tests.mjs quick|all [part of a path]
//
// quick: unit, scenario and process tests, and what says `// run: quick`. A file that says `// run: all`, or is named
// `*.slow.test.ts`, is left to `all`. A file may set its own deadline: `// deadline: 300 s`.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const testDirectory = process.env.TEST_DIRECTORY ?? join(root, 'dist', 'test');
const FILES_AT_ONCE = 2;
const DEADLINE_S = 120;
const OUTPUT_BYTES_MAX = 200_000;
const quickFolders = new Set(['unit', 'scenario', 'process']);

const [selection = 'quick', pattern = ''] = process.argv.slice(2);
if (!['quick', 'all'].includes(selection)) {
  process.stderr.write('usage: run-tests.mjs quick|all [part of a path]\n');
  process.exit(64);
}

function find() {
  if (!existsSync(testDirectory)) return [];
  return readdirSync(testDirectory, { recursive: true })
    .filter((name) => name.endsWith('.test.js') && name.includes(pattern))
    .map((name) => ({ name, path: join(testDirectory, name) }))
    .filter(({ path }) => isCurrent(path) && isSelected(path))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** A compiled test whose source is gone would be run for ever. */
function isCurrent(path) {
  const source = join(root, 'test', relative(testDirectory, path)).replace(/\.js$/, '.ts');
  return existsSync(source);
}

function isSelected(path) {
  if (selection === 'all') return true;
  if (path.endsWith('.slow.test.js')) return false;
  const mark = /^\/\/ run: (quick|all)$/m.exec(readFileSync(path, 'utf8'))?.[1];
  if (mark !== undefined) return mark === 'quick';
  return quickFolders.has(relative(testDirectory, path).split(sep)[0]);
}

function run({ name, path }) {
  const deadlineS = Number(/^\/\/ deadline: (\d+) s$/m.exec(readFileSync(path, 'utf8'))?.[1] ?? DEADLINE_S);
  const startMs = performance.now();
  return new Promise((resolve) => {
    // A process group of its own: a deadline ends the test together with what it started.
    const child = spawn(process.execPath, ['--enable-source-maps', path], {
      cwd: root,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
    });
    let output = '';
    const collect = (chunk) => {
      output = (output + chunk).slice(-OUTPUT_BYTES_MAX);
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It ended in this moment.
      }
    }, deadlineS * 1000);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const counts = count(output, code);
      if (late) output += `\nno end after ${deadlineS} s: stopped\n`;
      else if (signal !== null) output += `\nended by ${signal}\n`;
      resolve({ name, output, seconds: (performance.now() - startMs) / 1000, ...counts });
    });
  });
}

/** uvu's summary. A file that dies or says nothing counts as one failure: silence is not success. */
function count(output, code) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters
  const plain = output.replace(/\u001b\[[0-9;]*m/g, '');
  const value = (label) => Number(new RegExp(`^ {2}${label}: +(\\d+)`, 'm').exec(plain)?.[1] ?? Number.NaN);
  const [total, passed, skipped] = [value('Total'), value('Passed'), value('Skipped')];
  if (Number.isNaN(total)) return { passed: 0, failed: 1, skipped: 0 };
  const failed = total - passed;
  const silent = (code !== 0 && failed === 0) || total + skipped === 0;
  return { passed, failed: failed + (silent ? 1 : 0), skipped };
}

/** uvu's words for what failed come before all that the test printed: of a long output many keep only the beginning. */
function reasonFirst(output) {
  const at = output.search(/^ *FAIL {2}/m);
  return at < 0 ? output : `${output.slice(at).trimEnd()}\n--- before that:\n${output.slice(0, at)}`;
}

const files = find();
const results = [];
const queue = [...files];
async function worker() {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const result = await run(file);
    results.push(result);
    const { name, passed, failed, skipped, seconds } = result;
    const skips = skipped === 0 ? '' : `, ${skipped} skipped`;
    const mark = failed === 0 ? 'ok  ' : 'FAIL';
    process.stdout.write(`${mark} ${name} (${passed} passed${skips}, ${seconds.toFixed(1)} s)\n`);
    if (failed > 0) process.stdout.write(`${reasonFirst(result.output).replace(/^/gm, '    ')}\n`);
  }
}
await Promise.all(Array.from({ length: FILES_AT_ONCE }, worker));

const sum = (key) => results.reduce((all, result) => all + result[key], 0);
const [passed, failed, skipped] = [sum('passed'), sum('failed'), sum('skipped')];
const bad = results.filter((result) => result.failed > 0).map((result) => result.name);
if (bad.length > 0) process.stdout.write(`\nFailed files:\n${bad.map((name) => `  ${name}\n`).join('')}`);
if (files.length === 0) process.stdout.write(`no test file found in ${relative(root, testDirectory)}\n`);
process.stdout.write(`${passed} passed, ${failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}\n`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
