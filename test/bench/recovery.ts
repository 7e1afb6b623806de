/**
 * How recovery and clients bear each other: a fourth sheep joins three that hold a full volume, once without clients
 * and once while one works. Prints what the client sees before, during and after, and how long the move takes, beside
 * a plain copy of the same files. `node dist/test/bench/recovery.js [volume MiB] [depth]`
 */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { NbdClient } from '../helpers/nbd-client.js';
import { objectDiskBytes, RealCluster, type RealSheep, within } from '../helpers/real-cluster.js';

const MIB = 1024 * 1024;
const BLOCK = 4096;
const QUIET_MS = 8000;
const MOVE_DEADLINE_MS = 600_000;

const volumeBytes = Number(process.argv[2] ?? 512) * MIB;
const depth = Number(process.argv[3] ?? 4);

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function fill(sheep: RealSheep): Promise<void> {
  const client = await NbdClient.open(sheep.nbd, 'disk');
  const data = Buffer.alloc(MIB);
  for (let at = 0; at < volumeBytes; at += MIB) {
    for (let i = 0; i < MIB; i += 8) data.writeDoubleLE(at + i + 0.5, i);
    await client.write(at, data);
  }
  await client.flush();
  client.close();
}

/** A client at work until told to stop: random blocks, every second one written. */
class Load {
  latenciesMs: number[] = [];
  private stopped = false;
  private readonly workers: Promise<void>[];

  constructor(client: NbdClient) {
    this.workers = Array.from({ length: depth }, (_, i) => this.work(client, i));
  }

  private async work(client: NbdClient, seed: number): Promise<void> {
    const data = Buffer.alloc(BLOCK, seed + 1);
    for (let n = seed + 1; !this.stopped; n++) {
      const at = Math.floor(Math.random() * (volumeBytes / BLOCK)) * BLOCK;
      const startMs = performance.now();
      if (n % 2 === 0) await client.write(at, data);
      else await client.read(at, BLOCK);
      this.latenciesMs.push(performance.now() - startMs);
    }
  }

  /** What it saw in the time from the last call, in so many milliseconds. */
  take(elapsedMs: number): string {
    const sorted = this.latenciesMs.sort((a, b) => a - b);
    this.latenciesMs = [];
    const at = (part: number) => (sorted[Math.floor(sorted.length * part)] ?? 0).toFixed(2);
    const rate = Math.round((sorted.length * 1000) / elapsedMs);
    return `${rate} operations/s, p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, p99 ${at(0.99)} ms`;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.workers);
  }
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Starts the sheep; resolves when everything that it shall hold lies on it. */
async function join4th(cluster: RealCluster, sheep: RealSheep): Promise<number> {
  const startMs = performance.now();
  await sheep.start();
  const { id } = (await sheep.call('node.list', {})).find((n) => n.port === sheep.port)!;
  await within(MOVE_DEADLINE_MS, 'the sheep has its objects', async () => {
    const nodes = await cluster.call('node.list', {});
    const node = nodes.find((n) => n.id === id);
    return node?.up === true && node.empty !== true && node.moving !== true;
  });
  return performance.now() - startMs;
}

async function leave(cluster: RealCluster, sheep: RealSheep): Promise<void> {
  const { id } = (await sheep.call('node.list', {})).find((n) => n.port === sheep.port)!;
  await cluster.call('member.change', { kind: 'out', id });
  await within(MOVE_DEADLINE_MS, 'the sheep is empty', async () =>
    (await cluster.call('node.list', {})).some((n) => n.id === id && n.empty === true),
  );
  await sheep.kill('SIGTERM');
  await cluster.call('member.change', { kind: 'remove', id });
  await cluster.waitHealthy(60_000);
}

function copyMs(dir: string): number {
  const copy = `${dir}-copy`;
  const startMs = performance.now();
  execFileSync('cp', ['-r', '--sparse=never', join(dir, 'store'), copy]);
  execFileSync('sync', ['-f', copy]);
  const tookMs = performance.now() - startMs;
  rmSync(copy, { recursive: true });
  return tookMs;
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

async function run(cluster: RealCluster): Promise<void> {
  const first = cluster.sheep[0]!;
  await cluster.call('vdi.create', { name: 'disk', sizeBytes: volumeBytes });
  await fill(first);
  const alone = await cluster.spare('fourth');
  const aloneMs = await join4th(cluster, alone);
  const bytes = objectDiskBytes(alone.dir);
  const rate = (ms: number) => `${Math.round((bytes / MIB / ms) * 1000)} MiB/s`;
  say(
    `without clients: ${Math.round(bytes / MIB)} MiB in ${seconds(aloneMs)} (${rate(aloneMs)}), start included`,
  );
  const plainMs = copyMs(alone.dir);
  say(`a plain copy of its store: ${seconds(plainMs)}; ratio ${(aloneMs / plainMs).toFixed(1)}`);
  await leave(cluster, alone);
  const client = await NbdClient.open(first.nbd, 'disk');
  const load = new Load(client);
  await pause(1000);
  load.take(1);
  await pause(QUIET_MS);
  say(`client before: ${load.take(QUIET_MS)}`);
  const late = await cluster.spare('fifth');
  const busyMs = await join4th(cluster, late);
  say(`client during: ${load.take(busyMs)}`);
  const moved = objectDiskBytes(late.dir);
  say(`with the client: ${Math.round(moved / MIB)} MiB in ${seconds(busyMs)} (${rate(busyMs)})`);
  await pause(QUIET_MS);
  say(`client after: ${load.take(QUIET_MS)}`);
  await load.stop();
  client.close();
  await late.kill();
}

const cluster = await RealCluster.start({ sheep: 3 });
try {
  await run(cluster);
} catch (error) {
  process.stderr.write(`${cluster.tails()}\n`);
  throw error;
} finally {
  await cluster.stop();
}
