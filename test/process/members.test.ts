// deadline: 240 s
/** Members come, go and change their weight while a volume is in use; nothing is lost, and all copies are real. */
import { rmSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { MovePlan } from '../../src/control/member-api.js';
import { dogDone, dogJson, dogOf } from '../helpers/dog-of.js';
import { objectDiskBytes, withCluster } from '../helpers/real-cluster.js';
import { checkEqual, Load, nodesOf, pause, rowOf, waitSettled, waitTakenIn } from './members-run.js';

test('a sheep that is started joins, is drained under load, removed, and its directory deleted', () =>
  withCluster({ sheep: 3, copies: 2, deadlineMs: 110_000 }, async (cluster) => {
    const [first, second] = cluster.sheep as [(typeof cluster.sheep)[0], (typeof cluster.sheep)[0]];
    const load = await Load.start(cluster, first);
    await pause(1500);
    const spare = await cluster.spare('spare');
    try {
      await spare.start();
      await waitTakenIn(first, spare);
      assert.match(
        (await dogDone(first, 'node list -r')).stdout,
        new RegExp(`127.0.0.1:${spare.port} 128 90\n`),
      );
      assert.ok(objectDiskBytes(spare.dir) > 2 ** 20, 'objects lie on the sheep that joined');
      const plan = await dogJson<MovePlan>(second, `node drain 127.0.0.1:${spare.port} --dry-run`);
      const gives = plan.nodes.find((node) => node.port === spare.port)!;
      assert.ok(gives.lossObjects > 0 && gives.gainObjects === 0);
      assert.is(plan.movedObjects, gives.lossObjects);
      assert.equal(plan.refusals, []);
      assert.is((await rowOf(first, spare))?.in, true, 'a dry run changes nothing');
      await dogDone(second, `node drain 127.0.0.1:${spare.port}`);
      assert.equal([(await rowOf(second, spare))?.in, (await rowOf(second, spare))?.empty], [false, true]);
      const refused = await dogOf(first, `node remove 127.0.0.1:${spare.port}`);
      assert.is(refused.exit, 1);
      assert.match(refused.stderr, /is up/);
      await spare.kill('SIGTERM');
      await dogDone(first, `node remove 127.0.0.1:${spare.port}`);
      rmSync(spare.dir, { recursive: true });
      assert.is((await nodesOf(first)).length, 3);
      await pause(500);
      await load.finish(cluster.sheep);
      await checkEqual(first);
    } finally {
      load.close();
      await spare.kill();
    }
  }));

test('a weight of nothing empties a sheep, and its old weight fills it again', () =>
  withCluster({ sheep: 4, copies: 2, deadlineMs: 110_000 }, async (cluster) => {
    const first = cluster.sheep[0]!;
    const last = cluster.sheep[3]!;
    const load = await Load.start(cluster, first);
    try {
      await pause(1000);
      await dogDone(first, `node weight 127.0.0.1:${last.port} 0 --wait`);
      assert.is((await rowOf(first, last))?.empty, true);
      await dogDone(first, `node weight 127.0.0.1:${last.port} 64 --wait`);
      assert.equal([(await rowOf(first, last))?.empty, (await rowOf(first, last))?.vnodes], [undefined, 64]);
      await last.kill();
      await last.start();
      assert.is((await rowOf(first, last))?.vnodes, 64, 'a weight outlives a restart');
      await waitSettled(first);
      await load.finish(cluster.sheep);
      await checkEqual(first);
    } finally {
      load.close();
    }
  }));

test('what would leave fewer sheep than copies is refused, and forced', () =>
  withCluster({ sheep: 3, copies: 3, deadlineMs: 60_000 }, async (cluster) => {
    const first = cluster.sheep[0]!;
    const last = `127.0.0.1:${cluster.sheep[2]!.port}`;
    await dogDone(first, 'vdi create disk 16M');
    await first.call('vdi.write', { name: 'disk', offset: 0 }, Buffer.alloc(4096, 1));
    const refused = await dogOf(first, `node drain ${last}`);
    assert.is(refused.exit, 1);
    assert.match(refused.stderr, /only 2 sheep would hold objects, and there are volumes with 3 copies/);
    assert.is((await rowOf(first, cluster.sheep[2]!))?.in, true);
    await dogDone(first, `node drain ${last} --force`);
    assert.is((await rowOf(first, cluster.sheep[2]!))?.empty, true);
    await dogDone(first, `node in ${last} --wait`);
    await checkEqual(first);
    for (const line of ['node drain 9', 'node in nosuch', 'node weight 0 x', 'node drain 127.0.0.1:1']) {
      assert.is((await dogOf(first, line)).exit, 64, line);
    }
  }));

test.run();
