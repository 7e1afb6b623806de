// deadline: 900 s
/** Twenty clones of an installed volume, all of which start, a few at a time, before any is started again. */
import { test } from 'uvu';
import { requiresGuest } from '../helpers/guest-files.js';
import { requiresLibvirtd, withLibvirtds } from '../helpers/libvirtd.js';
import { withCluster } from '../helpers/real-cluster.js';
import { checkClone, cloneGolden, hostOf, makeGolden, markClone, withDoors } from './guest-setup.js';

const CLONES = 20;
/** Two emulated guests starting are all that a small machine does at a time without being late. */
const AT_ONCE = 2;

requiresGuest(requiresLibvirtd(test, 'qemu-img'))(
  'twenty clones of a snapshot start as guests, and each keeps its own changes and nobody else’s',
  (files) =>
    withCluster({ ...withDoors, deadlineMs: 880_000 }, (cluster) =>
      withLibvirtds([hostOf(cluster, 1, 'alpha')], async (host) => {
        await makeGolden(cluster, host!, files);
        const names = Array.from({ length: CLONES }, (_, index) => `clone${index}`);
        const tookMs = await cloneGolden(cluster, names);
        process.stdout.write(`${CLONES} clones in ${tookMs.toFixed(0)} ms\n`);
        await inBatches(names, (name) => markClone(host!, files, name));
        await inBatches(names, (name) => checkClone(host!, files, name));
      }),
    ),
);

async function inBatches(names: readonly string[], work: (name: string) => Promise<void>): Promise<void> {
  for (let first = 0; first < names.length; first += AT_ONCE) {
    await Promise.all(names.slice(first, first + AT_ONCE).map(work));
  }
}

test.run();
