/**
 * A guest's disk: QEMU's block layer on a host of the room, connected by TCP to the sheep of that host, as on a real
 * hypervisor. The test drives it by a unix socket.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { MirrorOracle, seeded } from '../helpers/mirror-oracle.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { within } from '../helpers/real-cluster.js';
import type { HostProcess } from './host.js';
import type { Room } from './room.js';
import { NBD_PORT } from './sheep.js';

const OPEN_DEADLINE_MS = 60_000;
/** Longer than anything a run does: an error would tell of the client's patience, not of the cluster. */
const RECONNECT_DELAY_S = 900;
const WORKERS = 3;
const GO_ON_DEADLINE_MS = 120_000;

export interface GuestOptions {
  readonly volume: string;
  readonly sizeBytes: number;
  readonly seed: number;
  /** Pause of each of its workers between two requests. */
  readonly thinkMs: number;
}

export class Guest {
  private constructor(
    readonly volume: string,
    readonly gateway: number,
    readonly oracle: MirrorOracle,
    private readonly client: NbdClient,
    private readonly process: HostProcess,
  ) {}

  /** Makes a volume, and opens it through the sheep of a host. */
  static async open(room: Room, gateway: number, options: GuestOptions): Promise<Guest> {
    const { volume, sizeBytes, seed, thinkMs } = options;
    const host = room.hosts[gateway]!;
    await room.sheep[gateway]!.call('vdi.create', { name: volume, sizeBytes });
    const socket = join(host.folder, `${volume}.sock`);
    const up = ['driver=nbd', 'node-name=up', 'server.type=inet', `server.host=${host.address}`];
    up.push(`server.port=${NBD_PORT}`, `export=${volume}`, 'discard=unmap');
    up.push(`reconnect-delay=${RECONNECT_DELAY_S}`, 'open-timeout=60');
    const process = host.spawn(`guest-${volume}`, 'qemu-storage-daemon', [
      ...['--blockdev', up.join(',')],
      ...['--nbd-server', `addr.type=unix,addr.path=${socket}`],
      ...['--export', 'type=nbd,id=e,node-name=up,name=disk,writable=on'],
    ]);
    let client: NbdClient | undefined;
    await within(OPEN_DEADLINE_MS, `${volume} is open in QEMU`, async () => {
      if (!process.running) throw new Error(`${process.ending}: ${process.output}`);
      if (existsSync(socket)) client = await NbdClient.open({ path: socket }, 'disk');
      return client !== undefined;
    });
    const mirror = join(room.folder, `${volume}.mirror`);
    const oracle = new MirrorOracle(mirror, sizeBytes, client!, seeded(seed), thinkMs);
    return new Guest(volume, gateway, oracle, client!, process);
  }

  work(): void {
    this.oracle.start(WORKERS);
  }

  /** Throws what has failed so far. */
  check(): void {
    if (this.oracle.failure !== undefined) throw this.oracle.failure;
    if (!this.process.running) throw new Error(`${this.process.ending}: ${this.process.output}`);
  }

  /** Waits until everything that was under way has its answer, and the guest has gone on. */
  async goesOn(): Promise<void> {
    const { timings } = this.oracle;
    const nowMs = performance.now();
    await within(GO_ON_DEADLINE_MS, `the guest of ${this.volume} goes on`, () => {
      return timings.filter(({ startMs }) => startMs > nowMs).length > WORKERS;
    });
  }

  /** Ends all work; what is acknowledged is flushed then. */
  async rest(): Promise<void> {
    await this.oracle.stop();
    await this.oracle.quiet(async () => {});
  }

  async close(): Promise<void> {
    this.client.close();
    await this.process.end();
    await this.oracle.stop().catch(() => {});
    this.oracle.close();
  }
}
