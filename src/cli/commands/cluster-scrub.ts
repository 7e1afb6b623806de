import type { Command } from 'commander';
import type { ControlParams, ScrubNode, ScrubStatus, ScrubUnrepairable } from '../../control/api.js';
import type { Context } from '../context.js';
import { formatDuration, parseDuration } from '../durations.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { openProgress } from '../progress.js';
import { formatMinute, formatSize } from '../sizes.js';

const WATCH_MS = 500;

/** Background scrubbing: what it has found, and when it runs. */
export function clusterScrubCommands(parent: Command, runner: Runner): void {
  const scrub = parent
    .command('scrub')
    .summary('the background check of all replicas')
    .description(
      'All replicas are read, verified and compared in the background, once a week unless set otherwise.',
    );
  addLeaf(scrub, runner, {
    usage: 'status',
    isDefault: true,
    summary: 'how far each sheep is, what was found (also without "status")',
    details: `Found and repaired are objects. What no replica has right is listed with its place in the volume: reads of
these blocks fail, everything else is served.
Raw lines: HOST:PORT STATE BYTES STORED FOUND REPAIRED UNREPAIRABLE PASSES, of the present pass, else of the last.
Exit code 1: something cannot be repaired.`,
    examples: ['dog cluster scrub', 'dog cluster scrub status --json'],
    run: async (context) => {
      const status = await call(context, {});
      await print(context, status);
      if (broken(status) > 0) throw new Exit(exitCodes.failure, '');
    },
  });
  addLeaf<{ wait?: boolean }>(scrub, runner, {
    usage: 'start',
    summary: 'begin a pass now, on all sheep',
    details: `As fast as the disks can while clients come first. Also ends a stop.
With -w exit code 1 means that something cannot be repaired.`,
    examples: ['dog cluster scrub start', 'dog cluster scrub start -w'],
    options: [['-w, --wait', 'wait until all sheep that are up are done, and print what was found']],
    run: start,
  });
  addLeaf(scrub, runner, {
    usage: 'stop',
    summary: 'no scrubbing until the next start',
    details: 'A pass under way keeps its place.',
    examples: ['dog cluster scrub stop'],
    run: async (context) => tell(context, await call(context, { action: 'stop' })),
  });
  addLeaf(scrub, runner, {
    usage: 'period <time>',
    summary: 'the time in which all is looked at once; 0: only when started',
    examples: ['dog cluster scrub period 7d', 'dog cluster scrub period 0'],
    run: setPeriod,
  });
}

async function call(context: Context, params: ControlParams<'cluster.scrub'>): Promise<ScrubStatus> {
  return context.call('cluster.scrub', params).catch((error: unknown) => {
    throw refusal('Failed to reach the scrub', error);
  });
}

async function start(context: Context, _operands: string[], options: { wait?: boolean }): Promise<void> {
  const begun = await call(context, { action: 'start' });
  if (options.wait !== true) return tell(context, begun);
  const status = await wait(context, begun);
  await print(context, status);
  if (broken(status) > 0) throw new Exit(exitCodes.failure, '');
}

/** Until every sheep that is up has done a whole pass more than at the beginning. */
async function wait(context: Context, begun: ScrubStatus): Promise<ScrubStatus> {
  const before = new Map(begun.nodes.map((node) => [address(node), node.passes]));
  const progress = await openProgress(context, 'scrubbing');
  try {
    for (;;) {
      const status = await call(context, {});
      const left = status.nodes.filter((n) => n.up && n.passes <= (before.get(address(n)) ?? 0));
      if (status.stopped) throw new Exit(exitCodes.failure, 'Somebody has stopped the scrub');
      if (left.length === 0) return status;
      const up = status.nodes.filter((node) => node.up);
      const sum = (value: (node: ScrubNode) => number) => up.reduce((all, node) => all + value(node), 0);
      const total = Math.max(
        1,
        sum((node) => node.storedBytes),
      );
      const done = sum((n) => (left.includes(n) ? Math.min(n.doneBytes, n.storedBytes) : n.storedBytes));
      progress.update({ done, total, unit: 'bytes' });
      await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
    }
  } finally {
    progress.stop();
  }
}

async function setPeriod(context: Context, [text]: string[]): Promise<void> {
  const periodMs = parseDuration(text!);
  if (periodMs === undefined) {
    throw new Exit(exitCodes.usage, `Invalid time '${text}'`, {
      hint: 'A time is a number with one of the units s m h d, as in 7d or 12h; 0 switches the period off.',
    });
  }
  await tell(context, await call(context, { periodMs }));
}

async function tell(context: Context, status: ScrubStatus): Promise<void> {
  if (context.json) return context.printJson(status);
  await context.printLine(`${inWords(status)}.`);
}

function inWords({ stopped, periodMs, waiting }: ScrubStatus): string {
  if (stopped) return 'Scrubbing is stopped';
  const when = periodMs === 0 ? 'Scrubbing only when started' : `One pass in ${formatDuration(periodMs)}`;
  return waiting ? `${when}; waiting until all sheep are up and in sync` : when;
}

function broken({ unrepairable, unlisted }: ScrubStatus): number {
  return unrepairable.length + unlisted;
}

function address({ host, port }: ScrubNode): string {
  return `${host}:${port}`;
}

async function print(context: Context, status: ScrubStatus): Promise<void> {
  if (context.json) return context.printJson(status);
  if (!context.raw) {
    await context.printLine(`${inWords(status)}.`);
    await context.printLine('Host:Port              State    Done   Found  Repaired  Broken  Last pass');
  }
  for (const node of status.nodes) await context.printLine(context.raw ? rawRow(node) : row(node));
  for (const entry of status.unrepairable) context.note(`no replica is right: ${placeText(entry)}`);
  if (status.unlisted > 0) context.note(`${status.unlisted} more objects have no replica that is right`);
  const failed = status.nodes.reduce((all, node) => all + shown(node).failed, 0);
  if (failed > 0 && !context.raw) context.note(`${failed} object(s) could not be compared; the logs say why`);
}

/** The present pass, or the last one when none is under way. */
function shown(node: ScrubNode): ScrubNode['counts'] {
  return node.state === 'idle' && node.last !== undefined ? node.last : node.counts;
}

function row(node: ScrubNode): string {
  const { found, repaired } = shown(node);
  const percent = node.storedBytes === 0 ? 0 : Math.min(99, (node.doneBytes / node.storedBytes) * 100);
  const done = node.state === 'idle' ? '-' : `${Math.floor(percent)}%`;
  const last = node.last === undefined ? 'never' : lastText(node.last);
  const state = node.up ? node.state : 'down';
  const columns = [
    [found, 7],
    [repaired, 9],
    [node.unrepairable, 7],
  ] as const;
  const figures = columns.map(([value, width]) => String(value).padStart(width)).join(' ');
  return `${address(node).padEnd(22)} ${state.padEnd(7)} ${done.padStart(5)} ${figures}  ${last}`;
}

function lastText({ wallMs, tookMs, bytes }: NonNullable<ScrubNode['last']>): string {
  return `${formatMinute(wallMs)}, ${formatSize(bytes)} in ${formatDuration(tookMs)}`;
}

function rawRow(node: ScrubNode): string {
  const { bytes, found, repaired } = shown(node);
  const { storedBytes, unrepairable, passes, state } = node;
  return `${address(node)} ${state} ${bytes} ${storedBytes} ${found} ${repaired} ${unrepairable} ${passes}`;
}

/** `first at 4194304 (object 00...)`, in bytes of the volume. */
function placeText({ oid, blocks, place }: ScrubUnrepairable): string {
  if (place === undefined) return `object ${oid} of no volume`;
  const { name, snapId, part, offsets } = place;
  const version = snapId > 0 ? `${name} (snapshot ${snapId})` : name;
  const where =
    part === 'data' ? 'at' : part === 'inode' ? 'in its inode at' : 'in the state of a machine at';
  if (offsets.length === 0) return `${version}, all of object ${oid}`;
  const more = blocks.length >= 16 ? ' ...' : '';
  return `${version} ${where} ${offsets.join(', ')}${more} (object ${oid})`;
}
