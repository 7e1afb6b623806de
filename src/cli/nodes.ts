import type { ControlMethod, ControlParams, ControlResult, NodeInfo } from '../control/api.js';
import { ControlClient } from '../control/client.js';
import type { Context } from './context.js';
import { Exit, exitCodes, exitOf, refusal } from './exit.js';

/** The sheep as commands meet them: a list, and each one on its own port. */

export function fetchNodes(context: Context): Promise<NodeInfo[]> {
  return context.call('node.list', {}, { nodeList: true }).catch((error: unknown) => {
    throw refusal('Failed to get node list', error, exitCodes.system);
  });
}

/** Those that are up. The place of a sheep in this list is its id for people. */
export async function fetchUpNodes(context: Context): Promise<NodeInfo[]> {
  return (await fetchNodes(context)).filter((node) => node.up);
}

/** A call that a sheep answers for itself alone, on a connection of its own. Rejects with an Exit or an AppError. */
export async function callNode<M extends ControlMethod>(
  node: { host: string; port: number },
  method: M,
  params: ControlParams<M>,
): Promise<ControlResult<M>> {
  const client = await ControlClient.connect({ host: node.host, port: node.port }).catch((error: unknown) => {
    const { message, hint } = exitOf(error);
    throw new Exit(exitCodes.system, message, { hint, quietHint: true, cause: error });
  });
  try {
    return (await client.call(method, params)).result;
  } finally {
    client.close();
  }
}

/** A sheep by its number in `node list`, its address, or its id (or the beginning of that, if it is clear). */
export function chosenNode(nodes: readonly NodeInfo[], text: string): NodeInfo {
  const byAddress = nodes.find((node) => `${node.host}:${node.port}` === text);
  if (byAddress !== undefined) return byAddress;
  const up = nodes.filter((node) => node.up);
  if (/^\d{1,4}$/.test(text)) {
    const node = up[Number(text)];
    if (node !== undefined) return node;
  } else {
    const found = nodes.filter((node) => node.id.startsWith(text));
    if (found.length === 1) return found[0]!;
  }
  throw new Exit(exitCodes.usage, `Invalid node id '${text}'`, {
    hint: "'dog node list -A' shows numbers and addresses; a sheep that is down is named by its address.",
    quietHint: true,
  });
}

export function addressOf(node: { host: string; port: number }): string {
  return `${node.host}:${node.port}`;
}

/** What is special about a sheep, in a few words; none when it is an ordinary member that has everything. */
export function standingOf(node: NodeInfo): string[] {
  const { progress } = node;
  const percent =
    progress === undefined || progress.total === 0
      ? ''
      : ` ${Math.floor((100 * progress.done) / progress.total)}%`;
  return [
    !node.up && 'down',
    !node.in && node.outBy !== undefined && (node.empty ? 'out' : 'draining'),
    node.maintenance && 'maintenance',
    node.vnodes === 0 && 'gateway',
    node.in && node.vnodes > 0 && node.empty && 'joining',
    node.incomplete && `lost objects${node.up ? percent : ''}`,
    node.syncing && `catching up${percent}`,
    node.moving && node.up && `taking objects over${percent}`,
    !node.up && node.behind && !node.incomplete && 'behind',
  ].filter((word) => typeof word === 'string');
}

/** What the original's tables have no room for, in words. */
export function membersInTrouble(nodes: readonly NodeInfo[]): string[] {
  const lines: string[] = [];
  for (const node of nodes) {
    const address = addressOf(node);
    if (!node.up && node.in) lines.push(`${address} is down; it catches up when it is started again`);
    if (!node.up && !node.in) lines.push(`${address} is down and out: ${outText(node)}`);
    if (node.up && node.syncing) lines.push(`${address} is catching up; 'dog node recovery' shows how far`);
    else if (node.up && node.moving)
      lines.push(`${address} is taking objects over; 'dog node recovery' shows how far`);
    if (node.up && node.outBy !== undefined && node.empty !== true)
      lines.push(`${address} is being drained; 'dog cluster recover status' shows how far`);
    if (node.up && node.outBy !== undefined && node.empty)
      lines.push(`${address} is out: no object lies on it ('dog node in ${address}' changes that)`);
    if (node.maintenance) lines.push(`${address} is in maintenance: it is not given up while it is down`);
    if (node.incomplete) lines.push(`${address} lost objects, and is given them again by the others`);
  }
  return lines;
}

function outText(node: NodeInfo): string {
  if (node.outBy === 'delay') return 'it was away for too long; it comes in again when it is started';
  return node.empty ? "'dog node remove' forgets it" : 'its objects are being placed elsewhere';
}
