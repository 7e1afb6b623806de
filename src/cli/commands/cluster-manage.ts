import type { Command } from 'commander';
import { AppError } from '../../base/errors.js';
import type { ClusterInfo } from '../../control/api.js';
import { copiesArgument } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { confirm } from '../prompt.js';
import { checkVdi, wrongAfter } from './vdi-check.js';
import { fetchVdis } from './vdi-list.js';

/** Commands that change how a running cluster keeps its data: check, reweight, alter-copy. */
export function clusterManageCommands(parent: Command, runner: Runner): void {
  addLeaf<CheckAllOptions>(parent, runner, {
    usage: 'check',
    summary: 'compare the replicas of all volumes and snapshots, and repair what differs',
    details: `As 'dog vdi check' for each of them; what versions share is looked at once. The cluster does the same
by itself in the background ('dog cluster scrub').
Exit code 1: something is wrong that could not be repaired (or was not to be, with -n).`,
    examples: ['dog cluster check', 'dog cluster check -n'],
    options: [['-n, --no-repair', 'only report']],
    run: checkAll,
  });
  addLeaf(parent, runner, {
    usage: 'reweight',
    summary: 'spread objects by the present size of the disks (not available yet)',
    details: 'The weight of a sheep is the one it had when the cluster was formatted.',
    examples: ['dog cluster reweight'],
    run: async (context) => {
      await fetchCluster(context);
      throw new Exit(exitCodes.failure, 'The cluster cannot be reweighted yet; nothing was changed', {
        hint: "Weights are set before the format: 'sheep -V COUNT', or --vnodes.",
      });
    },
  });
  addLeaf<{ copies?: string; force?: boolean }>(parent, runner, {
    usage: 'alter-copy',
    summary: 'how many copies volumes get that are made from now on',
    details: 'Volumes that exist keep theirs.',
    examples: ['dog cluster alter-copy -c 2', 'dog cluster alter-copy -c 3 -f'],
    options: [
      ['-c, --copies <copies>', 'copies of each object (needed)'],
      ['-f, --force', 'do not ask'],
    ],
    run: alterCopies,
  });
}

interface CheckAllOptions {
  repair?: boolean;
}

async function checkAll(context: Context, _operands: string[], { repair }: CheckAllOptions): Promise<void> {
  await fetchCluster(context);
  const options = { all: true, ...(repair === false && { repair }) };
  const answers: { name: string; snapId: number; tag: string; findings: number; wrong: number }[] = [];
  for (const { name, snapId, tag, snapshot } of await fetchVdis(context)) {
    const title = snapshot ? `snapshot ${name} (id: ${snapId}, tag: "${tag}")` : `vdi ${name}`;
    if (!context.json) await context.printLine(`${repair === false ? 'check' : 'fix'} ${title}`);
    try {
      const answer = await checkVdi(context, snapshot ? { name, snapId } : { name }, options);
      answers.push({ name, snapId, tag, findings: answer.findings, wrong: wrongAfter(answer) });
    } catch (error) {
      // A volume that was deleted since the list was made has nothing to check.
      if (!(error instanceof Exit) || !AppError.isCode(error.cause, 'no-vdi', 'no-tag')) throw error;
    }
  }
  if (context.json) await context.printJson(answers);
  const wrong = answers.filter((answer) => answer.wrong > 0).map(({ name }) => name);
  if (wrong.length > 0) throw new Exit(exitCodes.failure, `Not all is right with: ${wrong.join(', ')}`);
}

function fetchCluster(context: Context): Promise<ClusterInfo> {
  return context.call('cluster.info', {}, { nodeList: true }).catch((error: unknown) => {
    throw refusal('Failed to get node list', error, exitCodes.system);
  });
}

const alterCaution = `    __
   ()'\`;
   /\\|\`  Caution! Changing cluster's redundancy level will affect
  /  |   all the VDIs to be created later.
(/_)_|_  Are you sure you want to continue? [yes/no]: `;

async function alterCopies(
  context: Context,
  _operands: string[],
  options: { copies?: string; force?: boolean },
): Promise<void> {
  if (options.copies === undefined) {
    throw new Exit(exitCodes.usage, "Please specify the number of copies with the '-c' option");
  }
  const copies = copiesArgument(options.copies);
  const before = await fetchCluster(context);
  if (before.status === 'wait-for-format') {
    throw new Exit(exitCodes.failure, 'Failed to alter copies: Waiting for cluster to be formatted');
  }
  const zones = new Set(before.nodes.filter((node) => node.in && node.vnodes > 0).map((node) => node.zone))
    .size;
  if (copies > zones) {
    throw new Exit(
      exitCodes.failure,
      `Number of copies (${copies}) is larger than number of zones (${zones})`,
      {
        hint: 'Ask for fewer copies, or add a sheep in another zone.',
      },
    );
  }
  if (options.force !== true) await confirm(context, alterCaution, 'Scripts say -f.');
  if (copies === before.copies) {
    const text = `The cluster's redundancy level is already set to ${copies}, nothing changed.`;
    throw new Exit(exitCodes.failure, text);
  }
  const after = await context.call('cluster.alter-copy', { copies }).catch((error: unknown) => {
    throw refusal('Failed to alter copies', error);
  });
  if (context.json) return context.printJson(after);
  context.note(`The cluster's redundancy level is set to ${copies}, the old one was ${before.copies}.`);
}
