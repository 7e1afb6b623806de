// deadline: 900 s
/** `dog vm migrate` there and back, with a real guest that verifies its disk all the time. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { requiresGuest } from '../helpers/guest-files.js';
import { requiresLibvirtd, withLibvirtds } from '../helpers/libvirtd.js';
import { type RealCluster, withCluster, within } from '../helpers/real-cluster.js';
import { hostOf, withDoors } from './guest-setup.js';
import { check, migrate, type Place, rulesOf, stateOn, WorkingGuest } from './vm-migrate-setup.js';
import { doorSocket, hooksFolder, mustVm, plainDomain } from './vm-setup.js';

const MIB = 1024 * 1024;
const OWNED_DEADLINE_MS = 20_000;

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

requiresLibvirtd(test)(
  "with libvirt's hook on both hosts it comes to the same, and the volume is owned there",
  () =>
    withCluster({ ...withDoors, deadlineMs: 200_000 }, (cluster) =>
      withLibvirtds([hostOf(cluster, 0, 'alpha'), hostOf(cluster, 1, 'beta')], async (alpha, beta) => {
        const [here, there] = [
          { host: alpha!, sheep: 0 },
          { host: beta!, sheep: 1 },
        ];
        for (const place of [here, there]) await installHook(cluster, place);
        await cluster.call('vdi.create', { name: 'data', sizeBytes: 16 * MIB });
        await alpha!.mustVirsh('define', alpha!.file('web.xml', plainDomain('web')));
        await mustVm(cluster, 0, alpha!, 'attach', 'web', 'data', '--target', 'sda');
        await alpha!.mustVirsh('start', 'web');
        for (const [from, to] of [
          [here, there],
          [there, here],
        ] as const) {
          const { exit, stderr } = await migrate(cluster, 'web', from, to);
          assert.is(exit, 0, stderr);
          for (const scope of [[], ['--inactive']]) {
            const xml = await to.host.mustVirsh('dumpxml', ...scope, 'web');
            assert.ok(xml.includes(`'${doorSocket(cluster, to.sheep)}'`), xml);
          }
          // Its firmware reads nothing any more, so that the sheep takes the volume when it is asked to.
          await within(OWNED_DEADLINE_MS, 'the sheep of its host owns the volume', async () => {
            return (await cluster.sheep[to.sheep]!.call('vdi.claim', { name: 'data' })).here;
          });
        }
      }),
    ),
);

/** libvirt looks for hooks when its daemon starts. */
async function installHook(cluster: RealCluster, { host, sheep }: Place): Promise<void> {
  await mustVm(cluster, sheep, host, 'hooks', 'install', '--dir', hooksFolder(host));
  host.killDaemon('TERM');
  await within(OWNED_DEADLINE_MS, 'the daemon ends', async () => (await host.virsh('uri')).code !== 0);
  await host.startDaemon();
}

test.run();
