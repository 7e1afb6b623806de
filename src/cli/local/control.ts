import { connect } from 'node:net';
import { AppError } from '../../base/errors.js';
import type { ClusterInfo } from '../../control/api.js';
import { ControlClient } from '../../control/client.js';
import type { SheepProcess } from './sheep-process.js';

/** Talking to the sheep of a cluster on this machine while it comes up or goes down. */
export interface Place {
  readonly host: string;
  readonly port: number;
}
const POLL_MS = 100;
const CALL_TIMEOUT_MS = 5000;

export async function withSheep<T>(
  { host, port }: Place,
  run: (client: ControlClient) => Promise<T>,
): Promise<T> {
  const client = await ControlClient.connect({ host, port }, { timeoutMs: 2000 });
  try {
    return await run(client);
  } finally {
    client.close();
  }
}

export function fetchInfo(place: Place): Promise<ClusterInfo> {
  return withSheep(place, async (client) => {
    const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
    return (await client.call('cluster.info', {}, { signal })).result;
  });
}

/** Asks `probe` again and again until it gives something, or the deadline passes (undefined then). */
export async function poll<T>(
  deadlineMs: number,
  probe: () => Promise<T | undefined>,
): Promise<T | undefined> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (performance.now() > endMs) return undefined;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** The cluster as this sheep sees it; undefined while it does not answer. */
export async function infoOrNothing(sheep: SheepProcess): Promise<ClusterInfo | undefined> {
  try {
    return await fetchInfo(sheep);
  } catch (error) {
    if (error instanceof AppError) return undefined;
    throw error;
  }
}

/** True when somebody listens there. */
export function isListening({ host, port }: Place): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1000, () => done(false));
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}
