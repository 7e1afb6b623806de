import { resolve } from 'node:path';
import type { Command } from 'commander';
import { AppError, errorKinds } from '../../base/errors.js';
import type { ControlResult, NodeInfo } from '../../control/api.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { callNode, fetchUpNodes } from '../nodes.js';
import { openProgress } from '../progress.js';
import { cautionDog, confirm } from '../prompt.js';
import { formatSize } from '../sizes.js';

const LOOK_MS = 300;

/** Commands for the disks of a sheep. */
export function nodeMdCommands(parent: Command, runner: Runner): void {
  const md = parent
    .command('md')
    .summary('the disks of a sheep')
    .description('Commands for the disks of the sheep that is asked (-a, -p).');
  addLeaf<{ all?: boolean }>(md, runner, {
    usage: 'info',
    summary: 'space on each disk, and where it is',
    details: 'Raw lines: HOST:PORT IDX SIZE USED AVAIL USE% PATH.',
    examples: ['dog node md info', 'dog node md info -A', 'dog node md info -p 7001 -r'],
    options: [['-A, --all', 'of all sheep']],
    run: info,
  });
  addLeaf(md, runner, {
    usage: 'plug <paths...>',
    summary: 'add disks to a running sheep',
    details: `Each path is a directory on a disk of its own, on the machine of the sheep. Objects of this sheep's other
disks move there in the background, until each disk has its part by size. A restart of the sheep finds it again.`,
    examples: ['dog node md plug /disk2', 'dog node md plug /disk2 /disk3 -p 7001'],
    run: plug,
  });
  addLeaf<UnplugOptions>(md, runner, {
    usage: 'unplug <paths...>',
    summary: 'take disks from a running sheep',
    details: `The disk is emptied first: its objects move to the other disks of the sheep, which need the room for them.
The command waits for that; when it is interrupted, the sheep goes on with it, also after a restart. With --force the
disk is taken out as it is, for one that is failing: other sheep restore what was on it, as far as they have copies.`,
    examples: [
      'dog node md unplug /disk2',
      'dog node md unplug --keep /disk2',
      'dog node md unplug --force -y /disk2',
    ],
    options: [
      ['-n, --no-wait', 'do not wait until the disk is empty'],
      ['-k, --keep', 'take back an unplug that has not ended'],
      ['-f, --force', 'take it out at once, with what is on it'],
      ['-y, --yes', 'do not ask'],
    ],
    run: unplug,
  });
}

interface UnplugOptions {
  wait: boolean;
  keep?: boolean;
  force?: boolean;
  yes?: boolean;
}

type Disk = ControlResult<'node.disks'>['disks'][number];

async function info(context: Context, _operands: string[], options: { all?: boolean }): Promise<void> {
  const nodes = options.all === true ? await fetchUpNodes(context) : undefined;
  if (!context.raw && !context.json) await context.printLine('Id\tSize\tUsed\tAvail\tUse%\tPath');
  const found: { host: string; port: number; disks: Disk[] }[] = [];
  for (const [index, node] of (nodes ?? [undefined]).entries()) {
    const { disks } = await disksOf(context, node);
    const { host, port } = node ?? context;
    found.push({ host, port, disks });
    if (context.json) continue;
    if (node !== undefined && !context.raw) await context.printLine(`Node ${index}:`);
    await context.print(disks.map((disk) => row(context, `${host}:${port}`, disk)).join(''));
  }
  if (context.json) await context.printJson(found);
}

async function plug(context: Context, operands: string[]): Promise<void> {
  for (const path of operands.map((operand) => resolve(operand))) {
    await context.call('node.plug', { path }).catch((error: unknown) => {
      throw failure(`Failed to plug ${path}`, error, "'dog node md info' shows the disks there are.");
    });
  }
}

async function unplug(context: Context, operands: string[], options: UnplugOptions): Promise<void> {
  const { force = false, keep = false, yes = false } = options;
  const paths = operands.map((operand) => resolve(operand));
  if (force && !yes) {
    await confirm(context, cautionDog(lossOf(paths)), "'-y' answers yes.");
  }
  for (const path of paths) {
    await context.call('node.unplug', { path, force, keep }).catch((error: unknown) => {
      throw failure(`Failed to unplug ${path}`, error, hintFor(error));
    });
  }
  if (options.wait && !force && !keep) for (const path of paths) await untilGone(context, path);
}

const lossOf = (paths: readonly string[]): string =>
  `What is on ${paths.join(', ')} is given up; objects without another copy are lost.`;

function hintFor(error: unknown): string {
  if (!AppError.isCode(error, 'no-space')) return "'dog node md info' shows the disks there are.";
  return "Plug another disk in first ('dog node md plug'), or move objects to other sheep.";
}

function failure(what: string, error: unknown, hint: string): Exit {
  const known = AppError.from(error);
  if (known.code === 'network') return refusal(what, error);
  return new Exit(errorKinds[known.code].exit, `${what}: ${known.message}`, { hint, cause: error });
}

/** Resolves when the sheep does without the disk. */
async function untilGone(context: Context, path: string): Promise<void> {
  const progress = await openProgress(context, path);
  let totalBytes = 0;
  try {
    for (;;) {
      const { disks } = await disksOf(context, undefined);
      const disk = disks.find((each) => each.path === path);
      if (disk === undefined) return;
      if (disk.leaving !== true)
        throw new Exit(exitCodes.failure, `${path} stays: the unplug was taken back`);
      totalBytes = Math.max(totalBytes, disk.usedBytes);
      progress.update({ done: totalBytes - disk.usedBytes, total: totalBytes, unit: 'bytes' });
      await new Promise((done) => setTimeout(done, LOOK_MS));
    }
  } finally {
    progress.stop();
  }
}

/** Of the sheep that is asked when no other one is named. */
async function disksOf(context: Context, node: NodeInfo | undefined): Promise<{ disks: Disk[] }> {
  const answer =
    node === undefined
      ? context.call('node.disks', {}, { nodeList: true })
      : callNode(node, 'node.disks', {});
  return answer.catch((error: unknown) => {
    throw refusal('failed to get multi-disk information', error);
  });
}

function row(context: Context, address: string, disk: Disk): string {
  const { index, usedBytes, freeBytes, path } = disk;
  const sizeBytes = usedBytes + freeBytes;
  const percent = sizeBytes === 0 ? 0 : Math.trunc((usedBytes / sizeBytes) * 100);
  if (context.raw) return `${address} ${index} ${sizeBytes} ${usedBytes} ${freeBytes} ${percent}% ${path}\n`;
  const note = disk.leaving ? ' (being emptied)' : '';
  const sizes = [sizeBytes, usedBytes, freeBytes].map(formatSize).join('\t');
  return `${String(index).padStart(2)}\t${sizes}\t${String(percent).padStart(3)}%\t${path}${note}\n`;
}
