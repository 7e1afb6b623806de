// run: quick
// deadline: 300 s
/** Real disk images through foreign tools, into a volume of real sheep and out again. */
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mustBeEqual } from '../helpers/mirror-oracle.js';
import { objectDiskBytes, type RealCluster, withCluster, within } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';
import { GRUB_ISO, importImage, withImage } from './image-setup.js';
import { mustRun } from './nbd-setup.js';

const MIB = 1024 * 1024;
const OBJECT_BYTES = 4 * MIB;
const DEADLINE_MS = 120_000;
const IPXE_ISO = '/usr/lib/ipxe/ipxe.iso';

/** Byte for byte through every sheep; by nbdcopy, and once by qemu-img. */
async function mustEqualImage(cluster: RealCluster, exportName: string, image: string): Promise<void> {
  const out = join(cluster.folder, 'out.img');
  for (const one of cluster.sheep) {
    await mustRun('nbdcopy', one.uri(exportName), out);
    mustBeEqual(out, image, `${exportName} by nbdcopy from sheep ${one.index}`);
    rmSync(out);
  }
  const uri = cluster.sheep[1]!.uri(exportName);
  await mustRun('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', uri, out);
  mustBeEqual(out, image, `${exportName} by qemu-img`);
  rmSync(out);
}

async function usedBytes(cluster: RealCluster, name: string): Promise<number> {
  const rows = await cluster.call('vdi.list', { name });
  return rows.filter((row) => !row.snapshot).reduce((sum, row) => sum + row.usedBytes, 0);
}

withImage(
  GRUB_ISO,
  'qemu-img',
  'nbdcopy',
)('an ISO goes in by qemu-img and comes out of each sheep', () =>
  withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    await importImage(cluster, 'iso', GRUB_ISO);
    await mustEqualImage(cluster, 'iso', GRUB_ISO);
  }),
);

withImage(
  IPXE_ISO,
  'qemu-img',
  'qemu-io',
  'nbdcopy',
)('snapshots and clones of an image keep it while the volume changes', () =>
  withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    const [first] = cluster.sheep as [RealCluster['sheep'][0]];
    await cluster.call('vdi.create', { name: 'disk', sizeBytes: statSync(IPXE_ISO).size });
    await mustRun('nbdcopy', IPXE_ISO, first.uri('disk'));
    await mustEqualImage(cluster, 'disk', IPXE_ISO);
    await cluster.call('vdi.snapshot', { name: 'disk', tag: 'before' });
    await mustEqualImage(cluster, 'disk', IPXE_ISO);
    await cluster.call('vdi.clone', { source: { name: 'disk', tag: 'before' }, name: 'copy' });
    await mustRun('qemu-io', '-f', 'raw', '-c', 'write -P 0x5a 100k 900k', '-c', 'flush', first.uri('disk'));
    await mustEqualImage(cluster, 'disk@before', IPXE_ISO);
    await mustEqualImage(cluster, 'copy', IPXE_ISO);
    await mustRun('qemu-io', '-f', 'raw', '-c', 'write -P 0xa5 0 64k', '-c', 'flush', first.uri('copy'));
    await mustEqualImage(cluster, 'disk@before', IPXE_ISO);
    await mustRun(
      'qemu-io',
      '-r',
      '-f',
      'raw',
      '-c',
      'read -P 0x5a 100k 900k',
      cluster.sheep[2]!.uri('disk'),
    );
    await mustRun('qemu-io', '-r', '-f', 'raw', '-c', 'read -P 0xa5 0 64k', cluster.sheep[2]!.uri('copy'));
  }),
);

requires(
  test,
  'qemu-img',
  'nbdinfo',
  'qemu-io',
)('holes are seen by qemu-img map and nbdinfo', () =>
  withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    await cluster.call('vdi.create', { name: 'thin', sizeBytes: 64 * MIB });
    const uri = cluster.sheep[0]!.uri('thin');
    await mustRun('qemu-io', '-f', 'raw', '-c', 'write -P 1 8M 4M', '-c', 'write -P 2 41M 64k', uri);
    const extents = JSON.parse(await mustRun('qemu-img', 'map', '--output=json', '-f', 'raw', uri)) as {
      start: number;
      length: number;
      data: boolean;
      zero: boolean;
    }[];
    const data = extents.filter((extent) => extent.data).map(({ start, length }) => [start, length]);
    assert.equal(data, [
      [8 * MIB, 4 * MIB],
      [41 * MIB, 64 * 1024],
    ]);
    assert.ok(extents.every((extent) => extent.data !== extent.zero));
    const map = await mustRun('nbdinfo', '--map', '--json', cluster.sheep[2]!.uri('thin'));
    const rows = JSON.parse(map) as { offset: number; length: number; type: number }[];
    const dataRows = rows.filter((row) => row.type === 0).map(({ offset, length }) => [offset, length]);
    assert.equal(dataRows, data);
  }),
);

requires(test, 'qemu-io')('discards free bytes in the list of volumes and on the disks', () =>
  withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    await cluster.call('vdi.create', { name: 'disk', sizeBytes: 64 * MIB });
    const [first] = cluster.sheep as [RealCluster['sheep'][0]];
    const emptyBytes = cluster.sheep.map((one) => objectDiskBytes(one.dir));
    await mustRun('qemu-io', '-f', 'raw', '-c', 'write -P 7 0 32M', '-c', 'flush', first.uri('disk'));
    assert.is(await usedBytes(cluster, 'disk'), 32 * MIB);
    for (const [i, one] of cluster.sheep.entries()) {
      const bytes = objectDiskBytes(one.dir) - emptyBytes[i]!;
      assert.ok(bytes >= 32 * MIB, `sheep ${i} holds ${bytes} bytes`);
    }
    // Whole objects go; of the others the discarded part becomes a hole.
    const discard = ['-c', 'discard 8M 16M', '-c', 'discard 26M 1M', '-c', 'flush'];
    await mustRun('qemu-io', '-f', 'raw', '--discard=unmap', ...discard, first.uri('disk'));
    assert.is(await usedBytes(cluster, 'disk'), 32 * MIB - 4 * OBJECT_BYTES);
    for (const [i, one] of cluster.sheep.entries()) {
      await within(30_000, `sheep ${i} frees 17 MiB`, () => {
        return objectDiskBytes(one.dir) - emptyBytes[i]! <= 15 * MIB + MIB / 4;
      });
    }
    const reads = [
      '-c',
      'read -P 7 0 8M',
      '-c',
      'read -P 0 8M 16M',
      '-c',
      'read -P 7 24M 2M',
      '-c',
      'read -P 0 26M 1M',
    ];
    await mustRun(
      'qemu-io',
      '-r',
      '-f',
      'raw',
      ...reads,
      '-c',
      'read -P 7 27M 5M',
      cluster.sheep[1]!.uri('disk'),
    );
  }),
);

test.run();
