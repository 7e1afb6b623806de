/** `dog vdi lock` with real clients of the sheepdog protocol. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type RealCluster, withCluster, within } from '../helpers/real-cluster.js';
import { type DogResult, dog } from '../helpers/run-dog.js';
import { QemuImage } from '../helpers/sheepdog-qemu.js';

const DEADLINE_MS = 60_000;
const HEADING = '  Name         Id  VDI id  Tag            Owner node(s)\n';

function run(cluster: RealCluster, line: string, index = 0): Promise<DogResult> {
  return dog([...line.split(' '), '-p', String(cluster.sheep[index]!.port)], { deadlineMs: DEADLINE_MS });
}

test('every sheep lists who has a volume open, and its lock can be taken away', () =>
  withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    assert.is((await run(cluster, 'vdi create lk 16M')).exit, 0);
    assert.is((await run(cluster, 'vdi lock list')).stdout, HEADING);
    const free = await run(cluster, 'vdi lock unlock lk');
    assert.match(free.stderr, /^VDI lk \(vid=[0-9a-f]+\) is not locked\n/);
    assert.is(free.exit, 1);
    const { port } = cluster.sheep[1]!;
    const image = await QemuImage.open({ host: '127.0.0.1', port }, 'lk');
    const vid = image.header.vid.toString(16);
    const row = `  lk            0 ${vid.padStart(7)}                 IPv4 ip:127.0.0.1 port:${port}\n`;
    for (const index of [0, 1, 2]) {
      await within(5000, `sheep ${index} lists it`, async () => {
        return (await run(cluster, 'vdi lock list', index)).stdout === HEADING + row;
      });
    }
    assert.is((await run(cluster, 'vdi lock unlock lk', 2)).exit, 0);
    await within(5000, 'nobody has it', async () => (await run(cluster, 'vdi lock list')).stdout === HEADING);
    await image.close();
  }));

test.run();
