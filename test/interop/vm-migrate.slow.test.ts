// deadline: 900 s
/** `dog vm migrate` there and back, with a real guest that verifies its disk all the time. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { requiresGuest } from '../helpers/guest-files.js';
import { requiresLibvirtd, withLibvirtds } from '../helpers/libvirtd.js';
import { withCluster } from '../helpers/real-cluster.js';
import { hostOf, withDoors } from './guest-setup.js';
import { check, migrate, type Place, rulesOf, stateOn, WorkingGuest } from './vm-migrate-setup.js';
import { doorSocket } from './vm-setup.js';

const withGuest = requiresGuest(requiresLibvirtd(test));

withGuest('a guest goes there and back, is defined where it runs and nowhere else', (files) =>
  withCluster({ ...withDoors, deadlineMs: 400_000 }, (cluster) =>
    withLibvirtds([hostOf(cluster, 0, 'alpha'), hostOf(cluster, 1, 'beta')], async (alpha, beta) => {
      const [here, there]: Place[] = [
        { host: alpha!, sheep: 0 },
        { host: beta!, sheep: 1 },
      ];
      const guest = await WorkingGuest.start(cluster, here!, files, { name: 'web' });
      const before = await check(cluster, 'web', here!, there!);
      assert.equal([before.exit, rulesOf(before.findings), rulesOf(before.findings, 'risk')], [0, [], []]);
      assert.is(await stateOn(there!, 'web'), 'absent', 'a look changes nothing');
      for (const [from, to] of [
        [here!, there!],
        [there!, here!],
      ] as const) {
        const way = from === there ? ['--p2p'] : [];
        const { exit, stdout, stderr } = await migrate(cluster, 'web', from, to, ...way);
        assert.is(exit, 0, stderr);
        assert.match(stdout, /^web runs at qemu.*, and not here any more; it stood still for \d+ ms of /);
        process.stdout.write(stdout);
        assert.equal([await stateOn(from, 'web'), await stateOn(to, 'web')], ['absent', 'running']);
        for (const scope of [[], ['--inactive']]) {
          const xml = await to.host.mustVirsh('dumpxml', ...scope, 'web');
          assert.ok(xml.includes(`'${doorSocket(cluster, to.sheep)}'`), xml);
        }
        await guest.worksAt(to);
      }
      await guest.rest(here!);
    }),
  ),
);

test.run();
