import type { Command } from 'commander';
import type { NodeInfo } from '../../control/api.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { addressOf, fetchNodes, membersInTrouble, standingOf } from '../nodes.js';
import { formatSize } from '../sizes.js';
import { fetchVdis } from './vdi-list.js';

/** Commands that look at the sheep. */
export function nodeCommands(parent: Command, runner: Runner): void {
  addLeaf<{ all?: boolean }>(parent, runner, {
    usage: 'list',
    summary: 'list the sheep that are up',
    details: `Raw lines: IDX HOST:PORT VNODES ZONE (with -A: and USED AVAIL STATE). Members that are down, and what
is special about others, are told on standard error: on a terminal, or with -v.`,
    examples: ['dog node list', 'dog node list -A', 'dog node list --json'],
    options: [['-A, --all', 'also those that are down (without a number), and the state of each']],
    run: list,
  });
  addLeaf(parent, runner, {
    usage: 'info',
    summary: 'space of each sheep, and in all',
    details: 'Raw lines: IDX SIZE USED AVAIL USE%, then Total SIZE USED AVAIL USE% SUM-OF-VOLUME-SIZES.',
    examples: ['dog node info', 'dog node info -r'],
    run: info,
  });
  addLeaf<{ watch?: boolean }>(parent, runner, {
    usage: 'stat',
    summary: 'counters of requests of the sheep that is asked',
    details: 'With --json: every counter of the sheep.',
    examples: ['dog node stat', 'dog node stat -p 7001', 'dog node stat -w'],
    options: [['-w, --watch', 'print again each second']],
    run: stat,
  });
}

async function list(context: Context, _operands: string[], { all }: { all?: boolean }): Promise<void> {
  const nodes = await fetchNodes(context);
  if (context.json) return context.printJson(nodes);
  if (all === true) return listAll(context, nodes);
  const up = nodes.filter((node) => node.up);
  if (!context.raw) await context.printLine('  Id   Host:Port         V-Nodes       Zone');
  const row = (node: NodeInfo, index: number): string => {
    const address = `${node.host}:${node.port}`;
    if (context.raw) return `${index} ${address} ${node.vnodes} ${node.zone}\n`;
    const vnodes = String(node.vnodes).padStart(2);
    return `${String(index).padStart(4)}   ${address.padEnd(20)}\t${vnodes}${String(node.zone).padStart(11)}\n`;
  };
  await context.print(up.map(row).join(''));
  if (!context.raw) context.remark(membersInTrouble(nodes));
}

/** Raw lines: IDX or -, HOST:PORT VNODES ZONE USED AVAIL STATE. */
async function listAll(context: Context, nodes: readonly NodeInfo[]): Promise<void> {
  let number = 0;
  if (!context.raw)
    await context.printLine('  Id   Host:Port         V-Nodes       Zone    Used   Avail  State');
  for (const node of nodes) {
    const { vnodes, zone, usedBytes, freeBytes } = node;
    const index = node.up ? String(number++) : '-';
    const states = standingOf(node);
    const state = states.length === 0 ? 'ok' : states.join(', ');
    const address = addressOf(node);
    if (context.raw) {
      await context.printLine([index, address, vnodes, zone, usedBytes, freeBytes, state].join(' '));
      continue;
    }
    const sizes = [usedBytes, freeBytes].map((bytes) => formatSize(bytes).padStart(8)).join('');
    const left = `${index.padStart(4)}   ${address.padEnd(20)}\t${String(vnodes).padStart(3)}`;
    await context.printLine(`${left}${String(zone).padStart(11)}${sizes}  ${state}`);
  }
}

async function info(context: Context): Promise<void> {
  const cluster = await context.call('cluster.info', {}, { nodeList: true }).catch((error: unknown) => {
    throw refusal('Failed to get node list', error, exitCodes.system);
  });
  const nodes = cluster.nodes.filter((node) => node.up);
  if (!context.raw && !context.json) await context.printLine('Id\tSize\tUsed\tAvail\tUse%');
  if (cluster.status === 'wait-for-format') {
    for (const _ of nodes) context.note("Response's result: Waiting for cluster to be formatted");
    throw new Exit(exitCodes.system, 'Cannot get information from any nodes', {
      hint: "Format the cluster first: 'dog cluster format -c 3'.",
      quietHint: true,
    });
  }
  const vdis = await fetchVdis(context);
  const virtualBytes = vdis.reduce((sum, vdi) => sum + (vdi.snapshot ? 0 : vdi.sizeBytes), 0);
  if (context.json) return context.printJson({ nodes, virtualBytes });
  const rows = nodes.map((node, index) =>
    spaceRow(context, String(index).padStart(context.raw ? 0 : 2), node),
  );
  const total = {
    usedBytes: nodes.reduce((sum, node) => sum + node.usedBytes, 0),
    freeBytes: nodes.reduce((sum, node) => sum + node.freeBytes, 0),
  };
  const totalRow = spaceRow(context, 'Total', total);
  const last = context.raw
    ? `${totalRow} ${virtualBytes}\n`
    : `${totalRow}\n\nTotal virtual image size\t${formatSize(virtualBytes)}\n`;
  await context.print(rows.map((row) => `${row}\n`).join('') + last);
}

function spaceRow(context: Context, label: string, space: { usedBytes: number; freeBytes: number }): string {
  const { usedBytes, freeBytes } = space;
  // What other programs take of the same disk is not the cluster's: readers take size less used for what is free.
  const sizeBytes = usedBytes + freeBytes;
  // An empty node has no percentage; the original divided by zero here.
  const percent = sizeBytes === 0 ? 0 : Math.trunc((usedBytes / sizeBytes) * 100);
  if (context.raw) return `${label} ${sizeBytes} ${usedBytes} ${freeBytes} ${percent}%`;
  const sizes = [sizeBytes, usedBytes, freeBytes].map(formatSize).join('\t');
  return `${label}\t${sizes}\t${String(percent).padStart(3)}%`;
}

const WATCH_MS = 1000;
const columns = ['active', 'total', 'write', 'read', 'remove', 'flush'] as const;

async function stat(context: Context, _operands: string[], options: { watch?: boolean }): Promise<void> {
  if (!context.raw && !context.json) {
    await context.printLine('Request\tActive\tTotal\tWrite\tRead\tRemove\tFlush\tAll WR\tAll RD');
  }
  for (;;) {
    const { counters } = await context.call('node.stat', {}).catch((error: unknown) => {
      throw refusal('Failed to get the counters', error, exitCodes.system);
    });
    if (context.json) await context.printJson(counters);
    else await context.print(statRow(context, 'Client', counters) + statRow(context, 'Peer', counters));
    if (options.watch !== true) return;
    await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
  }
}

/** Counters are named `client.write`, `peer.readBytes` and so on; one that is missing is 0. */
function statRow(
  context: Context,
  who: 'Client' | 'Peer',
  counters: Readonly<Record<string, number>>,
): string {
  const value = (name: string): number => counters[`${who.toLowerCase()}.${name}`] ?? 0;
  const bytes = [value('writeBytes'), value('readBytes')];
  const cells = [
    ...columns.map((name) => String(value(name))),
    ...bytes.map((b) => (context.raw ? b : formatSize(b))),
  ];
  return `${(context.raw ? cells : [who, ...cells]).join('\t')}\n`;
}
