#!/usr/bin/env node
import { AppError, errorKinds } from '../base/errors.js';
import { parseSheepArguments } from './config.js';
import { allowHeapGrowth } from './heap-growth.js';
import { runSheep } from './sheep-process.js';

/** Only signals and exit codes live here. */
async function main(): Promise<void> {
  allowHeapGrowth();
  const sheep = await runSheep(parseSheepArguments(process.argv.slice(2)));
  const stop = () => void sheep.stop('a signal');
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.exit(await sheep.ended);
}

process.on('unhandledRejection', (error) => {
  // A promise nobody watches has failed: a belief is broken. Data is safer in a stopped process (D-12).
  process.stderr.write(`sheep: ${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(70);
});

main().catch((error: unknown) => {
  const { code, message } = AppError.from(error, 'system');
  process.stderr.write(`sheep: ${message}\n`);
  process.exit(errorKinds[code].exit);
});
