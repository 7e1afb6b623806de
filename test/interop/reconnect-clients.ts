/** The clients that must ride out whatever happens to their gateway, as columns of the reconnect tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Launcher } from '../helpers/launcher.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { oldQemu } from '../helpers/old-qemu.js';
import { QemuClient } from '../helpers/qemu-client.js';
import { ownedProcess, within } from '../helpers/real-cluster.js';
import { hasTool } from '../helpers/requires.js';

const START_DEADLINE_MS = 30_000;

/** A volume behind one of QEMU's drivers, driven over NBD. */
export interface GuestDisk {
  connect(): Promise<NbdClient>;
  stop(): Promise<void>;
}

export interface ReconnectClient {
  readonly name: string;
  /** What is missing on this machine, if anything. */
  readonly lacks: string | undefined;
  /** Only what keeps its connections: it cannot stand a lost one, whoever serves it. */
  readonly keptConnectionsOnly: boolean;
  /** Opens a volume through sheep 0 of the cluster. */
  start(launcher: Launcher, volume: string): Promise<GuestDisk>;
}

const byNbd: ReconnectClient = {
  name: 'QEMU by NBD',
  lacks: hasTool('qemu-storage-daemon') ? undefined : 'qemu-storage-daemon',
  keptConnectionsOnly: false,
  start: (launcher, volume) =>
    QemuClient.start(launcher.directory, { host: '127.0.0.1', port: launcher.nbdPortOf(0) }, volume),
};

/**
 * Its own driver: it connects again once a second for as long as it takes, and sends again what is not answered. But
 * as released (2.9 to 6.0) it then goes on with a coroutine that has ended: `aio_read_response` sets `s->co_recv` to
 * NULL before it returns, except where it reconnects. Under load the emulator dies of that within seconds, with any
 * server. `s->co_recv = NULL` after `reconnect_to_sdog` repairs it.
 */
function bySheepdog(
  name: string,
  storageDaemon: string | undefined,
  lacks: string,
  keptConnectionsOnly: boolean,
): ReconnectClient {
  return {
    name,
    lacks: storageDaemon === undefined ? lacks : undefined,
    keptConnectionsOnly,
    async start(launcher, volume) {
      const path = join(launcher.directory, `old-${volume}.sock`);
      const server = `server.type=inet,server.host=127.0.0.1,server.port=${launcher.portOf(0)}`;
      const child = spawn(storageDaemon!, [
        ...['--blockdev', `driver=sheepdog,node-name=up,vdi=${volume},${server}`],
        ...['--nbd-server', `addr.type=unix,addr.path=${path}`],
        ...['--export', 'type=nbd,id=e,node-name=up,name=disk,writable=on'],
      ]);
      return startDaemon(child, path);
    },
  };
}

const asReleased = bySheepdog(
  'QEMU 5.2 by sheepdog',
  oldQemu()?.storageDaemon,
  'the old QEMU: scripts/old-qemu.sh',
  true,
);
const repaired = bySheepdog(
  'QEMU 5.2 by sheepdog, its reconnect repaired',
  process.env.SHEEPFOLD_REPAIRED_QSD,
  'SHEEPFOLD_REPAIRED_QSD: a qemu-storage-daemon with the line that its driver lacks',
  false,
);

export const reconnectClients: readonly ReconnectClient[] = [byNbd, asReleased, repaired];

async function startDaemon(child: ChildProcess, path: string): Promise<GuestDisk> {
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      output = (output + chunk).slice(-10_000);
    });
  }
  ownedProcess(child);
  await within(START_DEADLINE_MS, 'the storage daemon is up', () => {
    if (child.exitCode !== null) throw new Error(`it ended: ${output}`);
    return existsSync(path);
  });
  return {
    connect: () => NbdClient.open({ path }, 'disk'),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await new Promise((resolve) => child.once('exit', resolve));
    },
  };
}
