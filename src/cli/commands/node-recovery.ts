import type { Command } from 'commander';
import type { NodeInfo } from '../../control/api.js';
import { countArgument } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { callNode, fetchUpNodes } from '../nodes.js';
import { openProgress } from '../progress.js';

const WATCH_MS = 500;

/** Commands for sheep that are given what they lack: after an absence, a loss, a change of the placement. */
export function nodeRecoveryCommands(parent: Command, runner: Runner): void {
  const recovery = parent
    .command('recovery')
    .summary('how far sheep are with what they lack')
    .description(
      'Shows sheep that catch up after they were away, or take objects over. Reads and writes go on meanwhile.',
    );
  addLeaf<{ progress?: boolean }>(recovery, runner, {
    usage: 'info',
    isDefault: true,
    summary: 'the sheep that lack something (also without "info")',
    details: 'Raw lines: IDX HOST:PORT VNODES ZONE DONE TOTAL, in objects.',
    examples: ['dog node recovery', 'dog node recovery info -P', 'dog node recovery -r'],
    options: [['-P, --progress', 'watch with a progress bar until all have everything']],
    run: info,
  });
  addLeaf(recovery, runner, {
    usage: 'set-throttle <max> <interval>',
    summary: 'limit the speed of catching up (only 0 0, no limit, for now)',
    details: 'MAX objects each INTERVAL milliseconds. A limit of your own is not available yet.',
    examples: ['dog node recovery set-throttle 0 0'],
    run: setThrottle,
  });
  addLeaf(recovery, runner, {
    usage: 'get-throttle',
    summary: 'the limit of the speed of catching up',
    examples: ['dog node recovery get-throttle'],
    run: async (context) => {
      await fetchUpNodes(context);
      if (context.json) return context.printJson({ max: 0, intervalMs: 0 });
      context.note('max (0), interval (0)');
    },
  });
}

interface Row {
  index: number;
  node: NodeInfo;
  done: number;
  total: number;
}

async function info(context: Context, _operands: string[], options: { progress?: boolean }): Promise<void> {
  if (options.progress === true) return watch(context);
  const rows = await fetchRows(context);
  if (context.json) {
    return context.printJson(rows.map(({ index, node, done, total }) => ({ ...node, index, done, total })));
  }
  if (!context.raw) {
    await context.print('Nodes In Recovery:\n  Id   Host:Port         V-Nodes       Zone       Progress\n');
  }
  await context.print(rows.map((row) => format(context, row)).join(''));
}

async function fetchRows(context: Context): Promise<Row[]> {
  const nodes = await fetchUpNodes(context);
  const rows: Row[] = [];
  for (const [index, node] of nodes.entries()) {
    // The list knows who lacks something; the sheep itself knows best how far it is.
    if (!node.syncing && !node.moving && !node.incomplete) continue;
    const own = await callNode(node, 'node.recovery', {}).catch((error: unknown) => publishedBy(node, error));
    if (own.recovering) rows.push({ index, node, done: own.done, total: own.total });
  }
  return rows;
}

/** What it has told the others, where it cannot be asked: its address may be one that only they can reach. */
function publishedBy({ progress }: NodeInfo, error: unknown) {
  if (progress === undefined) throw error;
  return { recovering: true, done: progress.done, total: progress.total };
}

function format(context: Context, { index, node, done, total }: Row): string {
  const address = `${node.host}:${node.port}`;
  if (context.raw) return `${index} ${address} ${node.vnodes} ${node.zone} ${done} ${total}\n`;
  const left = `${String(index).padStart(4)}   ${address.padEnd(20)}${String(node.vnodes).padStart(5)}`;
  const percent = total === 0 ? 0 : (done / total) * 100;
  return `${left}${String(node.zone).padStart(11)}${percent.toFixed(1).padStart(11)}%\n`;
}

async function watch(context: Context): Promise<void> {
  const progress = await openProgress(context, 'recovering');
  try {
    for (;;) {
      const rows = await fetchRows(context);
      if (rows.length === 0) break;
      const sum = (key: 'done' | 'total'): number => rows.reduce((all, row) => all + row[key], 0);
      progress.update({ done: sum('done'), total: sum('total'), unit: 'objects' });
      await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
    }
  } finally {
    progress.stop();
  }
  if (context.json) await context.printJson([]);
}

async function setThrottle(context: Context, [maxText, intervalText]: string[]): Promise<void> {
  const max = countArgument(maxText!, 'number of objects', 0, 2 ** 31);
  const interval = countArgument(intervalText!, 'interval', 0, 2 ** 31);
  if ((max === 0) !== (interval === 0)) {
    throw new Exit(exitCodes.usage, 'Throttling needs both numbers, or 0 0 for no limit');
  }
  await fetchUpNodes(context);
  if (max > 0) {
    throw new Exit(exitCodes.failure, 'A limit for catching up is not available yet; nothing was changed', {
      hint: 'Catching up moves only what a sheep missed; nothing has to be throttled for a restart.',
    });
  }
  if (context.json) await context.printJson({ max, intervalMs: interval });
}
