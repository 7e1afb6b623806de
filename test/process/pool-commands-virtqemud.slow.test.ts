// deadline: 240 s
/** Every command of virsh at the hypervisor's URI, where modular daemons are the rule: virtqemud asks our daemon. */
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import { requiresModularLibvirt } from '../helpers/built-libvirt.js';
import { requiresLibvirtd, withLibvirtds } from '../helpers/libvirtd.js';
import { PoolDaemon, virshAt } from '../helpers/pool-daemon.js';
import { withCluster } from '../helpers/real-cluster.js';
import { runColumn } from './pool-column.js';
import { ourPools } from './pool-steps.js';

const DEADLINE_MS = 220_000;

const withModules = requiresModularLibvirt(requiresLibvirtd(test));

withModules('every command of virsh does what it should behind virtqemud', ({ virtqemud: program }) =>
  withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    const folder = mkdtempSync(join(tmpdir(), 'sheepfold-pools-'));
    try {
      await PoolDaemon.with(folder, [], (daemon) =>
        withLibvirtds([{ name: 'modular', program }], async (virtqemud) => {
          symlinkSync(daemon.socket, join(virtqemud.folder, 'run/libvirt/virtstoraged-sock'));
          await runColumn({
            name: 'virtqemud',
            virsh: (words, env) => virshAt(virtqemud.uri, words, { ...(env && { env }) }),
            kind: ourPools(cluster.sheep[0]!.port),
            folder,
            daemon: await virtqemud.version(),
          });
        }),
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }),
);

test.run();
