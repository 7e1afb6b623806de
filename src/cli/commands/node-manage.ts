import type { Command } from 'commander';
import { type LogLevel, levelNumber, logLevels, parseLogLevel } from '../../base/log-level.js';
import type { NodeInfo } from '../../control/api.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { callNode, fetchUpNodes } from '../nodes.js';

/** Commands that change one sheep: kill, its log. */
export function nodeManageCommands(parent: Command, runner: Runner): void {
  addLeaf<{ local?: boolean }>(parent, runner, {
    usage: 'kill [id]',
    summary: 'stop one sheep cleanly',
    details: `ID is the sheep's number in 'dog node list'. Volumes stay in use through the other sheep; nothing is
copied elsewhere, and when it is started again it catches up with what it missed.`,
    examples: ['dog node list', 'dog node kill 2', 'dog node kill -l -p 7001'],
    options: [['-l, --local', 'stop the sheep that is asked (-a, -p)']],
    run: kill,
  });
  const log = parent
    .command('log')
    .summary('the log of a sheep')
    .description('Commands for the log of a sheep.');
  const level = log
    .command('level')
    .summary('how much a sheep logs')
    .description('How much the sheep that is asked (-a, -p) writes to its log.');
  addLeaf(level, runner, {
    usage: 'set <level>',
    summary: 'log messages up to this level; until the sheep is started again',
    examples: ['dog node log level set debug', 'dog node log level set info -p 7001'],
    run: setLevel,
  });
  addLeaf(level, runner, {
    usage: 'get',
    summary: 'the level that is set',
    examples: ['dog node log level get'],
    run: getLevel,
  });
  addLeaf(level, runner, {
    usage: 'list',
    summary: 'the levels there are',
    examples: ['dog node log level list'],
    run: async (context) => {
      if (context.json) return context.printJson(logLevels);
      context.note(levelList());
    },
  });
}

async function kill(context: Context, [id]: string[], options: { local?: boolean }): Promise<void> {
  if (id === undefined && options.local !== true) {
    throw new Exit(exitCodes.usage, 'please specify -l option or node id');
  }
  const nodes = await fetchUpNodes(context);
  const target = options.local === true ? undefined : chosen(nodes, id!);
  const call = target === undefined ? context.call('node.kill', {}) : callNode(target, 'node.kill', {});
  await call.catch((error: unknown) => {
    throw refusal('Failed to execute request', error);
  });
  if (context.json)
    await context.printJson({ stopped: target ?? { host: context.host, port: context.port } });
}

function chosen(nodes: readonly NodeInfo[], id: string): NodeInfo {
  const node = /^\d{1,5}$/.test(id) ? nodes[Number(id)] : undefined;
  if (node !== undefined) return node;
  throw new Exit(exitCodes.usage, `Invalid node id '${id}'`, {
    hint: "'dog node list' shows the ids.",
    quietHint: true,
  });
}

/** Informational, yet on standard error: so it is in the original, and so scripts read it. */
function levelText(level: LogLevel): string {
  return `${level} (${levelNumber(level)})`;
}

function levelList(): string {
  return logLevels.map((level, number) => `${level}\t(${number})`).join('\n');
}

async function setLevel(context: Context, [text]: string[]): Promise<void> {
  const level = parseLogLevel(text!);
  if (level === undefined) {
    throw new Exit(exitCodes.usage, `invalid loglevel: ${text}\navailable loglevels:\n${levelList()}`);
  }
  const answer = await context.call('node.loglevel', { level }).catch((error: unknown) => {
    throw refusal('Failed to set the log level', error);
  });
  if (context.json) await context.printJson(answer);
}

async function getLevel(context: Context): Promise<void> {
  const answer = await context.call('node.loglevel', {}).catch((error: unknown) => {
    throw refusal('Failed to get the log level', error);
  });
  if (context.json) return context.printJson(answer);
  context.note(levelText(answer.level));
}
