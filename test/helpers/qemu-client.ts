/**
 * QEMU's NBD client, kept alive in a qemu-storage-daemon: it reconnects, as a guest's disk would, and is driven over
 * NBD.
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
    const path = join(folder, `qsd-${gateway.port}-${exportName}.sock`);
    const up = ['driver=nbd', 'node-name=up', 'server.type=inet', `server.host=${gateway.host}`];
    up.push(`server.port=${gateway.port}`, `export=${exportName}`, 'discard=unmap');
    up.push(`reconnect-delay=${reconnectDelayS}`, 'open-timeout=30');
    const child = spawn('qemu-storage-daemon', [
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

  connect(): Promise<NbdClient> {
    return NbdClient.open({ path: this.socketPath }, 'disk');
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await new Promise((resolve) => this.child.once('exit', resolve));
  }
}
