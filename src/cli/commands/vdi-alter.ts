import type { Command } from 'commander';
import { copiesArgument, openText } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { fetchVdis } from './vdi-list.js';

/** Changing the number of copies of a volume. */
export function vdiAlterCommands(parent: Command, runner: Runner): void {
  addLeaf<{ copies?: string; force?: boolean }>(parent, runner, {
    usage: 'alter-copy <name>',
    summary: 'change the number of copies of a volume (not available yet)',
    details: 'Until it is, a volume with another number of copies has to be made and filled.',
    examples: ['dog vdi create copy 4G -c 2', 'dog vdi read first | dog vdi write copy'],
    options: [
      ['-c, --copies <copies>', 'the new number of copies (needed)'],
      ['-f, --force', 'do not ask'],
    ],
    run: alterCopy,
  });
}

async function alterCopy(context: Context, [name]: string[], options: { copies?: string }): Promise<void> {
  if (options.copies === undefined) {
    throw new Exit(exitCodes.usage, "Please specify the number of copies with the '-c' option");
  }
  const copies = copiesArgument(options.copies);
  const vdi = await context.call('vdi.info', { name: name! }, { nodeList: true }).catch((error: unknown) => {
    const { exit, message, hint } = refusal(openText({ name: name! }), error);
    throw new Exit(exit, `${message}\nReading ${name}'s vdi object failure.`, { hint, quietHint: true });
  });
  if (vdi.copies === copies) {
    const text = `${name}'s redundancy level is already set to ${copies}, nothing changed.`;
    throw new Exit(exitCodes.failure, text);
  }
  const hasChildren = (await fetchVdis(context)).some(({ parentVid }) => parentVid === vdi.vid);
  if (vdi.parentVid !== 0 || hasChildren) {
    throw new Exit(
      exitCodes.failure,
      'Only standalone vdi supports changing redundancy level.\n' +
        `Please clone ${name} with -n (--no-share) option first.`,
    );
  }
  // Nothing is asked: nothing will be done.
  throw new Exit(
    exitCodes.failure,
    `${name} keeps its ${vdi.copies} copies: changing them is not available yet`,
    {
      hint: `Make another volume with 'dog vdi create NEW ${vdi.sizeBytes} -c ${copies}' and copy the data.`,
    },
  );
}
