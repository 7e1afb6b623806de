import type { Context } from './context.js';
import { Exit, exitCodes } from './exit.js';

/** The original's dog, asking. */
export const cautionDog = (words: string): string => `    __
   ()'\`;
   /\\|\`
  /  |   Caution! ${words}
(/_)_|_  Are you sure you want to continue? [yes/no]: `;

/**
 * Asks on standard output and reads one line. Whatever does not start with "yes", in any case, is a no; so is the
 * end of the input. A no ends the command with exit 1 and nothing done (the original's exit 0 hid it from scripts).
 * `hint` tells scripts, which cannot answer, how not to be asked.
 */
export async function confirm(context: Context, question: string, hint?: string): Promise<void> {
  await context.print(question);
  const line = await readLine(context);
  if (/^yes/i.test(line)) return;
  throw new Exit(exitCodes.failure, 'Nothing was done.', {
    hint: context.io.stdinIsTerminal ? undefined : hint,
  });
}

async function readLine(context: Context): Promise<string> {
  // Loaded only where somebody is asked: it costs more than the command beside it.
  const { createInterface } = await import('node:readline');
  const lines = createInterface({ input: context.io.stdin, terminal: false });
  try {
    for await (const line of lines) return line;
    return '';
  } finally {
    lines.close();
  }
}
