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

/** What the original's tables have no room for, in words. */
export function membersInTrouble(nodes: readonly NodeInfo[]): string[] {
  const lines: string[] = [];
  for (const node of nodes) {
    const address = `${node.host}:${node.port}`;
    if (!node.up && node.in) lines.push(`${address} is down; it catches up when it is started again`);
    if (node.up && node.syncing) lines.push(`${address} is catching up; 'dog node recovery' shows how far`);
  }
  return lines;
}
