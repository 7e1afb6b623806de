/**
 * How recovery and clients bear each other: a fourth sheep joins three that hold a full volume, once without clients
 * and once while one reads and writes; beside it a plain copy of the same files.
 */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { NbdClient } from '../helpers/nbd-client.js';
import { objectDiskBytes, RealCluster, type RealSheep, within } from '../helpers/real-cluster.js';
import { say } from './progress.js';
import { RecoveryLoad, type Seen } from './recovery-load.js';
import { type Taken, take } from './work/taken.js';

const MIB = 1024 * 1024;
const QUIET_MS = 8000;
const WARM_MS = 1000;
const MOVE_DEADLINE_MS = 1_800_000;
const HEALTHY_DEADLINE_MS = 120_000;

/** Of a sheep that gets what it lacks: its start is in it, and the CPU of all sheep that are there from before. */
export interface Move extends Taken {
  readonly bytes: number;
}

export interface RecoveryRun {
  readonly alone: Move;
  /** `cp` and `sync` of the store that the move has filled. */
  readonly plainCopy: Taken;
  readonly withClient: Move;
  readonly before: Seen;
  readonly during: Seen;
  readonly after: Seen;
}

export interface RecoveryOptions {
  readonly sizeBytes: number;
  /** Requests of the client at a time. */
  readonly depth: number;
}

/** One run, with a cluster of its own that is gone afterwards. */
export async function measureRecovery(options: RecoveryOptions): Promise<RecoveryRun> {
  const cluster = await RealCluster.start({ sheep: 3 });
  try {
    return await runIn(cluster, options);
  } catch (error) {
    process.stderr.write(`${cluster.tails()}\n`);
    throw error;
  } finally {
    await cluster.stop();
  }
}

async function runIn(cluster: RealCluster, { sizeBytes, depth }: RecoveryOptions): Promise<RecoveryRun> {
  const first = cluster.sheep[0]!;
  await cluster.call('vdi.create', { name: 'disk', sizeBytes });
  say('recovery: filling the volume');
  await fill(first, sizeBytes);
  say('recovery: a sheep joins');
  const fourth = await cluster.spare('fourth');
  let alone: Move;
  let plainCopy: Taken;
  try {
    alone = await joined(cluster, fourth);
    plainCopy = await take([], async () => copy(fourth.dir));
    await leave(cluster, fourth);
  } finally {
    await fourth.kill();
  }
  return { alone, plainCopy, ...(await withClient(cluster, { sizeBytes, depth })) };
}

async function withClient(
  cluster: RealCluster,
  { sizeBytes, depth }: RecoveryOptions,
): Promise<Omit<RecoveryRun, 'alone' | 'plainCopy'>> {
  const client = await NbdClient.open(cluster.sheep[0]!.nbd, 'disk');
  const load = new RecoveryLoad(client, sizeBytes, depth);
  const fifth = await cluster.spare('fifth');
  try {
    await pause(WARM_MS);
    load.take();
    await pause(QUIET_MS);
    const before = load.take();
    say('recovery: a sheep joins while a client reads and writes');
    const move = await joined(cluster, fifth);
    const during = load.take();
    await pause(QUIET_MS);
    return { withClient: move, before, during, after: load.take() };
  } finally {
    await load.stop();
    client.close();
    await fifth.kill();
  }
}

/** Starts the sheep; resolves when everything that it shall hold lies on it. */
async function joined(cluster: RealCluster, sheep: RealSheep): Promise<Move> {
  const taken = await take(
    cluster.sheep.map(({ pid }) => pid),
    async () => {
      await sheep.start();
      const id = await idOf(sheep);
      await within(MOVE_DEADLINE_MS, 'the sheep has its objects', async () => {
        const node = (await cluster.call('node.list', {})).find((one) => one.id === id);
        return node?.up === true && node.empty !== true && node.moving !== true;
      });
    },
  );
  return { ...taken, bytes: objectDiskBytes(sheep.dir) };
}

async function leave(cluster: RealCluster, sheep: RealSheep): Promise<void> {
  const id = await idOf(sheep);
  await cluster.call('member.change', { kind: 'out', id });
  await within(MOVE_DEADLINE_MS, 'the sheep is empty', async () =>
    (await cluster.call('node.list', {})).some((node) => node.id === id && node.empty === true),
  );
  await sheep.kill('SIGTERM');
  await cluster.call('member.change', { kind: 'remove', id });
  await cluster.waitHealthy(HEALTHY_DEADLINE_MS);
}

async function idOf(sheep: RealSheep) {
  return (await sheep.call('node.list', {})).find(({ port }) => port === sheep.port)!.id;
}

/** Bytes that say where they lie, so that no two objects are the same. */
async function fill(sheep: RealSheep, sizeBytes: number): Promise<void> {
  const client = await NbdClient.open(sheep.nbd, 'disk');
  const data = Buffer.alloc(MIB);
  for (let at = 0; at < sizeBytes; at += MIB) {
    for (let i = 0; i < MIB; i += 8) data.writeDoubleLE(at + i + 0.5, i);
    await client.write(at, data.subarray(0, Math.min(MIB, sizeBytes - at)));
  }
  await client.flush();
  client.close();
}

function copy(folder: string): void {
  const target = `${folder}-copy`;
  execFileSync('cp', ['-r', '--sparse=never', join(folder, 'store'), target]);
  execFileSync('sync', ['-f', target]);
  rmSync(target, { recursive: true });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
