// deadline: 240 s
/**
 * Every command of virsh on a pool of libvirt's own backend for sheepdog, which runs `dog` for each and reads what it
 * prints: a libvirt of the time that had it, with our `dog` and cluster.
 */
import { test } from 'uvu';
import { requiresOldLibvirt } from '../helpers/built-libvirt.js';
import { withBackend } from '../helpers/libvirt-backend.js';
import { requiresLibvirtd } from '../helpers/libvirtd.js';
import { virshAt } from '../helpers/pool-daemon.js';
import { runColumn } from './pool-column.js';
import { backendPools } from './pool-steps.js';

const withOldLibvirt = requiresOldLibvirt(requiresLibvirtd(test));

withOldLibvirt("every command of virsh does what libvirt's own sheepdog backend can", (libvirt) =>
  withBackend(libvirt, { SHEEPFOLD_DOG_COMPAT: 'libvirt' }, async ({ cluster, libvirtd, folder }) =>
    runColumn({
      name: 'backend',
      virsh: (words, env) => virshAt(libvirtd.uri, words, { ...(env && { env }) }),
      kind: backendPools(cluster.sheep[0]!.port),
      folder,
      daemon: await libvirtd.version(),
    }),
  ),
);

test.run();
