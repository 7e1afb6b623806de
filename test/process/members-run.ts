/** Parts of the members tests: a volume under load, and looking at who holds what. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import type { NodeInfo } from '../../src/control/api.js';
import { dogDone } from '../helpers/dog-of.js';
import { MirrorOracle, seeded } from '../helpers/mirror-oracle.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { type RealCluster, type RealSheep, within } from '../helpers/real-cluster.js';

const MIB = 2 ** 20;

export interface LoadOptions {
  readonly sizeBytes?: number;
  readonly seed?: number;
  readonly copies?: number;
  readonly thinkMs?: number;
}

/** A volume under random requests through one gateway, with its mirror. */
export class Load {
  private constructor(
    readonly oracle: MirrorOracle,
    private readonly client: NbdClient,
  ) {}

  static async start(cluster: RealCluster, gateway: RealSheep, options: LoadOptions = {}): Promise<Load> {
    const { sizeBytes = 64 * MIB, seed = 1, copies, thinkMs = 2 } = options;
    await gateway.call('vdi.create', { name: 'disk', sizeBytes, ...(copies !== undefined && { copies }) });
    const client = await NbdClient.open(gateway.nbd, 'disk');
    const oracle = new MirrorOracle(
      join(cluster.folder, 'mirror.img'),
      sizeBytes,
      client,
      seeded(seed),
      thinkMs,
    );
    oracle.start(4);
    return new Load(oracle, client);
  }

  /** Ends the load and compares everything, through each of the sheep. */
  async finish(readers: readonly RealSheep[]): Promise<void> {
    await this.oracle.stop();
    const { sizeBytes, path } = this.oracle;
    const mirror = readFileSync(path);
    for (const reader of readers) {
      const client = await NbdClient.open(reader.nbd, 'disk');
      for (let offset = 0; offset < sizeBytes; offset += MIB) {
        const length = Math.min(MIB, sizeBytes - offset);
        const found = await client.read(offset, length);
        assert.ok(
          found.equals(mirror.subarray(offset, offset + length)),
          `${offset} through sheep ${reader.index}`,
        );
      }
      client.close();
    }
  }

  close(): void {
    this.client.close();
    this.oracle.close();
  }
}

export async function nodesOf(sheep: RealSheep): Promise<NodeInfo[]> {
  return sheep.call('node.list', {});
}

/** The row of a sheep, as another one knows it. */
export async function rowOf(asked: RealSheep, sheep: RealSheep): Promise<NodeInfo | undefined> {
  return (await nodesOf(asked)).find((node) => node.port === sheep.port);
}

/** Nothing is moving, and nobody lacks anything. */
export function waitSettled(asked: RealSheep, deadlineMs = 60_000): Promise<true> {
  return within(deadlineMs, 'nothing moves any more', async () => {
    const { move, nodes } = await asked.call('cluster.recovery', {});
    const rows = await nodesOf(asked);
    const whole = rows.every((node) => node.empty || (node.up && !node.behind && !node.incomplete));
    return move === undefined && nodes.length === 0 && whole;
  });
}

/** The sheep is to hold objects, as the one that is asked knows, and nothing moves any more. */
export async function waitTakenIn(asked: RealSheep, sheep: RealSheep): Promise<void> {
  await within(30_000, 'objects shall lie on it', async () => {
    const row = await rowOf(asked, sheep);
    return row?.up === true && row.in && row.empty !== true;
  });
  await waitSettled(asked);
}

/** All replicas of everything are equal. */
export async function checkEqual(asked: RealSheep): Promise<void> {
  await dogDone(asked, 'cluster check -n');
}

/** A counter of a sheep's metrics. */
export async function counterOf(sheep: RealSheep, name: string): Promise<number> {
  const { counters } = await sheep.call('node.stat', {});
  return counters[name] ?? 0;
}

export function pause(ms: number): Promise<void> {
  return sleep(systemClock, ms);
}
