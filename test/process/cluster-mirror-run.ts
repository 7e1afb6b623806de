/** The mirror-file run: one volume under load through QEMU's client, while one sheep after the other is killed. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { sleep, systemClock } from '../../src/base/clock.js';
import { AppError } from '../../src/base/errors.js';
import { longestBetween, MirrorOracle, median, mustBeEqual, seeded } from '../helpers/mirror-oracle.js';
import { QemuClient } from '../helpers/qemu-client.js';
import { type RealCluster, type RealSheep, within } from '../helpers/real-cluster.js';
import { mustRun } from '../interop/nbd-setup.js';

const WORKERS = 4;
const GATEWAY = 0;
const SETTLE_DEADLINE_MS = 90_000;

export interface MirrorRunOptions {
  readonly kills: number;
  readonly sizeBytes: number;
  readonly seed: number;
  /** A snapshot after each so many kills. */
  readonly snapshotEvery: number;
  readonly thinkMs: number;
  /** Log of the object size; the cluster's default without. */
  readonly blockSizeShift?: number;
  /** Only the other sheep are killed. */
  readonly spareGateway?: boolean;
  /** Opens the volume through the gateway; QEMU's NBD client without. */
  readonly open?: (cluster: RealCluster, gateway: RealSheep) => Promise<QemuClient>;
}

interface Kill {
  readonly gateway: boolean;
  readonly fromMs: number;
  toMs: number;
  restartMs: number;
  healMs: number;
}

/** Throws at the first failed request, wrong read, or difference at the end; prints what the kills cost. */
export async function mirrorRun(cluster: RealCluster, options: MirrorRunOptions): Promise<void> {
  const below = seeded(options.seed);
  const { sizeBytes, blockSizeShift } = options;
  await cluster.call('vdi.create', {
    name: 'disk',
    sizeBytes,
    ...(blockSizeShift !== undefined && { blockSizeShift }),
  });
  const openNbd = () => QemuClient.start(cluster.folder, cluster.sheep[GATEWAY]!.nbd, 'disk');
  const qemu = await (options.open?.(cluster, cluster.sheep[GATEWAY]!) ?? openNbd());
  const client = await qemu.connect();
  const path = join(cluster.folder, 'mirror.img');
  const oracle = new MirrorOracle(path, options.sizeBytes, client, below, options.thinkMs);
  const kills: Kill[] = [];
  const tags: string[] = [];
  try {
    oracle.start(WORKERS);
    for (let i = 0; i < options.kills && oracle.failure === undefined; i++) {
      kills.push(await killOne(cluster, oracle, i, below, options.spareGateway ?? false));
      if ((i + 1) % options.snapshotEvery === 0) tags.push(await snapshot(cluster, oracle, `s${i + 1}`));
    }
    await oracle.stop();
    await oracle.quiet(async () => {});
    await cluster.waitHealthy(SETTLE_DEADLINE_MS);
    await compareAll(cluster, path, tags);
    print(oracle, kills);
  } catch (error) {
    process.stderr.write(`seed ${options.seed}, ${kills.length} kills done\n`);
    if (qemu.ended !== undefined) process.stderr.write(`${qemu.ended}\n`);
    throw error;
  } finally {
    await oracle.stop().catch(() => {});
    client.close();
    await qemu.stop();
    oracle.close();
  }
}

/** The first two kills take a store and the gateway; later ones any. Most wait until all is well again, some do not. */
async function killOne(
  cluster: RealCluster,
  oracle: MirrorOracle,
  number: number,
  below: (below: number) => number,
  spareGateway: boolean,
): Promise<Kill> {
  const others = cluster.sheep.length - 1;
  const any = number === 0 ? 1 : number === 1 ? GATEWAY : below(cluster.sheep.length);
  const index = spareGateway ? GATEWAY + 1 + below(others) : any;
  const victim = cluster.sheep[index]!;
  await sleep(systemClock, 200 + below(800));
  const fromMs = performance.now();
  // Now and then in good order: for QEMU that must be a pause as well (D-13).
  await victim.kill(number > 1 && below(6) === 0 ? 'SIGTERM' : 'SIGKILL');
  await sleep(systemClock, below(2) === 0 ? 0 : below(1500));
  const startMs = performance.now();
  await victim.start();
  const restartMs = performance.now() - startMs;
  if (below(4) !== 0) await cluster.waitHealthy(SETTLE_DEADLINE_MS);
  const healMs = performance.now() - startMs;
  // Requests still under way when the kill's time ends belong to it: they are looked at when the run is over.
  if (oracle.failure === undefined) await sleep(systemClock, 200);
  return { gateway: index === GATEWAY, fromMs, toMs: performance.now(), restartMs, healMs };
}

async function snapshot(cluster: RealCluster, oracle: MirrorOracle, tag: string): Promise<string> {
  await oracle.quiet(async () => {
    await within(SETTLE_DEADLINE_MS, `snapshot ${tag}`, async () => {
      try {
        await cluster.call('vdi.snapshot', { name: 'disk', tag });
        return true;
      } catch (error) {
        // The answer of an earlier try was lost; the snapshot was made of the same quiet volume.
        if (AppError.isCode(error, 'vdi-exists', 'exists')) return true;
        throw error;
      }
    });
    oracle.copyTo(join(cluster.folder, `mirror-${tag}.img`));
  });
  return tag;
}

/** Everything once through each sheep; a snapshot through one after the other. */
async function compareAll(cluster: RealCluster, mirrorPath: string, tags: readonly string[]): Promise<void> {
  const out = join(cluster.folder, 'out.img');
  const compare = async (index: number, exportName: string, wanted: string): Promise<void> => {
    await mustRun('nbdcopy', cluster.sheep[index]!.uri(exportName), out);
    mustBeEqual(out, wanted, `${exportName} read through sheep ${index}`);
    rmSync(out);
  };
  for (const { index } of cluster.sheep) await compare(index, 'disk', mirrorPath);
  for (const [i, tag] of tags.entries()) {
    await compare(i % cluster.sheep.length, `disk@${tag}`, join(cluster.folder, `mirror-${tag}.img`));
  }
}

function print(oracle: MirrorOracle, kills: readonly Kill[]): void {
  const { counts, timings } = oracle;
  // What already waited because of the kill before is not counted twice; 0: everything did.
  const stall = (kill: Kill) => {
    const before = kills[kills.indexOf(kill) - 1];
    return longestBetween(timings, before?.toMs ?? 0, kill.fromMs, kill.toMs);
  };
  const line = (label: string, values: number[]) => {
    const sorted = values
      .map(Math.round)
      .sort((a, b) => a - b)
      .filter((value) => value > 0);
    if (sorted.length === 0) return;
    const show = `median ${median(sorted)}, all ${sorted.join(' ')}`;
    process.stdout.write(`${label} (ms, ${sorted.length}): ${show}\n`);
  };
  process.stdout.write(`requests: ${JSON.stringify(counts)}\n`);
  line('stall at the kill of a store', kills.filter((kill) => !kill.gateway).map(stall));
  line('stall at the kill of the gateway', kills.filter((kill) => kill.gateway).map(stall));
  line(
    'restart until it answers',
    kills.map((kill) => kill.restartMs),
  );
  line(
    'restart until all is well',
    kills.map((kill) => kill.healMs),
  );
  line('request', [median(timings.map((timing) => timing.endMs - timing.startMs))]);
}
