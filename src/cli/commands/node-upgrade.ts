import type { Command } from 'commander';
import { AppError } from '../../base/errors.js';
import type { ClusterInfo, NodeInfo } from '../../control/api.js';
import { ControlClient } from '../../control/client.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal, textOf } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { fetchNodes, membersInTrouble } from '../nodes.js';
import { openProgress, type Progress } from '../progress.js';

/**
 * Replacing running sheep by the program as it is on disk now, without closing a listening socket: one sheep, or all,
 * one after the other.
 */
const POLL_MS = 100;
const CALL_TIMEOUT_MS = 10_000;
/** The old process gives up sooner: after this nobody knows. */
const SWITCH_DEADLINE_MS = 150_000;
/** How long a cluster may take until every copy is in sync again. */
const HEALTH_DEADLINE_S = 600;

interface Address {
  readonly host: string;
  readonly port: number;
}

interface Upgraded extends Address {
  readonly formerPid: number;
  readonly pid: number;
  /** From the moment the new process was ready until it served. */
  readonly switchMs: number;
}

export function nodeUpgradeCommands(parent: Command, runner: Runner): void {
  addLeaf(parent, runner, {
    usage: 'upgrade',
    summary: 'replace the sheep that is asked by the program on disk',
    details: `Starts the program anew with the same options, hands over the listening sockets and waits until the new
process serves. Clients that reconnect (QEMU does) notice a pause and no error. When the new process does not start,
the old one goes on. To be run on the sheep's own machine.`,
    examples: ['dog node upgrade', 'dog node upgrade -p 7001'],
    run: upgradeNode,
  });
}

export function clusterUpgradeCommands(parent: Command, runner: Runner): void {
  addLeaf<{ timeout?: string }>(parent, runner, {
    usage: 'upgrade',
    summary: 'replace all sheep by the program on disk, one after the other',
    details: `Like 'dog node upgrade' for each sheep that is up. Before the next one is touched, all copies are in sync
again; when that takes too long, or one sheep fails, the rest stays as it is.`,
    examples: ['dog cluster upgrade', 'dog cluster upgrade --timeout 60'],
    options: [['--timeout <seconds>', `how long to wait for copies in sync (default: ${HEALTH_DEADLINE_S})`]],
    run: upgradeCluster,
  });
}

async function upgradeNode(context: Context): Promise<void> {
  const { host, port } = context;
  const done = await upgradeOne({ host, port });
  if (context.json) return context.printJson(done);
  await context.printLine(lineOf(done));
}

async function upgradeCluster(
  context: Context,
  _operands: string[],
  options: { timeout?: string },
): Promise<void> {
  const timeoutMs = secondsArgument(options.timeout) * 1000;
  const nodes = (await fetchNodes(context)).filter((node) => node.up);
  await mustBeHealthy(context, nodes);
  const progress = await openProgress(context, 'Upgrading');
  const done: Upgraded[] = [];
  try {
    for (const node of nodes) {
      progress.update({ done: done.length, total: nodes.length, unit: 'sheep' });
      const one = await upgradeOne(node);
      done.push(one);
      await waitHealthy(one, nodes, timeoutMs, progress);
      if (!context.json) await context.printLine(lineOf(one));
    }
  } catch (error) {
    const left = nodes.slice(done.length).map(nameOf).join(', ');
    if (left !== '') context.note(`Not upgraded: ${left}`);
    throw error;
  } finally {
    progress.stop();
  }
  if (context.json) await context.printJson(done);
}

function secondsArgument(text: string | undefined): number {
  const seconds = Number(text ?? HEALTH_DEADLINE_S);
  if (seconds > 0 && Number.isSafeInteger(seconds)) return seconds;
  throw new Exit(exitCodes.usage, `Invalid timeout '${text}'`);
}

function nameOf({ host, port }: Address): string {
  return `${host}:${port}`;
}

function lineOf(one: Upgraded): string {
  const seconds = (one.switchMs / 1000).toFixed(1);
  return `${nameOf(one)} is upgraded: process ${one.pid} in place of ${one.formerPid}, after ${seconds} s`;
}

async function withClient<T>(address: Address, run: (client: ControlClient) => Promise<T>): Promise<T> {
  const client = await ControlClient.connect({ host: address.host, port: address.port });
  try {
    return await run(client);
  } finally {
    client.close();
  }
}

async function upgradeOne(address: Address): Promise<Upgraded> {
  try {
    const begun = await withClient(address, async (client) => {
      const { pid: formerPid } = (await client.call('node.upgrade', { pid: 1 })).result;
      return { formerPid, pid: (await client.call('node.upgrade', {})).result.pid };
    });
    const startMs = performance.now();
    await waitForOutcome(address, begun.pid);
    const { host, port } = address;
    return { host, port, ...begun, switchMs: Math.round(performance.now() - startMs) };
  } catch (error) {
    if (AppError.isCode(error, 'network')) throw error;
    throw refusal(`Failed to upgrade ${nameOf(address)}`, error, exitCodes.system);
  }
}

/** Asks whoever answers there, again and again: the old process is on its way out, the new one on its way in. */
async function waitForOutcome(address: Address, pid: number): Promise<void> {
  const endMs = performance.now() + SWITCH_DEADLINE_MS;
  for (;;) {
    try {
      const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
      const { done } = await withClient(
        address,
        async (client) => (await client.call('node.upgrade', { pid }, { signal })).result,
      );
      if (done) return;
    } catch (error) {
      // 'unknown': nobody answered in time. The others: the connection was the old process's.
      if (!AppError.isCode(error, 'network', 'shutdown', 'unknown') || performance.now() > endMs) throw error;
    }
    if (performance.now() > endMs) throw new AppError('system', 'the new process does not serve yet');
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function mustBeHealthy(context: Context, nodes: readonly NodeInfo[]): Promise<void> {
  const info = await context.call('cluster.info', {}).catch((error: unknown) => {
    throw refusal('Failed to get the state of the cluster', error, exitCodes.system);
  });
  const trouble = troubleIn(info, nodes);
  if (trouble === undefined) return;
  throw new Exit(exitCodes.failure, `The cluster is not healthy, nothing was upgraded: ${trouble}`, {
    hint: "'dog node upgrade' replaces a single sheep all the same.",
  });
}

/** What keeps the next sheep from being touched, if anything does. */
function troubleIn(info: ClusterInfo, nodes: readonly NodeInfo[]): string | undefined {
  if (info.status !== 'running' && info.status !== 'wait-for-format') return `its status is ${info.status}`;
  const trouble = [...info.waiting, ...membersInTrouble(info.nodes)];
  const up = new Set(info.nodes.filter((node) => node.up).map(nameOf));
  const missing = nodes.filter((node) => !up.has(nameOf(node))).map((node) => `${nameOf(node)} is not up`);
  return [...trouble, ...missing][0];
}

async function waitHealthy(
  address: Address,
  nodes: readonly NodeInfo[],
  timeoutMs: number,
  progress: Progress,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const trouble = await troubleSeenBy(address, nodes, progress);
    if (trouble === undefined) return;
    if (performance.now() > endMs) {
      throw new Exit(exitCodes.failure, `The cluster is not healthy after ${timeoutMs / 1000} s: ${trouble}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function troubleSeenBy(
  address: Address,
  nodes: readonly NodeInfo[],
  progress: Progress,
): Promise<string | undefined> {
  try {
    const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
    const info = await withClient(
      address,
      async (client) => (await client.call('cluster.info', {}, { signal })).result,
    );
    const healthy = info.nodes.filter((node) => node.up && !node.syncing).length;
    progress.update({ done: healthy, total: nodes.length, unit: 'sheep in sync' });
    return troubleIn(info, nodes);
  } catch (error) {
    return textOf(AppError.from(error));
  }
}
