// run: all
// deadline: 900 s
/**
 * The mirror-file run of cluster-mirror.test.ts through the sheepdog driver of the old QEMU: its kills, its snapshots
 * by another door, its object size of 1 MiB. That driver cannot stand the loss of its connection under load
 * (src/relay/README.md), so where its own sheep is killed as well, a relay stands between.
 */
import { test } from 'uvu';
import { type OldQemu, requiresOldQemu } from '../helpers/old-qemu.js';
import { QemuClient } from '../helpers/qemu-client.js';
import { type RealCluster, withCluster } from '../helpers/real-cluster.js';
import { startRelay } from '../helpers/relay-process.js';
import { mirrorRun } from './cluster-mirror-run.js';

const KILLS = Number(process.env.KILLS ?? 20);
const KILLS_DIRECT = 6;
const common = {
  sizeBytes: 64 * 1024 * 1024,
  seed: Number(process.env.SEED ?? Date.now() % 1_000_000),
  snapshotEvery: 4,
  thinkMs: 3,
  blockSizeShift: 20,
};

/** QEMU behind a relay to these sheep; all of them are killed, one after the other. */
function throughRelay(old: OldQemu, sheepOfRelay: readonly number[], kills: number): Promise<void> {
  return withCluster({ deadlineMs: 550_000 }, async (cluster) => {
    const relay = await startRelay(
      cluster.folder,
      sheepOfRelay.map((index) => cluster.sheep[index]!),
    );
    try {
      const open = ({ folder }: RealCluster) => QemuClient.startOld(old.storageDaemon, folder, relay, 'disk');
      await mirrorRun(cluster, { ...common, kills, open });
      const again = relay.log().match(/connected again/g)?.length ?? 0;
      process.stdout.write(`the relay has connected again ${again} times\n`);
    } catch (error) {
      process.stderr.write(`--- relay\n${relay.log()}`);
      throw error;
    } finally {
      await relay.stop();
    }
  });
}

requiresOldQemu(test)(
  'a volume equals its mirror after kills of all sheep, through a relay to one of them',
  (old) => throughRelay(old, [0], KILLS),
);

requiresOldQemu(test)(
  'a volume equals its mirror after kills of all sheep, through a relay to all of them',
  (old) => throughRelay(old, [0, 1, 2], Math.ceil(KILLS / 2)),
);

requiresOldQemu(test)(
  "a volume equals its mirror after kills of other sheep than that of QEMU's own driver",
  (old) =>
    withCluster({ deadlineMs: 300_000 }, (cluster) =>
      mirrorRun(cluster, {
        ...common,
        kills: KILLS_DIRECT,
        spareGateway: true,
        open: ({ folder }, { port }) =>
          QemuClient.startOld(old.storageDaemon, folder, { host: '127.0.0.1', port }, 'disk'),
      }),
    ),
);

test.run();
