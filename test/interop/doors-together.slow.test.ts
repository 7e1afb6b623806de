// run: all
// deadline: 300 s
/**
 * One volume open through both doors at once: what one writes the other reads in the next moment, also after snapshots
 * taken by either; in the end every client sees the same bytes. The one that opens second keeps its own index, so it
 * must be the one whose picture of the volume is made for that (src/sheepdog/README.md).
 */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { seeded } from '../helpers/mirror-oracle.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { type OldQemu, requiresOldQemu } from '../helpers/old-qemu.js';
import { QemuClient } from '../helpers/qemu-client.js';
import { type RealCluster, withCluster } from '../helpers/real-cluster.js';
import { mustRun } from './nbd-setup.js';

const MIB = 1024 * 1024;
const SIZE_BYTES = 24 * MIB;
const STEPS = 400;
const SNAPSHOT_EVERY = 80;

interface Doors {
  readonly cluster: RealCluster;
  readonly old: OldQemu;
  readonly clients: readonly NbdClient[];
  readonly mirror: Buffer;
  readonly below: (below: number) => number;
}

/** A write through one door, read through all of them; now and then a discard of a whole object. */
async function step({ clients, mirror, below }: Doors, number: number): Promise<void> {
  const length = 512 * (1 + below(below(8) === 0 ? 4096 : 64));
  const offset = 512 * below((SIZE_BYTES - length) / 512);
  const writer = clients[below(clients.length)]!;
  if (below(10) === 0) {
    const from = MIB * below(SIZE_BYTES / MIB);
    await writer.zero(from, MIB);
    mirror.fill(0, from, from + MIB);
  } else {
    const data = Buffer.alloc(length, number + 1);
    await writer.write(offset, data);
    data.copy(mirror, offset);
  }
  for (const [i, reader] of clients.entries()) {
    const found = await reader.read(offset, length);
    assert.ok(found.equals(mirror.subarray(offset, offset + length)), `step ${number}, read by client ${i}`);
  }
}

async function snapshot({ cluster, old, clients }: Doors, number: number): Promise<string> {
  for (const client of clients) await client.flush();
  const tag = `s${number}`;
  const { port } = cluster.sheep[number % 3]!;
  if (number % 2 === 0) await cluster.call('vdi.snapshot', { name: 'both', tag });
  else await mustRun(old.img, 'snapshot', '-c', tag, `sheepdog:127.0.0.1:${port}:both`);
  return tag;
}

requiresOldQemu(test)('two doors on one volume see each other at once, over snapshots of both', (old) =>
  withCluster({ deadlineMs: 280_000 }, async (cluster) => {
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
    await cluster.call('vdi.create', { name: 'both', sizeBytes: SIZE_BYTES, blockSizeShift: 20 });
    const today = [
      await NbdClient.open(cluster.sheep[0]!.nbd, 'both'),
      await NbdClient.open(cluster.sheep[1]!.nbd, 'both'),
    ];
    const { port } = cluster.sheep[2]!;
    const qemu = await QemuClient.startOld(
      old.storageDaemon,
      cluster.folder,
      { host: '127.0.0.1', port },
      'both',
    );
    const clients = [...today, await qemu.connect()];
    const doors: Doors = { cluster, old, clients, mirror: Buffer.alloc(SIZE_BYTES), below: seeded(seed) };
    const kept = new Map<string, Buffer>();
    try {
      for (let i = 0; i < STEPS; i++) {
        await step(doors, i);
        if ((i + 1) % SNAPSHOT_EVERY === 0) {
          kept.set(await snapshot(doors, (i + 1) / SNAPSHOT_EVERY), Buffer.from(doors.mirror));
        }
      }
      for (const client of clients) await client.flush();
    } catch (error) {
      process.stderr.write(`seed ${seed}; ${qemu.ended ?? 'qemu runs'}\n`);
      throw error;
    } finally {
      for (const client of clients) client.close();
      await qemu.stop();
    }
    await compareAll(doors, kept);
  }),
);

/** Through each door and sheep, by both qemu-img. */
async function compareAll({ cluster, old, mirror }: Doors, kept: ReadonlyMap<string, Buffer>): Promise<void> {
  const { writeFileSync } = await import('node:fs');
  const versions = [['', mirror], ...kept] as const;
  for (const [i, [tag, wanted]] of versions.entries()) {
    const path = join(cluster.folder, 'wanted.img');
    writeFileSync(path, wanted);
    const sheep = cluster.sheep[i % 3]!;
    const nbd = sheep.uri(tag === '' ? 'both' : `both@${tag}`);
    const url = `sheepdog:127.0.0.1:${cluster.sheep[(i + 1) % 3]!.port}:both${tag === '' ? '' : `:${tag}`}`;
    await mustRun('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', nbd, path);
    await mustRun(old.img, 'compare', '-f', 'raw', '-F', 'raw', url, path);
    await mustRun(old.img, 'compare', '-f', 'raw', '-F', 'raw', url, url);
  }
}

test.run();
