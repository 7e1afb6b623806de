/** A column of our daemon itself, asked by some virsh. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ColumnName } from '../helpers/command-table.js';
import { PoolDaemon, type VirshOptions, virsh } from '../helpers/pool-daemon.js';
import { withCluster } from '../helpers/real-cluster.js';
import { runColumn } from './pool-column.js';
import { ourPools } from './pool-steps.js';

const DEADLINE_MS = 110_000;

/** `programIn` names the virsh for a folder that it must see, or nothing for the machine's. */
export function runOwnColumn(
  name: ColumnName,
  programIn: (folder: string) => VirshOptions['program'],
): Promise<void> {
  return withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    const folder = mkdtempSync(join(tmpdir(), 'sheepfold-pools-'));
    const program = programIn(folder);
    try {
      await PoolDaemon.with(folder, [], (daemon) =>
        runColumn({
          name,
          virsh: (words, env) =>
            virsh(daemon.socket, words, { ...(env && { env }), ...(program && { program }) }),
          kind: ourPools(cluster.sheep[0]!.port),
          folder,
          daemon: 'ours',
        }),
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
