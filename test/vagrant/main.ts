/**
 * Keeps the machines of vagrant/ as namespaces until it is told to end (SIGTERM, SIGINT); whatever ends it ends them.
 * For `vagrant/namespaces.sh`, which finds them by the file it is given: a line with name, process id and address each,
 * written when all are up.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { Farm } from './farm.js';

const [file] = process.argv.slice(2);
if (file === undefined) {
  process.stderr.write('usage: main.js FILE\n');
  process.exit(64);
}

const farm = await Farm.make();
let ending = false;
async function end(code: number): Promise<void> {
  if (ending) return;
  ending = true;
  await farm.remove();
  process.exit(code);
}
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  // The helpers' own way is that of tests: an end at once, which leaves folders to the next run.
  process.removeAllListeners(signal);
  process.on(signal, () => void end(0));
}

try {
  await farm.bringUp('at once');
  const lines = farm.machines.map(({ name, pid, row }) => `${name} ${pid} ${row.address}\n`);
  // A rename: the file is there whole or not at all.
  writeFileSync(`${file}.new`, lines.join(''));
  renameSync(`${file}.new`, file);
  // Nothing else keeps this process.
  setInterval(() => {}, 2 ** 30);
} catch (error) {
  if (!ending) process.stderr.write(`${farm.logs}\n${error instanceof Error ? error.message : error}\n`);
  await end(1);
}
