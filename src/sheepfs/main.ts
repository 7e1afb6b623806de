#!/usr/bin/env node
import { AppError, errorKinds } from '../base/errors.js';
import { runSheepfs } from './process.js';

/** Only signals and exit codes live here. */
async function main(): Promise<number> {
  const running = await runSheepfs(process.argv.slice(2), process.stdout);
  if (running === undefined) return 0;
  const stop = () => void running.stop();
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  await running.ended;
  return 0;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    const { code, message } = AppError.from(error, 'system');
    process.stderr.write(`sheepfs: ${message}\n`);
    process.exit(errorKinds[code].exit);
  },
);
