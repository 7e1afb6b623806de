/** Three sheep with two disks each, and a load that must not notice what happens to one of them (D-8). */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { seeded } from '../helpers/mirror-oracle.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { type RealCluster, type RealSheep, withCluster, within } from '../helpers/real-cluster.js';
import { StampedVolume } from '../helpers/stamped-volume.js';

const MIB = 1024 * 1024;
const BLOCKS = 96 * 256;
const DEPTH = 4;
export const LOAD_MS = 1000;
const HEAL_MS = 60_000;
export const VICTIM = 1;

export const diskOf = (folder: string, index: number, name: string): string =>
  join(folder, `disk${index}${name}`);

/** Writes until it is told to stop; a request that fails is the failure of the test. */
export class Load {
  private over = false;
  private readonly work: Promise<unknown>;

  private constructor(
    private readonly client: NbdClient,
    readonly volume: StampedVolume,
  ) {
    const below = seeded(7);
    const worker = async () => {
      while (!this.over) {
        if (below(16) === 0) await client.flush();
        else await volume.writeSomewhere(client, below);
      }
    };
    this.work = Promise.all(Array.from({ length: DEPTH }, worker));
    this.work.catch(() => {});
  }

  /** `volume`: what an earlier load has written. */
  static async start(sheep: RealSheep, volume = new StampedVolume(BLOCKS)): Promise<Load> {
    return new Load(await NbdClient.open(sheep.nbd, 'disk'), volume);
  }

  /** Goes on for so long; rejects when a request has failed. */
  async goesOn(durationMs: number): Promise<void> {
    const before = this.volume.acknowledgedWrites;
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      this.work,
      new Promise((resolve) => {
        timer = setTimeout(resolve, durationMs);
      }),
    ]);
    clearTimeout(timer);
    assert.ok(this.volume.acknowledgedWrites > before, 'nothing was written');
  }

  async stop(): Promise<void> {
    this.over = true;
    await this.work;
    await this.client.flush();
    this.client.close();
  }
}

export async function disksOf(sheep: RealSheep): Promise<string[]> {
  return (await sheep.call('node.disks', {})).disks.map(({ path }) => path);
}

export async function isWhole(cluster: RealCluster): Promise<void> {
  await cluster.waitHealthy(HEAL_MS);
  await within(HEAL_MS, 'nobody lacks anything', async () => {
    const { nodes } = await cluster.call('cluster.info', {});
    return nodes.every((node) => node.up && !node.incomplete && !node.behind);
  });
}

export async function checkEverywhere(cluster: RealCluster, volume: StampedVolume): Promise<void> {
  for (const one of cluster.sheep) {
    const client = await NbdClient.open(one.nbd, 'disk');
    await volume.check(client, `sheep ${one.index}`);
    client.close();
  }
}

/** Three sheep with two disks each, two copies, and a load on a volume of 96 MiB. */
export function withLoad(
  mount: ((path: string) => () => void) | undefined,
  body: (cluster: RealCluster, load: Load, lost: string) => Promise<void>,
): Promise<void> {
  let unmount: () => void = () => {};
  const wordsOf = (index: number, folder: string): string[] => {
    const paths = ['a', 'b'].map((name) => diskOf(folder, index, name));
    for (const path of paths) mkdirSync(path);
    if (index === VICTIM && mount !== undefined) unmount = mount(paths[1]!);
    return ['--disk', paths.join(',')];
  };
  const run = withCluster({ sheep: 3, copies: 2, wordsOf, deadlineMs: 200_000 }, async (cluster) => {
    try {
      await cluster.call('vdi.create', { name: 'disk', sizeBytes: BLOCKS * 4096 });
      const load = await Load.start(cluster.sheep[0]!);
      await load.goesOn(LOAD_MS);
      await body(cluster, load, diskOf(cluster.folder, VICTIM, 'b'));
    } finally {
      await cluster.sheep[VICTIM]!.kill();
      unmount();
    }
  });
  return run;
}

/** A disk is lost while clients write, and everything is well again by itself. */
export async function losesDisk(
  cluster: RealCluster,
  load: Load,
  lost: string,
  breakIt: () => void,
): Promise<void> {
  const victim = cluster.sheep[VICTIM]!;
  const startMs = performance.now();
  breakIt();
  await Promise.all([
    load.goesOn(LOAD_MS),
    within(20_000, 'the disk is dropped', async () => !(await disksOf(victim)).includes(lost)),
  ]);
  const droppedMs = performance.now() - startMs;
  await isWhole(cluster);
  process.stdout.write(
    `dropped after ${Math.round(droppedMs)} ms, whole after ${Math.round(performance.now() - startMs)} ms\n`,
  );
  await load.goesOn(LOAD_MS / 3);
  await load.stop();
  await checkEverywhere(cluster, load.volume);
  // It starts again as it is: the lost disk is neither asked for nor used.
  await victim.kill();
  await victim.start();
  assert.not((await disksOf(victim)).includes(lost));
  await isWhole(cluster);
  await checkEverywhere(cluster, load.volume);
}

/** A file system of its own in a file; what it returns takes it away again. */
export function loopDisk(path: string): () => void {
  const image = `${path}.img`;
  writeFileSync(image, '');
  truncateSync(image, 400 * MIB);
  execFileSync('mkfs.ext4', ['-q', '-F', image]);
  execFileSync('mount', ['-o', 'loop', image, path]);
  const unmount = (): void => {
    try {
      execFileSync('umount', ['--lazy', path], { stdio: 'ignore' });
    } catch {
      // It is gone already.
    }
  };
  process.once('exit', unmount);
  return unmount;
}

export function canMount(): boolean {
  return process.getuid?.() === 0 && existsSync('/dev/loop-control');
}

export async function epochOf(cluster: RealCluster): Promise<number> {
  return (await cluster.call('cluster.info', {})).epoch;
}
