import type { Command } from 'commander';
import type { FamilyInfo } from '../../control/member-api.js';
import { copiesArgument, openText } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { callNode, fetchNodes } from '../nodes.js';
import { confirm } from '../prompt.js';
import { goesOn, Observer, waitUntil } from '../wait.js';
import { planOf, printPlan, refuseUnless } from './node-members.js';

interface AlterOptions {
  copies?: string;
  force?: boolean;
  dryRun?: boolean;
  wait?: boolean;
}

/** Changing the number of copies of a volume. */
export function vdiAlterCommands(parent: Command, runner: Runner): void {
  addLeaf<AlterOptions>(parent, runner, {
    usage: 'alter-copy <name>',
    summary: 'change the number of copies of a volume, while it is in use',
    details: `Its snapshots and clones change with it: they share objects. The new number counts when all new copies are
complete; superfluous ones are removed then. What is asked for in between replaces what was asked for before.`,
    examples: ['dog vdi alter-copy first -c 3', 'dog vdi alter-copy first -c 2 -f --no-wait'],
    options: [
      ['-c, --copies <copies>', 'the new number of copies (needed)'],
      ['-f, --force', 'do not ask, and do it also when it does not fit'],
      ['-n, --dry-run', 'only say what would be copied, and whether it fits'],
      ['--no-wait', 'return at once, while objects are being copied'],
    ],
    run: alterCopy,
  });
}

const caution = (others: number): string => `    __
   ()'\`;
   /\\|\`  Caution! Changing VDI's redundancy level will affect
  /  |   the VDI ${others === 0 ? 'itself only' : `and the ${others} it shares objects with`} and trigger recovery.
(/_)_|_  Are you sure you want to continue? [yes/no]: `;

async function alterCopy(context: Context, [name]: string[], options: AlterOptions): Promise<void> {
  if (options.copies === undefined) {
    throw new Exit(exitCodes.usage, "Please specify the number of copies with the '-c' option");
  }
  const copies = copiesArgument(options.copies);
  await context.call('vdi.info', { name: name! }, { nodeList: true }).catch((error: unknown) => {
    const { exit, message, hint } = refusal(openText({ name: name! }), error);
    throw new Exit(exit, `${message}\nReading ${name}'s vdi object failure.`, { hint, quietHint: true });
  });
  const before = await context.call('vdi.family', { name: name! });
  if ((before.next ?? before.copies) === copies) {
    if (before.next !== undefined) return follow(context, name!, before, options);
    const text = `${name}'s redundancy level is already set to ${copies}, nothing changed.`;
    throw new Exit(exitCodes.failure, text);
  }
  const plan = await planOf(context, { kind: 'copies', name: name!, copies });
  if (options.dryRun === true) return printPlan(context, plan);
  if (!plan.nodes.every(({ fits }) => fits)) refuseUnless(options.force ?? false, plan);
  if (options.force !== true) await ask(context, before, copies);
  await context.call('vdi.alter-copy', { name: name!, copies }).catch((error: unknown) => {
    throw refusal('Failed to alter copies', error);
  });
  return follow(context, name!, { ...before, next: copies }, options);
}

async function ask(context: Context, { versions }: FamilyInfo, copies: number): Promise<void> {
  const nodes = (await fetchNodes(context)).filter((node) => node.in && node.vnodes > 0);
  const zones = new Set(nodes.map((node) => node.zone)).size;
  if (copies > zones) {
    const text = `Number of copies (${copies}) is larger than number of zones (${zones}).`;
    await confirm(context, `${text}\nAre you sure you want to continue? [yes/no]: `, 'Scripts say -f.');
  }
  await confirm(context, caution(versions.length - 1), 'Scripts say -f.');
}

/** Until the new number counts, and the records say so. */
async function follow(
  context: Context,
  name: string,
  { copies: former, next, versions }: FamilyInfo,
  { wait }: AlterOptions,
): Promise<void> {
  const family = wait === false ? undefined : await waitForSwitch(context, name);
  if (context.json)
    return context.printJson({ name, copies: next, former, versions, ...(family && { family }) });
  if (family !== undefined && family.copies !== next) {
    const text = `Somebody else has set ${name}'s redundancy level to ${family.copies} meanwhile`;
    throw new Exit(exitCodes.failure, text);
  }
  context.note(`${name}'s redundancy level is set to ${next}, the old one was ${former}.`);
  if (family === undefined) context.note(goesOn);
}

async function waitForSwitch(context: Context, name: string): Promise<FamilyInfo> {
  const observer = new Observer(context);
  let family: FamilyInfo | undefined;
  const isDone = async (): Promise<boolean> => {
    family = await observer.ask((address) => callNode(address, 'vdi.family', { name }));
    return family.next === undefined && family.recorded;
  };
  await waitUntil(context, `copying ${name}`, isDone, observer);
  return family!;
}
