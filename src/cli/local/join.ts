import { writeFileSync } from 'node:fs';
import { connect, isIPv4 } from 'node:net';
import { join } from 'node:path';
import type { NodeInfo } from '../../control/api.js';
import { Exit, exitCodes } from '../exit.js';
import { infoOrNothing, poll } from './control.js';
import type { ClusterConfig, ClusterHome } from './home.js';
import { SheepProcess } from './sheep-process.js';
import { endpointsOf, type JoinToken, withFiles } from './token.js';
import { START_DEADLINE_MS, startFailure, waitForAnswer } from './up.js';

const CONNECT_MS = 3000;
const MEMBER_DEADLINE_MS = 60_000;

/** This host's own address on the way to the coordinator. Throws Exit when no member of etcd can be reached. */
export async function addressTowards(coordinator: string): Promise<string> {
  const tried: string[] = [];
  for (const { host, port } of endpointsOf(coordinator)) {
    const found = await localAddress(host, port);
    if (typeof found === 'string') return found;
    tried.push(`${host}:${port} (${found.message})`);
  }
  throw new Exit(exitCodes.system, `The coordinator cannot be reached: ${tried.join(', ')}`, {
    hint: 'Is etcd running, and does its firewall let this host in?',
  });
}

function localAddress(host: string, port: number): Promise<string | Error> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    const done = (answer: string | Error): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(CONNECT_MS, () => done(new Error('no answer')));
    socket.once('connect', () => done(socket.localAddress ?? new Error('no local address')));
    socket.once('error', done);
  });
}

/** Sheep of one host fail together: the zone is the host's address. Several on loopback are told apart by port. */
export function zoneOf(host: string, port: number): number {
  if (!isIPv4(host) || host.startsWith('127.')) return port;
  return Buffer.from(host.split('.').map(Number)).readUInt32BE();
}

/** The address as this host uses it, with the token's files in its directory. */
export function coordinatorOf(home: ClusterHome, token: JoinToken): string {
  return withFiles(token.coordinator, (option) => fileOf(home, option));
}

export function writeFiles(home: ClusterHome, token: JoinToken): void {
  for (const [option, text] of Object.entries(token.files)) {
    writeFileSync(fileOf(home, option), text, { mode: 0o600 });
  }
}

function fileOf(home: ClusterHome, option: string): string {
  return join(home.coordinatorDirectory, option === 'password-file' ? 'etcd-password' : `etcd-${option}.pem`);
}

/** Starts this host's sheep and waits until the cluster has it. `started`: false when it ran already. */
export async function joinWithSheep(
  home: ClusterHome,
  config: ClusterConfig,
  clusterId: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<{ sheep: SheepProcess; node: NodeInfo; started: boolean }> {
  const sheep = new SheepProcess(home, config, 0);
  const started = sheep.pid() === undefined;
  if (started) sheep.start(env, clusterId === '' ? [] : ['--cluster-id', clusterId]);
  try {
    await waitForAnswer(sheep);
    const node = await poll(MEMBER_DEADLINE_MS, async () => {
      if (sheep.ended !== undefined) throw startFailure(sheep, `ended (${sheep.ended})`);
      const info = await infoOrNothing(sheep);
      return info?.nodes.find((one) => one.up && one.host === sheep.host && one.port === sheep.port);
    });
    if (node === undefined) throw startFailure(sheep, 'answers, but is no member');
    return { sheep, node, started };
  } catch (error) {
    // What was started for nothing would go on trying, unseen.
    if (started) await end(sheep);
    throw error;
  }
}

async function end(sheep: SheepProcess): Promise<void> {
  sheep.signal('SIGTERM');
  const gone = await poll(START_DEADLINE_MS, async () => (sheep.pid() === undefined ? true : undefined));
  if (gone === undefined) sheep.signal('SIGKILL');
}
