import type { Command } from 'commander';
import { AppError } from '../../base/errors.js';
import type { ClusterInfo } from '../../control/api.js';
import { copiesArgument, countArgument, shiftArgument } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { membersInTrouble } from '../nodes.js';
import { cautionDog, confirm } from '../prompt.js';
import { formatCtime, formatSecond } from '../sizes.js';
import { fetchVdis } from './vdi-list.js';

/** Commands for a cluster that runs: info, format, shutdown. */
export function clusterCommands(parent: Command, runner: Runner): void {
  addLeaf<{ diff?: boolean }>(parent, runner, {
    usage: 'info',
    summary: 'state of the cluster and its history of members',
    examples: ['dog cluster info', 'dog cluster info -v', 'dog cluster info --json'],
    options: [['-d, --diff', 'show what each epoch changed instead of all its members']],
    run: info,
  });
  addLeaf<FormatOptions>(parent, runner, {
    usage: 'format',
    summary: 'make a new, empty cluster of the sheep that are up',
    details:
      'Every volume of a cluster that is formatted already is destroyed; with volumes in it, it asks first.',
    examples: ['dog cluster format -c 3', 'dog cluster format -c 2 --min-copies 1 -f'],
    options: [
      ['-c, --copies <copies>', 'copies of each object (default: 3)'],
      ['--min-copies <copies>', 'copies that must be in sync for a write (default: 2 for 3 copies, else 1)'],
      [
        '-z, --block_size_shift <shift>',
        'default size of objects as a power of two, 20 to 31 (default: 22, 4 MiB)',
      ],
      ['-f, --force', 'do not ask'],
      ['-b, --store <store>', 'plain or tree; there is one store, so this changes nothing'],
      ['-t, --strict', 'writes need all copies (the same as --min-copies COPIES)'],
      ['-l, --lock', 'a volume that a client of the sheepdog protocol has open is refused to others'],
      ['-R, --recycle_vid', 'accepted: changes nothing'],
      ['-F, --avoid_diskfull', 'accepted: recovery never fills a disk'],
      ['-V, --fixedvnodes', 'accepted: weights are always fixed (sheep -V)'],
    ],
    run: format,
  });
  addLeaf(parent, runner, {
    usage: 'shutdown',
    summary: 'ask every sheep to stop cleanly',
    details:
      "For a cluster that 'dog cluster up' started, 'dog cluster down' also waits until all have stopped.",
    examples: ['dog cluster shutdown'],
    run: async (context) => {
      await context.call('cluster.shutdown', {}).catch((error: unknown) => {
        throw refusal('failed to execute request', error, exitCodes.system);
      });
      if (context.json) await context.printJson({});
    },
  });
}

/** The first line of `cluster info`: programs match its start. */
const statusTexts: Record<ClusterInfo['status'], string> = {
  running: 'running, auto-recovery enabled',
  'wait-for-format': 'Waiting for cluster to be formatted',
  'wait-for-join': 'Waiting for other nodes to join cluster',
  shutdown: 'System is shutting down',
};

function statusText({ status, recoveryPaused }: ClusterInfo): string {
  const text = statusTexts[status];
  return recoveryPaused === true ? text.replace('auto-recovery enabled', 'auto-recovery disabled') : text;
}

async function info(context: Context, _operands: string[], options: { diff?: boolean }): Promise<void> {
  const cluster = await context.call('cluster.info', {}, { nodeList: true }).catch((error: unknown) => {
    throw refusal('Failed to get node list', error, exitCodes.system);
  });
  if (context.json) return context.printJson(cluster);
  const label = (text: string): string => (context.raw ? '' : text);
  const formatted = cluster.status !== 'wait-for-format';
  await context.printLine(`${label('Cluster status: ')}${statusText(cluster)}`);
  if (context.verbose && formatted) {
    await context.print(
      `${label('Cluster store: ')}plain with ${cluster.copies} redundancy policy\n` +
        `${label('Cluster vnodes strategy: ')}auto\n${label('Cluster vnode mode: ')}node\n`,
    );
  } else {
    await context.print('\n');
  }
  if (!formatted) return;
  if (!context.raw) {
    await context.print(`Cluster created at ${formatCtime(cluster.createdMs)}\n\n`);
    await context.printLine('Epoch Time           Version [Host:Port:V-Nodes,,,]');
  }
  await context.print(epochLines(cluster, context.raw, options.diff ?? false));
  if (context.raw) return;
  const { coordinator } = cluster;
  // The original says nothing of it, and of the embedded one there is nothing to say.
  if (coordinator?.driver === 'etcd') await context.print(`\nCoordinator: etcd, ${coordinator.address}\n`);
  // What programs read stays as it was while the cluster serves; when it does not, everybody must see why.
  if (cluster.status === 'running') context.remark(notes(cluster));
  else await printTrouble(context, cluster);
}

function epochLines(cluster: ClusterInfo, raw: boolean, diff: boolean): string {
  const names = cluster.epochs.map((epoch) => epoch.nodes.map((n) => `${n.host}:${n.port}:${n.vnodes}`));
  return cluster.epochs
    .map(({ epoch, wallMs }, index) => {
      const members = diff ? changes(names[index]!, names[index + 1]) : names[index]!.join(', ');
      const head = raw
        ? `${Math.floor(wallMs / 1000)} ${epoch}`
        : `${formatSecond(wallMs)} ${String(epoch).padStart(6)}`;
      return `${head} [${members}]\n`;
    })
    .join('');
}

function changes(now: readonly string[], before: readonly string[] | undefined): string {
  if (before === undefined) return 'formated';
  const added = now.filter((name) => !before.includes(name)).map((name) => `+${name}`);
  const removed = before.filter((name) => !now.includes(name)).map((name) => `-${name}`);
  return [...added, ...removed].join(', ');
}

function notes(cluster: ClusterInfo): string[] {
  return [...cluster.waiting, ...membersInTrouble(cluster.nodes)].map((line) => `Note: ${line}`);
}

async function printTrouble(context: Context, cluster: ClusterInfo): Promise<void> {
  const lines = notes(cluster);
  if (lines.length > 0) await context.print(`\n${lines.map((line) => `${line}\n`).join('')}`);
}

interface FormatOptions {
  copies?: string;
  minCopies?: string;
  block_size_shift?: string;
  force?: boolean;
  store?: string;
  strict?: boolean;
  lock?: boolean;
}

async function format(context: Context, _operands: string[], options: FormatOptions): Promise<void> {
  const copies = copiesArgument(options.copies ?? '3');
  const shift = options.block_size_shift === undefined ? undefined : shiftArgument(options.block_size_shift);
  const minCopies = minCopiesOf(options, copies);
  const cluster = await context.call('cluster.info', {}, { nodeList: true }).catch((error: unknown) => {
    throw refusal('Failed to get node list', error, exitCodes.system);
  });
  await checkStore(context, options.store ?? 'plain');
  if (options.force !== true) await askBeforeFormat(context, cluster, copies);
  if (!context.json) await context.printLine(`using backend ${options.store ?? 'plain'} store`);
  const params = {
    copies,
    force: cluster.status !== 'wait-for-format',
    ...(minCopies === undefined ? {} : { minCopies }),
    ...(shift === undefined ? {} : { blockSizeShift: shift }),
    ...(options.lock === true && { useLock: true }),
  };
  const formatted = await context.call('cluster.format', params).catch((error: unknown) => {
    const known = AppError.from(error);
    throw known.code === 'network' ? known : refusal('Format failed', error, exitCodes.system);
  });
  if (context.json) await context.printJson(formatted);
}

function minCopiesOf(options: FormatOptions, copies: number): number | undefined {
  if (options.minCopies !== undefined) return countArgument(options.minCopies, 'number of copies', 1, copies);
  return options.strict === true ? copies : undefined;
}

async function checkStore(context: Context, store: string): Promise<void> {
  if (store === 'plain' || store === 'tree') return;
  const line = '-'.repeat(39);
  await context.print(`using backend ${store} store\nAvailable stores:\n${line}\ntree plain \n`);
  throw new Exit(exitCodes.system, 'Format failed: Targeted backend store is not found');
}

async function askBeforeFormat(context: Context, cluster: ClusterInfo, copies: number): Promise<void> {
  const zones = new Set(cluster.nodes.filter((node) => node.up && node.vnodes > 0).map((node) => node.zone))
    .size;
  if (copies > zones) {
    const text = `Number of copies (${copies}) is larger than number of zones (${zones}).`;
    await confirm(context, `${text}\nAre you sure you want to continue? [yes/no]: `);
  }
  if (cluster.status === 'wait-for-format') return;
  const vdis = await fetchVdis(context);
  if (vdis.length > 0) await confirm(context, cautionDog('The cluster is not empty.'));
}
