import type { Command } from 'commander';
import type { ControlResult, NodeInfo } from '../../control/api.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { callNode, fetchUpNodes } from '../nodes.js';
import { formatSize } from '../sizes.js';

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
  for (const verb of ['plug', 'unplug'] as const) {
    addLeaf(md, runner, {
      usage: `${verb} <paths...>`,
      summary: `${verb === 'plug' ? 'add disks to' : 'take disks from'} a running sheep (not available yet)`,
      details: 'A sheep has one disk for now, and keeps it. Start another sheep for another disk.',
      examples: [`dog node md ${verb} /disk2`],
      options: [['-f, --force', 'do not ask']],
      run: async () => {
        throw new Exit(
          exitCodes.failure,
          `Disks cannot be ${verb}ged while a sheep runs: one sheep has one disk for now`,
          { hint: "Start another sheep on the disk: 'sheep /disk2 -p PORT'." },
        );
      },
    });
  }
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
  const sizes = [sizeBytes, usedBytes, freeBytes].map(formatSize).join('\t');
  return `${String(index).padStart(2)}\t${sizes}\t${String(percent).padStart(3)}%\t${path}\n`;
}
