/** The clients that must ride out whatever happens to their gateway, as columns of the reconnect tests. */
import type { Launcher } from '../helpers/launcher.js';
import type { NbdClient } from '../helpers/nbd-client.js';
import { oldQemu } from '../helpers/old-qemu.js';
import { QemuClient } from '../helpers/qemu-client.js';
import { startRelay } from '../helpers/relay-process.js';
import { hasTool } from '../helpers/requires.js';

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
 * server.
 */
const asReleased: ReconnectClient = {
  name: 'QEMU 5.2 by sheepdog',
  lacks: oldQemu() === undefined ? 'the old QEMU: scripts/old-qemu.sh' : undefined,
  keptConnectionsOnly: true,
  start: (launcher, volume) => startOld(launcher, { host: '127.0.0.1', port: launcher.portOf(0) }, volume),
};

/** A relay keeps its connections (src/relay/README.md). */
const relayed: ReconnectClient = {
  ...asReleased,
  name: 'QEMU 5.2 by sheepdog, through a relay',
  keptConnectionsOnly: false,
  async start(launcher, volume) {
    const relay = await startRelay(launcher.directory, [{ port: launcher.portOf(0) }]);
    const disk = await startOld(launcher, relay, volume);
    return {
      connect: () => disk.connect(),
      async stop() {
        await disk.stop();
        await relay.stop();
      },
    };
  },
};

export const reconnectClients: readonly ReconnectClient[] = [byNbd, asReleased, relayed];

function startOld(
  launcher: Launcher,
  gateway: { host: string; port: number },
  volume: string,
): Promise<QemuClient> {
  return QemuClient.startOld(oldQemu()!.storageDaemon, launcher.directory, gateway, volume);
}
