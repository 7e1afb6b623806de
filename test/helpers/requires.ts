import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The minimal face of uvu's `test` that a skip needs. */
interface Skippable {
  (name: string, run: () => Promise<void> | void): void;
  skip(name: string, run: () => Promise<void> | void): void;
}

export function hasTool(tool: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK);
      return true;
    } catch {
      // Not in this folder; the next may have it.
      return false;
    }
  });
}

/**
 * `test`, or `test.skip` when a foreign tool is absent: says which on standard error, and is
 * counted as skipped.
 * `const withQemu = requires(test, 'qemu-img', 'qemu-io');`
 */
export function requires(test: Skippable, ...tools: string[]): Skippable {
  const absent = tools.filter((tool) => !hasTool(tool));
  if (absent.length === 0) return test;
  const skip = ((name: string, run: () => Promise<void> | void): void => {
    process.stderr.write(`skipped: ${name} (needs ${absent.join(', ')})\n`);
    test.skip(name, run);
  }) as Skippable;
  skip.skip = (name, run) => test.skip(name, run);
  return skip;
}
