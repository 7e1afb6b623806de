/**
 * A private iSCSI target daemon (Debian's tgt) with its own control socket, its portal on a loopback port. Its sheepdog
 * backing store is the third client that the old protocol has, beside QEMU and dog.
 */
import assert from 'node:assert';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { freePorts, ownedProcess, within } from './real-cluster.js';

const COMMAND_DEADLINE_MS = 30_000;
const OUTPUT_CHARACTERS_MAX = 20_000;
/** Threads, and connections to the gateway, of each unit. */
const THREADS_PER_UNIT = 2;
/** Only tells sockets of one IPC path apart, and the path is our own. */
const CONTROL_PORT = '1';
/** It cuts a gateway's port off after four digits. */
const STORE_PORT_MAX = 9999;
const EXECUTABLE_PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;

/** Where a backing store's gateway listens, and the volume: a tag cannot be said. */
export type TgtStore =
  | { readonly host: string; readonly port: number; readonly vdi: string }
  | { readonly socket: string; readonly vdi: string };

export class Tgt {
  private output = '';
  private targets = 0;
  private readonly ids = new Map<string, number>();

  private constructor(
    private readonly child: ChildProcess,
    private readonly folder: string,
    readonly port: number,
  ) {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output = (this.output + chunk).slice(-OUTPUT_CHARACTERS_MAX);
      });
    }
  }

  /** Debian keeps it where only root looks for programs. */
  static installed(): boolean {
    return EXECUTABLE_PATH.split(delimiter).some((folder) => existsSync(join(folder, 'tgtd')));
  }

  static async start(): Promise<Tgt> {
    const folder = mkdtempSync(join(tmpdir(), 'tgt-'));
    const [port] = (await freePorts(1)) as [number];
    const words = ['-f', '-C', CONTROL_PORT, '-t', `${THREADS_PER_UNIT}`];
    const child = spawn('tgtd', [...words, '--iscsi', `portal=127.0.0.1:${port}`], {
      env: environment(folder),
    });
    const tgt = new Tgt(ownedProcess(child), folder, port);
    try {
      await within(COMMAND_DEADLINE_MS, 'tgtd listens', () => {
        if (child.exitCode !== null) throw new Error(`tgtd ended: ${tgt.output}`);
        return canConnect(port);
      });
    } catch (error) {
      await tgt.stop();
      throw error;
    }
    return tgt;
  }

  /** What it says on standard output and error. */
  get log(): string {
    return this.output;
  }

  /** Exports a volume as unit 1 of a target of its own; the answer is the URL for libiscsi. */
  async export(store: TgtStore): Promise<string> {
    const id = ++this.targets;
    assert.ok('socket' in store || store.port <= STORE_PORT_MAX, 'a port of four digits');
    const path = 'socket' in store ? `unix:${store.socket}` : `tcp:${store.host}:${store.port}`;
    const name = targetName(store.vdi, id);
    const url = `iscsi://127.0.0.1:${this.port}/${name}/1`;
    const target = ['--tid', `${id}`];
    await this.admin('target', 'new', ...target, '--targetname', name);
    this.ids.set(url, id);
    const backing = ['--bstype', 'sheepdog', '--backing-store', `${path}:${store.vdi}`];
    await this.admin('logicalunit', 'new', ...target, '--lun', '1', ...backing);
    await this.admin('target', 'bind', ...target, '--initiator-address', 'ALL');
    return url;
  }

  /** Takes a target away: the volume is closed and its lock given back. */
  async remove(url: string): Promise<void> {
    const id = this.ids.get(url);
    if (id === undefined) return;
    this.ids.delete(url);
    const target = ['--tid', `${id}`];
    await this.admin('target', 'unbind', ...target, '--initiator-address', 'ALL');
    // An initiator that left a moment ago may still count.
    await within(COMMAND_DEADLINE_MS, `target ${id} is free`, async () => {
      await this.admin('logicalunit', 'delete', ...target, '--lun', '1').catch(notThere);
      await this.admin('target', 'delete', ...target);
      return true;
    });
  }

  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null && this.child.pid !== undefined) {
      const exited = new Promise((resolve) => this.child.once('exit', resolve));
      this.child.kill('SIGKILL');
      await exited;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  private admin(mode: string, operation: string, ...words: string[]): Promise<string> {
    const all = ['-C', CONTROL_PORT, '--lld', 'iscsi', '--mode', mode, '--op', operation, ...words];
    return new Promise((resolve, reject) => {
      const options = { timeout: COMMAND_DEADLINE_MS, env: environment(this.folder) };
      execFile('tgtadm', all, options, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`tgtadm ${all.join(' ')}: ${stdout}${stderr}\n${this.log}`));
      });
    });
  }
}

/** Free ports that its backing store can reach a gateway on. */
export async function portsForTgt(count: number): Promise<number[]> {
  const found = new Set<number>();
  while (found.size < count) {
    const port = 2000 + Math.floor(Math.random() * (STORE_PORT_MAX - 2000));
    if (!(await canConnect(port))) found.add(port);
  }
  return [...found];
}

/** Names of targets allow fewer characters than names of volumes. */
function targetName(vdi: string, id: number): string {
  return `iqn.2011-01.test:${vdi.replace(/[^a-z0-9.-]/g, '-')}.${id}`;
}

function environment(folder: string): NodeJS.ProcessEnv {
  return { ...process.env, PATH: EXECUTABLE_PATH, TGT_IPC_SOCKET: join(folder, 'ipc') };
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Deleted by the try before. */
function notThere(error: Error): void {
  if (!/can't find|not found|doesn't exist/i.test(error.message)) throw error;
}
