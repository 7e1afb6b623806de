/**
 * Loaded into a process under test by `--import`: at SIGUSR2 it collects its garbage and writes into the file of
 * SHEEPFOLD_TEST_HEAP what is still held, in bytes. Resident memory cannot show a small leak, because the heap grows to
 * whatever the load asked of it.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Objects with finalizers need more than one collection. */
const COLLECTIONS = 5;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const file = process.env.SHEEPFOLD_TEST_HEAP;

process.on('SIGUSR2', async () => {
  if (file === undefined) return;
  for (let n = 0; n < COLLECTIONS; n++) {
    collect();
    await turn();
  }
  const { heapUsed, external } = process.memoryUsage();
  writeFileSync(`${file}.new`, String(heapUsed + external));
  renameSync(`${file}.new`, file);
});
