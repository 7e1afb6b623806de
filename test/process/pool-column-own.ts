/** A column of our daemon itself, asked by some virsh. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ColumnName } from '../helpers/command-table.js';
import { PoolDaemon, virshAt } from '../helpers/pool-daemon.js';
import { withCluster } from '../helpers/real-cluster.js';
import type { VirshPlace } from '../helpers/virsh-place.js';
import { runColumn } from './pool-column.js';
import { ourPools } from './pool-steps.js';

const DEADLINE_MS = 110_000;

/** `placeOf` is of a virsh that sees the folder and reaches the socket. */
export function runOwnColumn(
  name: ColumnName,
  placeOf: (folder: string, socket: string) => VirshPlace,
): Promise<void> {
  return withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    const folder = mkdtempSync(join(tmpdir(), 'sheepfold-pools-'));
    try {
      await PoolDaemon.with(folder, [], (daemon) => {
        const { uri, program } = placeOf(folder, daemon.socket);
        return runColumn({
          name,
          virsh: (words, env) => virshAt(uri, words, { ...(program && { program }), ...(env && { env }) }),
          kind: ourPools(cluster.sheep[0]!.port),
          folder,
          daemon: 'ours',
        });
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
