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
  /** Opens a volume through sheep 0 of the cluster. */
  start(launcher: Launcher, volume: string): Promise<GuestDisk>;
}

const byNbd: ReconnectClient = {
  name: 'QEMU by NBD',
  lacks: hasTool('qemu-storage-daemon') ? undefined : 'qemu-storage-daemon',
  start: (launcher, volume) =>
    QemuClient.start(launcher.directory, { host: '127.0.0.1', port: launcher.nbdPortOf(0) }, volume),
};

/** Its own driver: it connects again once a second for as long as it takes, and sends again what is not answered. */
const bySheepdog: ReconnectClient = {
  name: 'QEMU 5.2 by sheepdog',
  lacks: oldQemu() === undefined ? 'the old QEMU: scripts/old-qemu.sh' : undefined,
  async start(launcher, volume) {
    const path = join(launcher.directory, `old-${volume}.sock`);
    const server = `server.type=inet,server.host=127.0.0.1,server.port=${launcher.portOf(0)}`;
    const child = spawn(oldQemu()!.storageDaemon, [
      ...['--blockdev', `driver=sheepdog,node-name=up,vdi=${volume},${server}`],
      ...['--nbd-server', `addr.type=unix,addr.path=${path}`],
      ...['--export', 'type=nbd,id=e,node-name=up,name=disk,writable=on'],
    ]);
    return startDaemon(child, path);
  },
};

export const reconnectClients: readonly ReconnectClient[] = [byNbd, bySheepdog];

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
