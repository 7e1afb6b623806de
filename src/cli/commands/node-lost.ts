import type { Command } from 'commander';
import type { LossReport, MemberChange } from '../../control/member-api.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { addressOf, chosenNode, fetchNodes } from '../nodes.js';
import { lossLines } from '../plan-text.js';
import { openProgress } from '../progress.js';
import { goesOn, refused } from '../wait.js';

interface LossOptions {
  yes?: boolean;
}

const yesOption = ['--yes', 'do it; without this it only says what is lost'] as const;

/** `node lost`: the data of a sheep will never come back. */
export function nodeLostCommands(parent: Command, runner: Runner): void {
  addLeaf<LossOptions>(parent, runner, {
    usage: 'lost <node>',
    summary: 'give up a sheep whose data will never come back, and say what that loses',
    details: `NODE is HOST:PORT or the id of a sheep that is down. Its objects are placed elsewhere, from the other
copies. Without --yes nothing is done: it says which volumes had the newest content of something on this sheep alone.
Of these the others may have an older state; 'dog cluster accept-loss' goes on with that.
A sheep that may come back needs none of this: start it, or 'dog node out' meanwhile.`,
    examples: ['dog node lost 127.0.0.1:7002', 'dog node lost 127.0.0.1:7002 --yes'],
    options: [yesOption],
    run: lost,
  });
}

/** `cluster accept-loss`: go on with what is left. */
export function acceptLossCommands(parent: Command, runner: Runner): void {
  addLeaf<LossOptions>(parent, runner, {
    usage: 'accept-loss',
    summary: 'go on with the newest content that is left where the newest of all is lost',
    details: `Objects whose newest content is lost with all of its holders are not served: never is older data shown
as if nothing had happened. This lets the sheep that are up serve what they have of them. It cannot be undone; start
every sheep that may still come back first. Without --yes nothing is done: it says which volumes lose what.`,
    examples: ['dog cluster accept-loss', 'dog cluster accept-loss --yes'],
    options: [yesOption],
    run: acceptLoss,
  });
}

async function lost(context: Context, [text]: string[], { yes }: LossOptions): Promise<void> {
  const node = chosenNode(await fetchNodes(context), text!);
  const name = addressOf(node);
  if (node.up) {
    throw refused(
      [`${name} is up: its data is not lost`],
      `To move its objects away: 'dog node drain ${name}'.`,
    );
  }
  const change: MemberChange = { kind: 'lost', id: node.id };
  const report = await reportOf(context, change);
  if (!context.json) for (const line of lossLines(report)) await context.printLine(line);
  await needYes(context, yes, report);
  await makeChange(context, change);
  if (context.json) return context.printJson({ node, report });
  context.note(`${name} is given up.`);
  if (report.versions.length === 0) return context.note(goesOn);
  context.note("What is lost is not served until 'dog cluster accept-loss --yes'.");
}

async function acceptLoss(context: Context, _operands: string[], { yes }: LossOptions): Promise<void> {
  const down = (await fetchNodes(context)).filter((node) => !node.up && node.empty !== true);
  const report = await reportOf(context, { kind: 'accept-loss' });
  if (report.versions.length === 0 && report.checked === 0) {
    if (context.json) return context.printJson({ report, accepted: false });
    return context.note('Nothing is lost: every object has a sheep with its newest content, up or down.');
  }
  if (!context.json) {
    for (const line of lossLines(report)) await context.printLine(line);
    for (const node of down) {
      context.note(`${addressOf(node)} is down: if it can be started, do that first; it may have more.`);
    }
  }
  await needYes(context, yes, report);
  await makeChange(context, { kind: 'accept-loss' });
  if (context.json) return context.printJson({ report, accepted: true });
  context.note(
    "The loss is accepted. 'dog cluster check' compares all copies; check the file systems inside too.",
  );
}

/** Exit 1 with nothing done: a question that scripts would have to answer is an option here. */
async function needYes(context: Context, yes: boolean | undefined, report: LossReport): Promise<void> {
  if (yes === true) return;
  if (context.json) await context.printJson({ report });
  throw new Exit(exitCodes.failure, 'Nothing was done.', { hint: 'If this is what shall be: --yes.' });
}

async function reportOf(context: Context, change: MemberChange): Promise<LossReport> {
  const progress = await openProgress(context, 'looking through the volumes');
  return context
    .call('member.loss', change, { onProgress: (p) => progress.update(p) })
    .catch((error: unknown) => {
      throw refusal('Failed to find out what is lost', error);
    })
    .finally(() => progress.stop());
}

async function makeChange(context: Context, change: MemberChange): Promise<void> {
  await context.call('member.change', change).catch((error: unknown) => {
    throw refusal('Failed to change the cluster', error);
  });
}
