/** What is no longer in the page cache is read from the disk, and is the same. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import { seeded } from '../helpers/mirror-oracle.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { withCluster } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';
import { BLOCK_BYTES, StampedVolume } from '../helpers/stamped-volume.js';
import { mustRun } from '../interop/nbd-setup.js';

/** Drops the cached pages of every file below: they are clean after sync(1). */
async function dropCached(folder: string): Promise<void> {
  await mustRun('sync', '-f', folder);
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile())
      await mustRun('dd', `if=${join(entry.parentPath, entry.name)}`, 'iflag=nocache', 'count=0');
  }
}

requires(
  test,
  'dd',
  'sync',
)('a volume whose objects have left the page cache reads back whole', () =>
  withCluster({ deadlineMs: 60_000 }, async (cluster) => {
    const volume = new StampedVolume(2048);
    const below = seeded(7);
    await cluster.call('vdi.create', { name: 'disk', sizeBytes: 2048 * BLOCK_BYTES });
    const client = await NbdClient.open(cluster.sheep[0]!.nbd, 'disk');
    for (let i = 0; i < 200; i++) await volume.writeSomewhere(client, below);
    await client.flush();
    for (const { dir } of cluster.sheep) await dropCached(dir);
    await volume.check(client, 'cold files');
    for (const { dir } of cluster.sheep) await dropCached(dir);
    // Parts of blocks have to be read before they can be written.
    const half = Buffer.alloc(100, 1);
    for (let i = 0; i < 50; i++) await client.write(i * 32 * BLOCK_BYTES + 1000, half);
    client.close();
  }),
);

test.run();
