// run: all
// deadline: 300 s
/** A real guest under libvirt on a volume: it starts from it, and so do clones of its snapshot. */
import { test } from 'uvu';
import { requiresGuest } from '../helpers/guest-files.js';
import { requiresLibvirtd, withLibvirtds } from '../helpers/libvirtd.js';
import { withCluster } from '../helpers/real-cluster.js';
import { checkClone, cloneGolden, hostOf, makeGolden, markClone, withDoors } from './guest-setup.js';

const CLONES = 20;

requiresGuest(requiresLibvirtd(test, 'qemu-img'))(
  'a guest starts from a volume, and from clones of its snapshot, which differ by their own changes alone',
  (files) =>
    withCluster({ ...withDoors, deadlineMs: 280_000 }, (cluster) =>
      withLibvirtds([hostOf(cluster, 0, 'alpha')], async (host) => {
        await makeGolden(cluster, host!, files);
        const names = Array.from({ length: CLONES }, (_, index) => `clone${index}`);
        const tookMs = await cloneGolden(cluster, names);
        process.stdout.write(`${CLONES} clones in ${tookMs.toFixed(0)} ms\n`);
        const [first, last] = [names[0]!, names.at(-1)!];
        await Promise.all([markClone(host!, files, first), markClone(host!, files, last)]);
        await checkClone(host!, files, first);
      }),
    ),
);

test.run();
