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
  /** Runs when its group is named without a command. */
  readonly isDefault?: boolean;
  readonly options?: readonly (readonly [flags: string, description: string])[];
  readonly run: Run<O>;
}

export function addLeaf<O>(parent: Command, runner: Runner, spec: LeafSpec<O>): Command {
  const command = parent.command(spec.usage, { isDefault: spec.isDefault ?? false }).summary(spec.summary);
  command.description([sentence(spec.summary), paragraphs(spec.details ?? '')].join('\n\n').trimEnd());
  for (const [flags, description] of spec.options ?? []) command.option(flags, description);
  command.addHelpText('after', `\nExamples:\n${spec.examples.map((line) => `  ${line}`).join('\n')}`);
  runner(command, spec.run);
  return command;
}

/** A summary stands in a list as it is; at the head of a help text it is a sentence. */
function sentence(text: string): string {
  return `${text[0]!.toUpperCase()}${text.slice(1)}.`;
}

/** Lines that were broken for the source are joined: the help is broken anew for the terminal it is read on. */
function paragraphs(text: string): string {
  return text.replace(/([^\n])\n(?=[^\n\s])/g, '$1 ');
}
