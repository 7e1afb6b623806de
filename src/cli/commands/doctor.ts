import type { Command } from 'commander';
import { AppError } from '../../base/errors.js';
import { diagnose, summarise } from '../../control/doctor.js';
import type { Finding } from '../../control/doctor-api.js';
import type { Context } from '../context.js';
import { collectState, type NotReached, reachAny } from '../doctor-collect.js';
import { Exit, exitCodes } from '../exit.js';
import { findingRow, findingText } from '../findings-text.js';
import { addLeaf, type Runner } from '../leaf.js';

/** What is wrong with the cluster, in words, and what to do next. */
export function doctorCommands(parent: Command, runner: Runner): void {
  addLeaf<{ dir?: string }>(parent, runner, {
    usage: 'doctor',
    summary: 'what is wrong, what is at risk, and the next safe step',
    details: `Asks every sheep, and says in words what it finds, worst first: "bad" when data cannot be used, "risk"
when one failure more would make it so, "note" when it is good to know. It changes nothing. The commands that it names
ask before they give anything up.
Works also before the format, while sheep are down, and when the sheep of -a and -p does not answer but others of the
cluster on this machine do.
Raw lines: SEVERITY RULE TEXT. Exit codes: 0 when all is well, 1 when something is bad or at risk, 2 when no sheep
answers.`,
    examples: ['dog doctor', 'dog doctor -a 10.0.0.3', 'dog doctor --json'],
    options: [['--dir <directory>', "the directory of 'dog cluster up', to find its sheep"]],
    run: (context, _operands, options) => run(context, options),
  });
}

async function run(context: Context, options: { dir?: string }): Promise<void> {
  const reached = await reachAny(context, options.dir);
  if (!('client' in reached)) return tellUnreached(context, reached);
  try {
    const state = await collectState(reached.client).catch(tooOld);
    const findings = diagnose(state);
    const summary = summarise(state, findings);
    if (context.json) await context.printJson({ summary, findings });
    else await print(context, summary, findings);
    if (findings.some((f) => f.severity !== 'note')) throw new Exit(exitCodes.failure, '');
  } finally {
    reached.client.close();
  }
}

function tooOld(error: unknown): never {
  if (!AppError.isCode(error, 'not-supported')) throw error;
  throw new Exit(exitCodes.failure, 'The sheep is of an earlier version and cannot tell', {
    hint: "Upgrade the sheep first: 'dog cluster upgrade'.",
  });
}

async function tellUnreached(context: Context, { tried, mayStart }: NotReached): Promise<void> {
  const where = tried.length === 1 ? tried[0]! : `${tried.slice(0, -1).join(', ')} and ${tried.at(-1)}`;
  const finding: Finding = {
    rule: 'no-sheep',
    severity: 'bad',
    text: `No sheep answers at ${where}.`,
    next: mayStart
      ? { command: 'dog cluster up', effect: 'Starts the sheep of this machine; data that is there stays.' }
      : {
          command: 'dog doctor -a HOST -p PORT',
          effect:
            'Asks another sheep of the cluster. If none runs, start them: each says in its log what it waits for.',
        },
  };
  if (context.json) await context.printJson({ summary: finding.text, findings: [finding] });
  else await print(context, '', [finding]);
  throw new Exit(exitCodes.system, '');
}

async function print(context: Context, summary: string, findings: readonly Finding[]): Promise<void> {
  if (context.raw) {
    for (const finding of findings) await context.printLine(findingRow(finding));
    return;
  }
  const parts = [...(summary === '' ? [] : [summary]), ...findings.map(findingText)];
  await context.printLine(parts.join('\n\n'));
}
