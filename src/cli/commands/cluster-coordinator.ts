import { resolve } from 'node:path';
import type { Command } from 'commander';
import { AppError } from '../../base/errors.js';
import type { ClusterInfo, CoordinatorInfo } from '../../control/api.js';
import { ControlClient } from '../../control/client.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { confirm } from '../prompt.js';

const MOVE_DEADLINE_MS = 120_000;
const RETURN_DEADLINE_MS = 120_000;
const CALL_TIMEOUT_MS = 5000;
const POLL_MS = 200;

/** Where the cluster agrees on things, and moving it from one host's directory to etcd or back. */
export function clusterCoordinatorCommands(parent: Command, runner: Runner): void {
  addLeaf(parent, runner, {
    usage: 'coordinator',
    summary: 'where the cluster keeps what its sheep agree on',
    details: 'A directory serves the sheep of one host; etcd serves those of several.',
    examples: ['dog cluster coordinator'],
    run: async (context) => {
      const info = await context.call('cluster.coordinator', {}).catch(refused);
      if (context.json) await context.printJson(info);
      else await context.printLine(`${info.driver} ${info.address}`);
    },
  });
  addLeaf<{ force?: boolean }>(parent, runner, {
    usage: 'move-coordinator <to>',
    summary: 'move what the sheep agree on to etcd, or back to a directory',
    details: `Names, epochs and options are moved; no data of volumes is. All sheep pause for some seconds: I/O
waits, and NBD clients connect again. When anything fails before the move is decided, all goes on as it was.

<to> is etcd://HOST:PORT[,HOST:PORT...]/NAME, where NAME keeps several clusters in one etcd apart, with
?ca=FILE&cert=FILE&key=FILE for TLS and USER:PASSWORD@ before the hosts (or password-file=FILE); or a directory. Every
host must reach it. Sheep that are started with the old place follow to the new one as long as the old one is there.`,
    examples: [
      'dog cluster move-coordinator etcd://10.0.0.1,10.0.0.2,10.0.0.3/fold',
      'dog cluster move-coordinator /var/lib/sheepfold/coordinator',
    ],
    options: [['-f, --force', 'do not ask']],
    run: move,
  });
}

async function move(context: Context, [to]: string[], options: { force?: boolean }): Promise<void> {
  const address = /^etcds?:/.test(to!) ? to! : resolve(to!);
  const before = await context.call('cluster.info', {}).catch(refused);
  if (options.force !== true) {
    const text = 'All sheep pause for some seconds while the cluster moves.';
    await confirm(context, `${text}\nAre you sure you want to continue? [yes/no]: `, 'Scripts say --force.');
  }
  const { id } = await context.call('cluster.move-coordinator', { to: address }).catch((error: unknown) => {
    throw refusal('The cluster was not moved', error, exitCodes.failure);
  });
  const info = await waitForOutcome(context, id);
  await waitForReturn(context, before);
  if (context.json) return context.printJson({ driver: info.driver, address: info.address });
  await context.printLine(`The coordinator of the cluster is ${info.driver} now: ${info.address}`);
  const option = `--coordinator '${info.address}'`;
  await context.printLine(`Start sheep with ${option}; until then they follow from the old place.`);
}

function refused(error: unknown): never {
  throw refusal('Failed to ask for the coordinator', error, exitCodes.system);
}

/** The sheep that moves the cluster pauses as all others do: it answers before and after. */
async function waitForOutcome(context: Context, id: string): Promise<CoordinatorInfo> {
  const endMs = performance.now() + MOVE_DEADLINE_MS;
  for (;;) {
    const info = await ask(context, (client, signal) => client.call('cluster.coordinator', {}, { signal }));
    const move = info?.move;
    if (info !== undefined && move?.id !== id) {
      throw new Exit(exitCodes.system, 'The sheep that moved the cluster was restarted meanwhile', {
        hint: "'dog cluster coordinator' says where the cluster is now.",
      });
    }
    if (info !== undefined && move?.state === 'done' && info.address !== undefined) return info;
    if (move?.state === 'failed') {
      throw new Exit(exitCodes.failure, `The cluster was not moved: ${move.error ?? 'unknown reason'}`);
    }
    if (performance.now() > endMs) throw new Exit(exitCodes.system, 'The sheep does not answer any more');
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

async function waitForReturn(context: Context, before: ClusterInfo): Promise<void> {
  const wanted = before.nodes.filter((node) => node.up).map((node) => node.id);
  const endMs = performance.now() + RETURN_DEADLINE_MS;
  for (;;) {
    const info = await ask(context, (client, signal) => client.call('cluster.info', {}, { signal }));
    const up = new Set(info?.nodes.filter((node) => node.up).map((node) => node.id));
    if (info?.status === before.status && wanted.every((id) => up.has(id))) return;
    if (performance.now() > endMs) {
      throw new Exit(exitCodes.failure, 'The cluster has moved, but not all its sheep have followed yet', {
        hint: "'dog cluster info' says who is missing; its log says why.",
      });
    }
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

/** Undefined while the sheep pauses. */
async function ask<T>(
  { host, port }: Context,
  call: (client: ControlClient, signal: AbortSignal) => Promise<{ result: T }>,
): Promise<T | undefined> {
  try {
    const client = await ControlClient.connect({ host, port });
    try {
      return (await call(client, AbortSignal.timeout(CALL_TIMEOUT_MS))).result;
    } finally {
      client.close();
    }
  } catch (error) {
    if (!AppError.isCode(error, 'network', 'shutdown', 'unknown', 'again')) throw error;
    return undefined;
  }
}
