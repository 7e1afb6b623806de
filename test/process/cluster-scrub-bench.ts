/** What the tests of scrubbing do with a real cluster. */
import * as assert from 'uvu/assert';
import { NbdClient } from '../helpers/nbd-client.js';
import type { RealCluster } from '../helpers/real-cluster.js';
import { type DogResult, dog } from '../helpers/run-dog.js';

export const BLOCK = 4096;
const PIECE = 65536;
const DEADLINE_MS = 120_000;

export interface ScrubResult {
  readonly found: number;
  readonly repaired: number;
  readonly unrepairable: number;
  readonly tookMs: number;
}

/** Words that differ from each other and from those of another seed. */
export function sample(bytes: number, seed = 1): Buffer {
  const data = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 4) data.writeUInt32LE(((at + seed) * 2654435761) >>> 0, at);
  return data;
}

export class ScrubBench {
  constructor(private readonly cluster: RealCluster) {}

  run(line: string, stdin?: Buffer): Promise<DogResult> {
    const one = this.cluster.sheep.find((sheep) => sheep.running)!;
    const words = [...line.split(' '), '-p', String(one.port)];
    return dog(words, { ...(stdin && { stdin }), deadlineMs: DEADLINE_MS });
  }

  async makeVolume(name: string, objects: number, data: Buffer): Promise<void> {
    assert.is((await this.run(`vdi create ${name} ${objects * 4}M`)).exit, 0);
    assert.is((await this.run(`vdi write ${name}`, data)).exit, 0);
  }

  /** Reads through every sheep's own door. */
  async expectEverywhere(name: string, bytes: Buffer): Promise<void> {
    for (const sheep of this.cluster.sheep) {
      const client = await NbdClient.open(sheep.nbd, name);
      for (let at = 0; at < bytes.length; at += PIECE) {
        const wanted = bytes.subarray(at, at + PIECE);
        const found = await client.read(at, wanted.length);
        assert.ok(found.equals(wanted), `sheep ${sheep.index} is right at ${at}`);
      }
      client.close();
    }
  }

  /** A whole pass of all sheep. */
  async scrub(): Promise<ScrubResult> {
    const startMs = performance.now();
    const result = await this.run('cluster scrub start -w --json');
    const tookMs = performance.now() - startMs;
    assert.is(result.stderr, '');
    const { nodes, unrepairable } = JSON.parse(result.stdout);
    const sum = (key: string): number =>
      nodes.reduce((all: number, node: { last: Record<string, number> }) => all + node.last[key]!, 0);
    assert.is(result.exit, unrepairable.length > 0 ? 1 : 0);
    return { found: sum('found'), repaired: sum('repaired'), unrepairable: unrepairable.length, tookMs };
  }

  /** Stops every sheep cleanly, so that tables are on the disk and nothing is in memory, and starts them again. */
  async whileStopped(work: () => void): Promise<void> {
    const { sheep } = this.cluster;
    await Promise.all(sheep.map((one) => one.kill('SIGTERM')));
    work();
    for (const one of sheep) one.spawn();
    await Promise.all(sheep.map((one) => one.waitUp()));
    await this.cluster.waitHealthy();
  }
}
