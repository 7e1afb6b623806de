#!/usr/bin/env node
import { AppError, errorKinds } from '../base/errors.js';
import { prepareOriginal, startInBackground, startsInBackground, tellParent } from './background.js';
import { parseSheepArguments } from './config.js';
import { Heir } from './handover-heir.js';
import { allowHeapGrowth } from './heap-growth.js';
import { runSheep } from './sheep-process.js';

/** Only signals and exit codes live here. */
async function main(): Promise<void> {
  allowHeapGrowth();
  const config = parseSheepArguments(process.argv.slice(2));
  if (startsInBackground(config)) process.exit(await startInBackground(config));
  const heir = Heir.find();
  const prepared = await prepareOriginal(config);
  const sheep = await runSheep(heir?.configFor(config, prepared) ?? prepared, heir);
  tellParent('ready');
  const stop = () => void sheep.stop('a signal');
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // Whoever rotates logs says so, as with the original.
  process.on('SIGHUP', () => sheep.reopenLog());
  process.exit(await sheep.ended);
}

process.on('unhandledRejection', (error) => {
  // A promise nobody watches has failed: a belief is broken. Data is safer in a stopped process (D-12).
  process.stderr.write(`sheep: ${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(70);
});

main().catch(async (error: unknown) => {
  const { code, message } = AppError.from(error, 'system');
  tellParent(message);
  await Heir.failed(message);
  process.stderr.write(`sheep: ${message}\n`);
  process.exit(errorKinds[code].exit);
});
