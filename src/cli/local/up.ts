import { Exit, exitCodes } from '../exit.js';
import { fetchInfo, infoOrNothing, isListening, poll, withSheep } from './control.js';
import type { ClusterConfig, ClusterHome } from './home.js';
import { SheepProcess } from './sheep-process.js';

/** Starting a cluster on this machine. Every step looks first, so that a second run changes nothing. */
export const START_DEADLINE_MS = 20_000;
const PORT_FREE_DEADLINE_MS = 1000;
const LOG_LINES = 12;

export interface UpResult {
  readonly sheep: readonly SheepProcess[];
  /** Sheep that this run started; none when all ran already. */
  readonly started: readonly SheepProcess[];
  readonly formatted: boolean;
}

export function sheepOf(home: ClusterHome, config: ClusterConfig): SheepProcess[] {
  return Array.from({ length: config.sheep }, (_, index) => new SheepProcess(home, config, index));
}

export async function bringUp(
  home: ClusterHome,
  config: ClusterConfig,
  env: Readonly<Record<string, string | undefined>>,
): Promise<UpResult> {
  const sheep = sheepOf(home, config);
  const started = sheep.filter((one) => one.pid() === undefined);
  for (const one of started) one.start(env);
  for (const one of sheep) await waitForAnswer(one);
  // A host that joined a cluster formats nothing.
  const formatted = config.joined === undefined && (await formatIfNew(sheep, config));
  await waitUntilRunning(sheep);
  return { sheep, started, formatted };
}

/** A port that somebody else holds is found before a sheep fails on it, with a better message. */
export async function checkPorts(home: ClusterHome, config: ClusterConfig): Promise<void> {
  for (const one of sheepOf(home, config)) if (one.pid() === undefined) await checkPortsOf(one);
}

async function checkPortsOf(sheep: SheepProcess): Promise<void> {
  const ports = { '--port': sheep.port, '--nbd-port': sheep.nbdPort, '--http-port': sheep.httpPort };
  for (const [option, port] of Object.entries(ports)) {
    // A sheep that was just killed vanishes from the list of processes a moment before its sockets do.
    const free = await poll(PORT_FREE_DEADLINE_MS, async () =>
      (await isListening({ host: sheep.host, port })) ? undefined : true,
    );
    if (free === true) continue;
    throw new Exit(exitCodes.failure, `Port ${port} is in use by another program`, {
      hint: `Stop that program, or choose other ports: ${option} takes the first one of a row, one per sheep.`,
    });
  }
}

export async function waitForAnswer(sheep: SheepProcess): Promise<void> {
  const answer = await poll(START_DEADLINE_MS, async () => {
    if (sheep.ended !== undefined) throw startFailure(sheep, `ended at once (${sheep.ended})`);
    return infoOrNothing(sheep);
  });
  if (answer === undefined) throw startFailure(sheep, `does not answer on port ${sheep.port}`);
}

export function startFailure(sheep: SheepProcess, what: string): Exit {
  const lines = sheep.lastLogLines(LOG_LINES);
  const inUse = lines.some((line) => /EADDRINUSE|address already in use/i.test(line));
  const log = lines.length === 0 ? ' Its log is empty.' : ` The end of its log:\n  ${lines.join('\n  ')}`;
  const hint = inUse
    ? 'A port is in use: choose others with --port, --nbd-port and --http-port.'
    : `See ${sheep.logFile}; 'dog cluster down' stops what has started.`;
  return new Exit(exitCodes.system, `Sheep ${sheep.index} ${what}.${log}`, { hint });
}

/** Formats only a cluster that never was: all its sheep must be there, to be its first members. */
async function formatIfNew(sheep: readonly SheepProcess[], config: ClusterConfig): Promise<boolean> {
  const first = sheep[0]!;
  const info = await fetchInfo(first);
  if (info.status !== 'wait-for-format') return false;
  const joined = await poll(START_DEADLINE_MS, async () => {
    const { nodes } = await fetchInfo(first);
    return nodes.filter((node) => node.up).length >= sheep.length ? true : undefined;
  });
  if (joined === undefined) throw startFailure(first, 'does not see the other sheep');
  await withSheep(first, (client) => client.call('cluster.format', { copies: config.copies }));
  return true;
}

async function waitUntilRunning(sheep: readonly SheepProcess[]): Promise<void> {
  for (const one of sheep) {
    const running = await poll(START_DEADLINE_MS, async () => {
      const info = await infoOrNothing(one);
      return info?.status === 'running' ? true : undefined;
    });
    if (running === undefined) throw startFailure(one, 'answers, but its cluster does not run');
  }
}
