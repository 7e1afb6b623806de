import type { Command } from 'commander';
import type { NodeInfo } from '../../control/api.js';
import type { MemberChange, MovePlan, PlannedChange } from '../../control/member-api.js';
import { countArgument } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { addressOf, chosenNode, fetchNodes } from '../nodes.js';
import { planLines } from '../plan-text.js';
import { type ClusterState, goesOn, refused, waitUntil } from '../wait.js';

const VNODES_MAX = 65535;
const ZONE_MAX = 0xffffffff;

const nodeHelp = "NODE is the number in 'dog node list', HOST:PORT, or the id of the sheep.";
const planOptions = [
  ['-n, --dry-run', 'only say what would be moved, how long it takes, and whether it fits'],
  ['-f, --force', 'do it also when it does not fit, or leaves fewer sheep than volumes have copies'],
] as const;

interface PlanOptions {
  dryRun?: boolean;
  force?: boolean;
  wait?: boolean;
}

/** Commands that change which sheep hold objects, and how many. */
export function nodeMemberCommands(parent: Command, runner: Runner): void {
  addLeaf<PlanOptions>(parent, runner, {
    usage: 'drain <node>',
    summary: 'move all objects away from a sheep, so that it can be removed',
    details: `${nodeHelp} Volumes stay in use, and no copy is removed before all new ones are complete. The sheep
goes on serving its clients, and holds nothing in the end; 'dog node in' undoes it at any time.
Refused when what is moved does not fit on the others (exit code 4), or when fewer sheep would be left than volumes have
copies (exit code 1), unless --force is given.`,
    examples: ['dog node drain 3 --dry-run', 'dog node drain 127.0.0.1:7003', 'dog node drain 3 --no-wait'],
    options: [
      ...planOptions,
      ['--wait', 'return when nothing lies on it any more (the default)'],
      ['--no-wait', 'return at once, while objects are being moved'],
    ],
    run: drain,
  });
  addLeaf<PlanOptions>(parent, runner, {
    usage: 'out <node>',
    summary: 'place the objects of a sheep elsewhere; of one that is down, without waiting for it',
    details: `${nodeHelp} A sheep that is down is given up by itself after a while ('dog cluster settings'); this
does it at once. Its data is not forgotten: when it comes back, what it alone has is taken from it. For a sheep that
is up it is the same as 'dog node drain --no-wait'.`,
    examples: ['dog node out 127.0.0.1:7003 --dry-run', 'dog node out 127.0.0.1:7003 --wait'],
    options: [...planOptions, ['--wait', 'return when all objects have been moved']],
    run: (context, [text], options) =>
      alter(
        context,
        text!,
        { ...options, wait: options.wait ?? false },
        {
          change: (node) => ({ kind: 'out', id: node.id }),
          title: 'moving',
          isDone: isEmpty,
          done: (name) => `No object lies on ${name} any more.`,
        },
      ),
  });
  addLeaf<PlanOptions>(parent, runner, {
    usage: 'in <node>',
    summary: 'let objects lie on a sheep again that was drained or out',
    details: `${nodeHelp} A sheep that is started for the first time becomes a member by itself.`,
    examples: ['dog node in 3', 'dog node in 127.0.0.1:7003 --wait'],
    options: [...planOptions, ['--wait', 'return when all objects have been moved']],
    run: (context, [text], options) =>
      alter(
        context,
        text!,
        { ...options, wait: options.wait ?? false },
        {
          change: (node) => ({ kind: 'in', id: node.id }),
          title: 'moving',
          isDone: isSettled,
          done: (name) => `${name} has everything that it shall hold.`,
        },
      ),
  });
  weightCommands(parent, runner);
  addLeaf<{ end?: boolean }>(parent, runner, {
    usage: 'maintenance <node>',
    summary: 'keep a sheep from being given up while it is down',
    details: `${nodeHelp} A sheep that is down is waited for ten minutes ('dog cluster settings'), then its objects are
placed elsewhere. In maintenance it is waited for however long it takes; its writes go to the others, and it catches up
when it is back. It ends with --end only.`,
    examples: ['dog node maintenance 2', 'dog node maintenance 2 --end'],
    options: [['--end', 'the maintenance is over']],
    run: maintenance,
  });
  addLeaf(parent, runner, {
    usage: 'remove <node>',
    summary: 'forget a sheep that is stopped and holds nothing any more',
    details: `${nodeHelp} Drain it first, then stop it ('dog node kill'). It is a member again when it is started
with the same coordinator; its directory can be deleted.`,
    examples: ['dog node drain 3', 'dog node kill 3', 'dog node remove 127.0.0.1:7003'],
    run: remove,
  });
}

function weightCommands(parent: Command, runner: Runner): void {
  const run = (context: Context, text: string, countText: string, options: PlanOptions): Promise<void> => {
    const vnodes = countArgument(countText, 'weight', 0, VNODES_MAX);
    return alter(
      context,
      text,
      { ...options, wait: options.wait ?? false },
      {
        change: (node) => ({ kind: 'weight', id: node.id, vnodes }),
        title: 'moving',
        isDone: isSettled,
        done: (name) => `${name} holds what its weight of ${vnodes} means.`,
      },
    );
  };
  addLeaf<PlanOptions>(parent, runner, {
    usage: 'weight <node> <count>',
    summary: 'change how many objects lie on a sheep, beside the others',
    details: `${nodeHelp} COUNT is its number of points (vnodes) on the ring; 128 is the default, 256 is twice as
much. A sheep of weight 0 is a gateway: nothing lies on it.`,
    examples: ['dog node weight 3 256 --dry-run', 'dog node weight 3 256 --wait'],
    options: [...planOptions, ['--wait', 'return when all objects have been moved']],
    run: (context, [text, count], options) => run(context, text!, count!, options),
  });
  addLeaf<PlanOptions>(parent, runner, {
    usage: 'zone <node> <zone>',
    summary: 'tell in which zone a sheep is: those of one zone fail together',
    details: `${nodeHelp} Copies of an object lie in different zones as long as there are enough. A sheep keeps the zone
that it had when it joined, whatever it is started with later.`,
    examples: ['dog node zone 3 1 --dry-run', 'dog node zone 3 1'],
    options: [...planOptions, ['--wait', 'return when all objects have been moved']],
    run: (context, [text, zoneText], options) => {
      const zone = countArgument(zoneText!, 'zone', 0, ZONE_MAX);
      return alter(
        context,
        text!,
        { ...options, wait: options.wait ?? false },
        {
          change: (node) => ({ kind: 'zone', id: node.id, zone }),
          title: 'moving',
          isDone: isSettled,
          done: (name) => `Objects lie as ${name} in zone ${zone} means.`,
        },
      );
    },
  });
  const vnodes = parent
    .command('vnodes')
    .summary('the weight of a sheep')
    .description('The weight of a sheep in the placement of objects.');
  addLeaf(vnodes, runner, {
    usage: 'set <count>',
    summary: "change the weight of the sheep that is asked (-a, -p), as 'dog node weight' does",
    examples: ['dog node vnodes set 64', 'dog node vnodes set 64 -p 7001'],
    run: async (context, [count]) => {
      countArgument(count!, 'number of vnodes', 0, VNODES_MAX);
      const asked = (await fetchNodes(context)).find((node) => node.up && node.port === context.port);
      return run(context, asked?.id ?? addressOf(context), count!, {});
    },
  });
}

/** The new placement is there, and everybody has what it puts on him. */
function isSettled({ nodes, recovery }: ClusterState): boolean {
  return recovery.move === undefined && !nodes.some((node) => node.up && node.moving);
}

function isEmpty({ nodes }: ClusterState, id: string): boolean {
  const node = nodes.find((one) => one.id === id);
  return node === undefined || node.empty === true;
}

interface Alteration {
  readonly change: (node: NodeInfo) => MemberChange;
  readonly title: string;
  readonly isDone: (state: ClusterState, id: string) => boolean;
  readonly done: (name: string) => string;
}

async function drain(context: Context, [text]: string[], options: PlanOptions): Promise<void> {
  const node = chosenNode(await fetchNodes(context), text!);
  const name = addressOf(node);
  if (!node.up) {
    const hint = `Start it first; or go on without it: 'dog node out ${name}'.`;
    throw refused([`${name} is down and cannot give anything away`], hint);
  }
  return alter(context, text!, options, {
    change: ({ id }) => ({ kind: 'out', id }),
    title: `draining ${name}`,
    isDone: isEmpty,
    done: () => `No object lies on ${name} any more: 'dog node kill' and 'dog node remove' may follow.`,
  });
}

/** Says what a change would move, makes it unless something speaks against it, and waits until it is done. */
async function alter(
  context: Context,
  text: string,
  { dryRun, force, wait }: PlanOptions,
  what: Alteration,
): Promise<void> {
  const node = chosenNode(await fetchNodes(context), text);
  const change = what.change(node);
  const plan = await planOf(context, change);
  if (dryRun) return printPlan(context, plan);
  if (!context.json) for (const line of planLines(plan)) context.note(line);
  if (!plan.changes) return context.json ? context.printJson({ node, plan }) : undefined;
  refuseUnless(force ?? false, plan);
  const { epoch } = await makeChange(context, change);
  if (wait !== false) {
    context.remark(['Objects are being moved; that goes on when this command is interrupted.']);
    const state = await waitUntil(context, what.title, (now) => {
      return now.recovery.epoch >= (epoch ?? 0) && what.isDone(now, node.id);
    });
    if (context.json) return context.printJson({ plan, epoch, nodes: state.nodes });
    return context.note(what.done(addressOf(node)));
  }
  if (context.json) return context.printJson({ plan, epoch });
  if (plan.movedObjects > 0) context.note(goesOn);
}

export async function printPlan(context: Context, plan: MovePlan): Promise<void> {
  if (context.json) return context.printJson(plan);
  for (const line of planLines(plan)) await context.printLine(line);
  for (const { text } of plan.refusals) await context.printLine(`It would be refused: ${text}.`);
}

export function refuseUnless(force: boolean, plan: MovePlan): void {
  if (force || plan.refusals.length === 0) return;
  const full = plan.refusals.some(({ code }) => code === 'no-space');
  throw refused(
    plan.refusals.map(({ text }) => text),
    full
      ? 'Make room or add a sheep first; --force does it as far as there is room, and waits then.'
      : '--force does it all the same.',
    full ? exitCodes.full : exitCodes.failure,
  );
}

export async function planOf(context: Context, change: PlannedChange): Promise<MovePlan> {
  return context.call('member.plan', change).catch((error: unknown) => {
    throw refusal('Failed to find out what would be moved', error);
  });
}

async function makeChange(context: Context, change: MemberChange): Promise<{ epoch?: number }> {
  return context.call('member.change', change).catch((error: unknown) => {
    throw refusal('Failed to change the cluster', error);
  });
}

async function maintenance(context: Context, [text]: string[], { end }: { end?: boolean }): Promise<void> {
  const node = chosenNode(await fetchNodes(context), text!);
  const on = end !== true;
  const answer = await makeChange(context, { kind: 'maintenance', id: node.id, on });
  if (context.json) return context.printJson({ node: { ...node, maintenance: on }, ...answer });
  const name = addressOf(node);
  if (on)
    context.note(`${name} is waited for while it is down; 'dog node maintenance ${name} --end' ends it.`);
  else context.note(`${name} is given up again when it is down for too long.`);
}

async function remove(context: Context, [text]: string[]): Promise<void> {
  const node = chosenNode(await fetchNodes(context), text!);
  const name = addressOf(node);
  if (node.empty !== true) {
    const hint = node.up ? `Drain it first: 'dog node drain ${name}'.` : `First 'dog node out ${name}'.`;
    throw refused([`objects lie on ${name}`], hint);
  }
  if (node.up) throw refused([`${name} is up`], `Stop it first: 'dog node kill' (or 'dog node in ${name}').`);
  const answer = await makeChange(context, { kind: 'remove', id: node.id }).catch((error: unknown) => {
    // Somebody else was faster.
    if (error instanceof Exit && error.exit === exitCodes.missing) return {};
    throw error;
  });
  if (context.json) return context.printJson({ removed: node, ...answer });
  context.note(`${name} is no member any more. Its directory may be deleted; started again, it joins anew.`);
}
