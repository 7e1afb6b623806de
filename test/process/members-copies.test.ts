// deadline: 240 s
/** Copies of a volume are changed while it is in use; sheep are killed to see that the copies are real. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { FamilyInfo } from '../../src/control/member-api.js';
import { dogDone, dogJson, dogOf } from '../helpers/dog-of.js';
import { objectDiskBytes, type RealSheep, withCluster } from '../helpers/real-cluster.js';
import { checkEqual, Load, pause, waitSettled, waitTakenIn } from './members-run.js';

const header = (copies: number, name: string) => new RegExp(`^. ${name} .* ${copies} \\S* ?22$`, 'm');

test('two copies become three and two again, with a snapshot and a clone, under load', () =>
  withCluster({ sheep: 4, copies: 2, deadlineMs: 150_000 }, async (cluster) => {
    const [first, second, third, fourth] = cluster.sheep as [RealSheep, RealSheep, RealSheep, RealSheep];
    const load = await Load.start(cluster, first, { sizeBytes: 32 * 2 ** 20 });
    const diskBytes = () => cluster.sheep.reduce((sum, sheep) => sum + objectDiskBytes(sheep.dir), 0);
    try {
      await pause(1000);
      await dogDone(second, 'vdi snapshot disk -s one');
      await dogDone(second, 'vdi clone disk -s one other');
      const done = await dogDone(second, 'vdi alter-copy disk -c 3 -f');
      assert.is(done.stderr, "disk's redundancy level is set to 3, the old one was 2.\n");
      for (const name of ['disk', 'other']) {
        const family = await third.call('vdi.family', { name });
        assert.equal(
          [family.copies, family.next, family.recorded, family.versions.length],
          [3, undefined, true, 3],
        );
      }
      const list = (await dogDone(third, 'vdi list -r')).stdout;
      for (const name of ['disk', 'other']) assert.match(list, header(3, name));
      const again = await dogOf(first, 'vdi alter-copy other -c 3 -f');
      assert.equal(
        [again.exit, again.stderr],
        [1, "other's redundancy level is already set to 3, nothing changed.\n"],
      );
      // One copy of each object may be lost for good, and another one be away.
      await fourth.kill();
      await pause(1500);
      await third.kill();
      await pause(1500);
      const reader = await second.call('vdi.read', { name: 'other', offset: 0, length: 4096 });
      assert.is(reader.length, 4096);
      await Promise.all([third.start(), fourth.start()]);
      await waitTakenIn(first, third);
      await waitTakenIn(first, fourth);
      const threeBytes = diskBytes();
      await dogDone(second, 'vdi alter-copy other -c 2 -f');
      await waitSettled(first);
      const family = await dogJson<FamilyInfo[] | { copies: number }[]>(first, 'vdi list disk');
      assert.ok(family.every(({ copies }) => copies === 2));
      await load.finish([first]);
      await checkEqual(first);
      const twoBytes = diskBytes();
      assert.ok(twoBytes < threeBytes * 0.85, `${threeBytes} bytes, then ${twoBytes}`);
      await fourth.kill();
      await load.finish([first, second, third]);
    } finally {
      load.close();
    }
  }));

test('a volume that is made under the name of one whose copies were altered has its own number', () =>
  withCluster({ sheep: 3, copies: 3, deadlineMs: 60_000 }, async (cluster) => {
    const first = cluster.sheep[0]!;
    await dogDone(first, 'vdi create disk 16M');
    await first.call('vdi.write', { name: 'disk', offset: 0 }, Buffer.alloc(4096, 1));
    await dogDone(first, 'vdi alter-copy disk -c 2 -f');
    await dogDone(first, 'vdi delete disk');
    await dogDone(first, 'vdi create disk 16M -c 3');
    await first.call('vdi.write', { name: 'disk', offset: 0 }, Buffer.alloc(4096, 2));
    assert.equal((await first.call('vdi.object', { name: 'disk', index: 0 })).holders.length, 3);
    assert.is((await first.call('vdi.family', { name: 'disk' })).copies, 3);
    await checkEqual(first);
  }));

test('more copies than zones are asked about', () =>
  withCluster({ sheep: 2, copies: 2, deadlineMs: 60_000 }, async (cluster) => {
    const first = cluster.sheep[0]!;
    await dogDone(first, 'vdi create disk 16M');
    const declined = await dogOf(first, 'vdi alter-copy disk -c 3');
    assert.is(declined.exit, 1);
    assert.match(declined.stdout, /^Number of copies \(3\) is larger than number of zones \(2\)\.\n/);
    assert.is((await first.call('vdi.family', { name: 'disk' })).copies, 2);
    await dogDone(first, 'vdi alter-copy disk -c 3 -f');
    assert.is((await first.call('vdi.family', { name: 'disk' })).copies, 3);
  }));

test.run();
