/** One volume under load through a QEMU, while its gateway, or each sheep in turn, is killed, restarted or upgraded. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sleep, systemClock } from '../../src/base/clock.js';
import { Launcher } from '../helpers/launcher.js';
import { longestBetween, MirrorOracle, median, mustBeEqual, seeded } from '../helpers/mirror-oracle.js';
import { within } from '../helpers/real-cluster.js';
import { mustRun } from './nbd-setup.js';
import type { ReconnectClient } from './reconnect-clients.js';

const SHEEP = 3;
const WORKERS = 4;
const SIZE_BYTES = 32 * 1024 * 1024;
const THINK_MS = 2;
const HEALTH_DEADLINE_MS = 60_000;
/** Load before and after each event. */
const CALM_MS = 700;

export interface ReconnectEvent {
  readonly name: string;
  /** Connections of the sheepdog port live on. */
  readonly keepsConnections: boolean;
  run(launcher: Launcher): Promise<void>;
}

export const events: readonly ReconnectEvent[] = [
  {
    name: 'SIGKILL of the gateway and its restart',
    keepsConnections: false,
    async run(launcher) {
      await launcher.kill(0, 'SIGKILL');
      await mustUp(launcher);
    },
  },
  {
    name: 'planned restart of the gateway',
    keepsConnections: false,
    async run(launcher) {
      await launcher.kill(0, 'SIGTERM');
      await mustUp(launcher);
    },
  },
  {
    name: 'rolling restart of the cluster',
    keepsConnections: false,
    async run(launcher) {
      for (let index = 0; index < SHEEP; index++) {
        await launcher.kill(index, 'SIGTERM');
        await mustUp(launcher);
        await waitHealthy(launcher);
      }
    },
  },
  {
    name: 'planned upgrade of the gateway',
    keepsConnections: true,
    run: (launcher) => mustDog(launcher, 'node', 'upgrade'),
  },
  {
    name: 'planned upgrade of the cluster',
    keepsConnections: true,
    run: (launcher) => mustDog(launcher, 'cluster', 'upgrade'),
  },
];

/**
 * Runs each event `rounds` times. Throws at the first failed request, wrong read, or difference at the end. Returns a
 * line of figures for each event: how long the longest request took that it got in the way of.
 */
export async function reconnectRun(client: ReconnectClient, rounds: number, seed: number): Promise<string[]> {
  const launcher = await Launcher.start({ sheep: SHEEP });
  let failed = true;
  try {
    const lines = await underLoad(launcher, client, rounds, seed);
    failed = false;
    return lines;
  } finally {
    await launcher.stop({ failed });
  }
}

async function underLoad(
  launcher: Launcher,
  client: ReconnectClient,
  rounds: number,
  seed: number,
): Promise<string[]> {
  await mustDog(launcher, 'vdi', 'create', 'disk', `${SIZE_BYTES}`);
  const disk = await client.start(launcher, 'disk');
  const nbd = await disk.connect();
  const mirror = join(launcher.directory, 'mirror.img');
  const oracle = new MirrorOracle(mirror, SIZE_BYTES, nbd, seeded(seed), THINK_MS);
  try {
    oracle.start(WORKERS);
    const lines: string[] = [];
    const bearable = events.filter((event) => event.keepsConnections || !client.keptConnectionsOnly);
    for (const event of bearable) lines.push(await repeat(launcher, oracle, event, rounds));
    await oracle.stop();
    await oracle.quiet(async () => {});
    await compare(launcher, mirror);
    return lines;
  } finally {
    await oracle.stop().catch(() => {});
    nbd.close();
    await disk.stop();
    oracle.close();
  }
}

async function repeat(
  launcher: Launcher,
  oracle: MirrorOracle,
  event: ReconnectEvent,
  rounds: number,
): Promise<string> {
  const pauses: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await waitHealthy(launcher);
    await calm(oracle);
    const fromMs = performance.now();
    await event.run(launcher);
    await waitHealthy(launcher);
    // What still waits belongs to this event.
    await oracle.quiet(async () => {});
    pauses.push(longestBetween(oracle.timings, 0, fromMs, performance.now()));
    await calm(oracle);
  }
  const sorted = pauses.map(Math.round).sort((a, b) => a - b);
  return `${event.name}: pause median ${median(sorted)} ms, worst ${sorted.at(-1)} ms (${sorted.join(' ')})`;
}

async function calm(oracle: MirrorOracle): Promise<void> {
  await sleep(systemClock, CALM_MS);
  if (oracle.failure !== undefined) throw oracle.failure;
}

async function mustUp(launcher: Launcher): Promise<void> {
  const { exit, stderr } = await launcher.up();
  if (exit !== 0) throw new Error(`cluster up: exit ${exit}: ${stderr}`);
}

async function mustDog(launcher: Launcher, ...words: string[]): Promise<void> {
  const { exit, stderr } = await launcher.dog(...words);
  if (exit !== 0) throw new Error(`dog ${words.join(' ')}: exit ${exit}: ${stderr}`);
}

async function waitHealthy(launcher: Launcher): Promise<void> {
  for (let index = 0; index < SHEEP; index++) {
    await within(HEALTH_DEADLINE_MS, `sheep ${index} is healthy`, async () => {
      const response = await fetch(`http://127.0.0.1:${launcher.httpPortOf(index)}/health`, {
        signal: AbortSignal.timeout(5000),
      });
      return ((await response.json()) as { healthy: boolean }).healthy;
    });
  }
}

/** Everything once through each sheep. */
async function compare(launcher: Launcher, mirror: string): Promise<void> {
  const out = join(launcher.directory, 'out.img');
  for (let index = 0; index < SHEEP; index++) {
    writeFileSync(out, '');
    await mustRun('nbdcopy', `nbd://127.0.0.1:${launcher.nbdPortOf(index)}/disk`, out);
    mustBeEqual(out, mirror, `the volume read through sheep ${index}`);
  }
}
