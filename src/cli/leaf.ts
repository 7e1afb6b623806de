import type { Command } from 'commander';
import type { Context } from './context.js';

/** What a command does: its operands and its own options; global options are in the context. */
export type Run<O> = (context: Context, operands: string[], options: O) => Promise<void>;

/** Set by the program: gives every command its context, and handles its end. */
export type Runner = <O>(command: Command, run: Run<O>) => void;

/**
 * One command. `usage` is its name and operands (`create <name> <size>`), `examples` are lines that can be pasted;
 * they end the help text, which is where people look.
 */
export interface LeafSpec<O> {
  readonly usage: string;
  readonly summary: string;
  readonly details?: string;
  readonly examples: readonly string[];
  readonly options?: readonly (readonly [flags: string, description: string])[];
  readonly run: Run<O>;
}

export function addLeaf<O>(parent: Command, runner: Runner, spec: LeafSpec<O>): Command {
  const command = parent.command(spec.usage).summary(spec.summary);
  command.description(spec.details === undefined ? spec.summary : `${spec.summary}\n\n${spec.details}`);
  for (const [flags, description] of spec.options ?? []) command.option(flags, description);
  command.addHelpText('after', `\nExamples:\n${spec.examples.map((line) => `  ${line}`).join('\n')}`);
  runner(command, spec.run);
  return command;
}
