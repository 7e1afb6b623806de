import type { Command } from 'commander';
import type { ClusterInfo } from '../../control/api.js';
import type { RecoveryStatus, Settings } from '../../control/member-api.js';
import type { Context } from '../context.js';
import { formatDuration, parseDuration } from '../durations.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { addressOf } from '../nodes.js';
import { formatFields } from '../output.js';
import { confirm } from '../prompt.js';
import { formatSize } from '../sizes.js';
import { waitUntil } from '../wait.js';

/** Commands for what happens when sheep are missing, come and go. */
export function clusterRecoverCommands(parent: Command, runner: Runner): void {
  const recover = parent
    .command('recover')
    .summary('what is copied when sheep were missing, come and go')
    .description('What is copied when sheep were missing, come and go.');
  addLeaf(recover, runner, {
    usage: 'enable',
    summary: 'let recovery go on',
    examples: ['dog cluster recover enable'],
    run: (context) => setPaused(context, false),
  });
  addLeaf(recover, runner, {
    usage: 'disable',
    summary: 'pause recovery: nothing is compared or copied until it is enabled again',
    details: `Writes still reach every sheep that is up, and what a client waits for is put right. Sheep that were
away stay behind, and one more failure may make I/O wait: enable it soon. Holds over restarts of everything. For
maintenance there is no need of it: a sheep that is stopped starts no copying for ten minutes ('dog node
maintenance': for longer).`,
    examples: ['dog cluster recover disable', 'dog cluster recover enable'],
    run: (context) => setPaused(context, true),
  });
  addLeaf<{ wait?: boolean }>(recover, runner, {
    usage: 'status',
    summary: 'what is being recovered or moved, how far it is, and why it waits',
    details: 'Exit code 0 whatever it says; --wait ends when there is nothing left to do.',
    examples: [
      'dog cluster recover status',
      'dog cluster recover status --wait',
      'dog cluster recover status --json',
    ],
    options: [['--wait', 'watch until all sheep have everything they should have']],
    run: status,
  });
  addLeaf<{ force?: boolean }>(recover, runner, {
    usage: 'force',
    summary: "go on without the sheep that are missing: see 'dog node lost' and 'dog cluster accept-loss'",
    details: "'dog cluster info' says which sheep are awaited; start them.",
    examples: ['dog cluster info', 'dog node lost 127.0.0.1:7002', 'dog cluster accept-loss'],
    options: [['-f, --force', 'do not ask']],
    run: forceRecover,
  });
  addLeaf<{ downOut?: string }>(parent, runner, {
    usage: 'settings',
    summary: 'how long sheep that are down are waited for',
    details: `--down-out: a sheep that has been down for so long is given up, and its objects are placed elsewhere;
as in 10m (the default), 2h, 1d; 0 or never: it is always waited for. 'dog node maintenance' does that for one sheep.`,
    examples: ['dog cluster settings', 'dog cluster settings --down-out 30m'],
    options: [['--down-out <time>', 'give up a sheep that has been down for so long']],
    run: settings,
  });
}

function fetchCluster(context: Context): Promise<ClusterInfo> {
  return context.call('cluster.info', {}, { nodeList: true }).catch((error: unknown) => {
    throw refusal('Failed to get node list', error, exitCodes.system);
  });
}

async function alterSettings(context: Context, change: Partial<Settings>): Promise<Settings> {
  return context.call('cluster.settings', change).catch((error: unknown) => {
    throw refusal('Failed to change the settings', error);
  });
}

async function setPaused(context: Context, recoveryPaused: boolean): Promise<void> {
  await fetchCluster(context);
  await alterSettings(context, { recoveryPaused });
  if (context.json) return context.printJson({ recovery: !recoveryPaused });
  await context.printLine(`Cluster recovery: ${recoveryPaused ? 'disable' : 'enable'}`);
  if (recoveryPaused)
    context.remark(["Sheep that were away stay behind until 'dog cluster recover enable'."]);
}

async function settings(context: Context, _operands: string[], options: { downOut?: string }): Promise<void> {
  const change: Partial<Settings> = {};
  if (options.downOut !== undefined) change.downOutMs = durationArgument(options.downOut);
  const now = await alterSettings(context, change);
  if (context.json) return context.printJson(now);
  await context.print(
    formatFields([
      [
        'A sheep that is down is given up after',
        now.downOutMs === 0 ? 'never' : formatDuration(now.downOutMs),
      ],
      ['Recovery', now.recoveryPaused ? "paused ('dog cluster recover enable')" : 'enabled'],
    ]),
  );
}

function durationArgument(text: string): number {
  const ms = text === 'never' ? 0 : parseDuration(text);
  if (ms !== undefined) return ms;
  throw new Exit(exitCodes.usage, `Invalid time '${text}'`, { hint: 'As in 30s, 10m, 2h, 1d; 0 or never.' });
}

async function status(context: Context, _operands: string[], { wait }: { wait?: boolean }): Promise<void> {
  const now = await context.call('cluster.recovery', {}).catch((error: unknown) => {
    throw refusal('Failed to get the state of recovery', error);
  });
  if (!wait) return context.json ? context.printJson(now) : context.print(statusText(now));
  const done = await waitUntil(context, 'recovering', ({ recovery, nodes }) => {
    const busy = recovery.nodes.length > 0 || recovery.move !== undefined;
    return !busy && !nodes.some((node) => node.up && (node.moving || node.syncing || node.incomplete));
  });
  if (context.json) return context.printJson(done.recovery);
  await context.print(statusText(done.recovery));
}

function statusText(now: RecoveryStatus): string {
  const lines: string[] = [];
  if (now.recoveryPaused) lines.push("Recovery is paused ('dog cluster recover enable' lets it go on).");
  if (now.move !== undefined) lines.push(`Objects are being moved since epoch ${now.move.epoch}.`);
  if (now.nodes.length === 0 && now.move === undefined) lines.push('Nothing is being recovered or moved.');
  for (const node of now.nodes) {
    const share = node.total === 0 ? 'begins' : `${node.done} of about ${node.total} objects compared`;
    const rate = node.bytesPerS > 0 ? ` at ${formatSize(node.bytesPerS)}/s` : '';
    const eta = node.etaMs === undefined ? '' : `, about ${formatDuration(node.etaMs)} left`;
    const moved = `${formatSize(node.movedBytes)} copied${rate}`;
    lines.push(`${addressOf(node)}  ${words[node.doing]}: ${share}, ${moved}${eta}`);
  }
  for (const line of now.down) lines.push(`${line}.`);
  for (const reason of now.waiting) lines.push(`Waiting: ${reason}.`);
  return `${lines.join('\n')}\n`;
}

const words = {
  'catching-up': 'catching up',
  restoring: 'given what it lost',
  moving: 'taking objects over',
};

const forceCaution = `Caution! Please try starting all the cluster nodes normally before
running this command.

The cluster may need to be force recovered if:
  - the master node fails to start because of epoch mismatch; or
  - some nodes fail to start after a cluster shutdown.

Are you sure you want to continue? [yes/no]: `;

/** The original's way of going on without members; here each is given up by name, and what is lost is said first. */
async function forceRecover(
  context: Context,
  _operands: string[],
  options: { force?: boolean },
): Promise<void> {
  const cluster = await fetchCluster(context);
  if (options.force !== true) await confirm(context, forceCaution, 'Scripts say -f.');
  if (cluster.status !== 'wait-for-join') {
    const running = cluster.status === 'running';
    const why = running ? 'Cluster is running/halted and cannot be force recovered' : 'it is not formatted';
    throw new Exit(exitCodes.failure, `failed to execute request, ${why}`);
  }
  const awaited = cluster.waiting.map((line) => `\n  ${line}`).join('');
  throw new Exit(exitCodes.failure, `Nothing was changed: sheep are given up by name${awaited}`, {
    hint:
      'Start the sheep that are awaited: each of them may hold the only newest copy of something. ' +
      "One that will never come back: 'dog node lost HOST:PORT' says what that loses.",
  });
}
