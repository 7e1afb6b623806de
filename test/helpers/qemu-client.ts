/**
 * QEMU's block layer, kept alive in a qemu-storage-daemon and driven over NBD: it reconnects to the cluster as a
 * guest's disk would, by NBD, or by the old QEMU's own sheepdog driver.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { NbdClient } from './nbd-client.js';
import { ownedProcess, within } from './real-cluster.js';

const START_DEADLINE_MS = 30_000;

export class QemuClient {
  private output = '';

  private constructor(
    private readonly child: ChildProcess,
    readonly socketPath: string,
  ) {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output = (this.output + chunk).slice(-10_000);
      });
    }
  }

  /** Opens an export of a sheep; requests wait up to `reconnectDelayS` for a gateway that is gone. */
  static async start(
    folder: string,
    gateway: { host: string; port: number },
    exportName: string,
    reconnectDelayS = 60,
  ): Promise<QemuClient> {
    const up = ['driver=nbd', 'node-name=up', 'server.type=inet', `server.host=${gateway.host}`];
    up.push(`server.port=${gateway.port}`, `export=${exportName}`, 'discard=unmap');
    up.push(`reconnect-delay=${reconnectDelayS}`, 'open-timeout=30');
    return QemuClient.run('qemu-storage-daemon', folder, `${gateway.port}-${exportName}`, up);
  }

  /** Opens a volume with the sheepdog driver of the old QEMU. */
  static async startOld(
    program: string,
    folder: string,
    gateway: { host: string; port: number },
    volume: string,
  ): Promise<QemuClient> {
    const up = ['driver=sheepdog', 'node-name=up', 'server.type=inet', `server.host=${gateway.host}`];
    up.push(`server.port=${gateway.port}`, `vdi=${volume}`, 'discard=unmap');
    return QemuClient.run(program, folder, `old-${gateway.port}-${volume}`, up);
  }

  private static async run(
    program: string,
    folder: string,
    name: string,
    up: readonly string[],
  ): Promise<QemuClient> {
    const path = join(folder, `qsd-${name}.sock`);
    const child = spawn(program, [
      ...['--blockdev', up.join(',')],
      ...['--nbd-server', `addr.type=unix,addr.path=${path}`],
      ...['--export', 'type=nbd,id=e,node-name=up,name=disk,writable=on'],
    ]);
    const client = new QemuClient(ownedProcess(child), path);
    await within(START_DEADLINE_MS, 'qemu-storage-daemon is up', () => {
      if (child.exitCode !== null) throw new Error(`qemu-storage-daemon ended: ${client.output}`);
      return existsSync(path);
    });
    return client;
  }

  /** The socket is there a moment before anybody listens on it. */
  async connect(): Promise<NbdClient> {
    let client: NbdClient | undefined;
    await within(START_DEADLINE_MS, 'the export can be opened', async () => {
      if (this.ended !== undefined) throw new Error(this.ended);
      client = await NbdClient.open({ path: this.socketPath }, 'disk').catch((error) => {
        if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') return undefined;
        throw error;
      });
      return client !== undefined;
    });
    return client!;
  }

  /** Why it ended by itself, with its last words; undefined while it runs. */
  get ended(): string | undefined {
    const { exitCode, signalCode } = this.child;
    if (exitCode === null && signalCode === null) return undefined;
    return `qemu-storage-daemon ended with ${signalCode ?? exitCode}: ${this.output}`;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await new Promise((resolve) => this.child.once('exit', resolve));
  }
}
