import { AppError } from '../base/errors.js';
import type { ControlMethod, ControlParams, ControlResult, NodeInfo } from '../control/api.js';
import { ControlClient } from '../control/client.js';
import type { DoctorReport, DoctorState } from '../control/doctor-api.js';
import type { Context } from './context.js';
import { ClusterHome, clusterDirectory } from './local/home.js';

/** A sheep that does not answer by then is told as silent; the others are not kept waiting for it. */
const ANSWER_MS = 3000;
const CONNECT_MS = 2000;
/** Sheep asked at a time. */
const PARALLEL = 16;

export interface NotReached {
  readonly tried: string[];
  /** A cluster of `dog cluster up` is there, or this machine is where people look for one. */
  readonly mayStart: boolean;
}

/** The sheep of -a and -p, else any of the cluster on this machine. */
export async function reachAny(
  context: Context,
  directory: string | undefined,
): Promise<{ client: ControlClient } | NotReached> {
  const { config, addresses } = candidates(context, directory);
  const tried: string[] = [];
  for (const address of addresses) {
    try {
      return { client: await soon(ControlClient.connect(address), CONNECT_MS) };
    } catch {
      tried.push(`${address.host}:${address.port}`);
    }
  }
  return { tried, mayStart: config || (!context.portGiven && context.host === '127.0.0.1') };
}

function candidates(context: Context, directory: string | undefined) {
  const addresses = [{ host: context.host, port: context.port }];
  try {
    const config = new ClusterHome(clusterDirectory(directory, context.io.env)).read();
    for (let index = 0; index < (config?.sheep ?? 0); index++) {
      const port = config!.port + index;
      const host = config!.joined?.host ?? '127.0.0.1';
      if (!addresses.some((a) => a.host === host && a.port === port)) addresses.push({ host, port });
    }
    return { config: config !== undefined, addresses };
  } catch {
    // A directory that is none of ours is no reason not to ask the sheep.
    return { config: false, addresses };
  }
}

/** What the sheep says of the cluster, and all that are up of themselves. */
export async function collectState(client: ControlClient): Promise<DoctorState> {
  const { result: situation } = await client.call('cluster.doctor', {});
  const state: DoctorState = { situation, reports: {}, clocksMs: {} };
  const waiting = situation.cluster.nodes.filter((node) => node.up);
  const worker = async (): Promise<void> => {
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) await ask(node, state);
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  return state;
}

async function ask(node: NodeInfo, state: DoctorState): Promise<void> {
  try {
    const { result, elapsedMs } = await callSoon(node, 'node.doctor', {});
    state.reports[node.id] = result as DoctorReport;
    // The answer was made about half of the way ago.
    state.clocksMs[node.id] = (result as DoctorReport).wallMs - (Date.now() - elapsedMs / 2);
  } catch (error) {
    // A sheep of an earlier version has nothing to say of itself, and is well all the same.
    if (AppError.isCode(error, 'not-supported')) return;
    state.reports[node.id] = { error: AppError.from(error).message };
  }
}

/** A call on a connection of its own; rejects with AppError when a sheep is silent, also one that is frozen. */
export async function callSoon<M extends ControlMethod>(
  { host, port }: { host: string; port: number },
  method: M,
  params: ControlParams<M>,
): Promise<{ result: ControlResult<M>; elapsedMs: number }> {
  const client = await soon(ControlClient.connect({ host, port }), CONNECT_MS);
  try {
    const startMs = performance.now();
    const { result } = await client.call(method, params, { signal: AbortSignal.timeout(ANSWER_MS) });
    return { result, elapsedMs: performance.now() - startMs };
  } finally {
    client.close();
  }
}

/** Rejects when it takes longer; what comes later is closed. */
function soon(connecting: Promise<ControlClient>, deadlineMs: number): Promise<ControlClient> {
  return new Promise((resolve, reject) => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      reject(new AppError('network', `no answer in ${deadlineMs} ms`));
    }, deadlineMs);
    connecting.then(
      (client) => {
        clearTimeout(timer);
        if (late) client.close();
        else resolve(client);
      },
      (error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
