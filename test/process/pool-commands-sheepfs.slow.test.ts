// deadline: 240 s
/** Every command of virsh on a `dir` pool of libvirt's own storage driver, whose folder is a mount of sheepfs. */
import { test } from 'uvu';
import { requiresLibvirtd, withLibvirtds } from '../helpers/libvirtd.js';
import { virshAt } from '../helpers/pool-daemon.js';
import { canMount, withMount } from '../helpers/sheepfs-mount.js';
import { runColumn } from './pool-column.js';
import { folderPools } from './pool-steps.js';

const DEADLINE_MS = 220_000;

const withLibvirt = requiresLibvirtd(test, 'qemu-img', ...(canMount ? [] : ['/dev/fuse and root']));

withLibvirt('every command of virsh does what it should on a mount of sheepfs', () =>
  withMount({ sheep: 1, copies: 1, deadlineMs: DEADLINE_MS }, (mount, cluster) =>
    withLibvirtds([{ name: 'folder' }], async (libvirtd) => {
      const folder = cluster.folderFor('files');
      await runColumn({
        name: 'sheepfs',
        virsh: (words, env) => virshAt(libvirtd.uri, words, { ...(env && { env }) }),
        kind: folderPools(mount.path),
        folder,
        daemon: await libvirtd.version(),
      });
    }),
  ),
);

test.run();
