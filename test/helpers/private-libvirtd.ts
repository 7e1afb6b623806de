/**
 * A monolithic libvirtd of a test's own: its folders are memory in a mount namespace, nothing of the host's is used.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ownedProcess, within } from './real-cluster.js';
import { run, type ToolResult } from './sheepfs-mount.js';

const START_DEADLINE_MS = 30_000;

/** What is compiled into libvirtd. */
const HIDDEN_FOLDERS = ['/run/libvirt', '/var/lib/libvirt', '/var/cache/libvirt', '/etc/libvirt'];
const QEMU_CONF = 'user = "root"\ngroup = "root"\nsecurity_driver = "none"\nstdio_handler = "file"\n';
/** libvirtd looks for these before it reads that it is to use others. */
const ACCOUNT = 'libvirt-qemu';
const ACCOUNT_ID = 64055;

export class PrivateLibvirtd {
  private constructor(
    private readonly child: ChildProcess,
    private readonly uri: string,
  ) {}

  /** `folder`: for its socket and configuration; it has to be there. */
  static async start(folder: string): Promise<PrivateLibvirtd> {
    const sockets = join(folder, 'libvirt');
    mkdirSync(sockets, { recursive: true });
    const config = join(sockets, 'libvirtd.conf');
    writeFileSync(
      config,
      [
        `unix_sock_dir = "${sockets}"`,
        'auth_unix_rw = "none"',
        'host_uuid = "5b4c1f3e-9d1a-4f7e-8c55-0f2f6a1d2c11"',
        `log_outputs = "2:file:${join(sockets, 'log')}"`,
        '',
      ].join('\n'),
    );
    const own = {
      '/etc/libvirt/qemu.conf': QEMU_CONF,
      '/etc/passwd': withLine('/etc/passwd', `${ACCOUNT}:x:${ACCOUNT_ID}:${ACCOUNT_ID}::/:/bin/false`),
      '/etc/group': withLine('/etc/group', `${ACCOUNT}:x:${ACCOUNT_ID}:`),
    };
    const hide = HIDDEN_FOLDERS.map((path) => `mkdir -p ${path}; mount -t tmpfs none ${path}`);
    for (const [path, text] of Object.entries(own)) {
      const file = join(sockets, basename(path));
      writeFileSync(file, text);
      hide.push(`[ -e ${path} ] || touch ${path}; mount --bind ${file} ${path}`);
    }
    const script = `${hide.join('; ')}; exec libvirtd -f ${config} -p ${join(sockets, 'pid')}`;
    const words = ['--mount', '--propagation', 'private', 'bash', '-c', script];
    const child = ownedProcess(spawn('unshare', words, { stdio: ['ignore', 'ignore', 'inherit'] }));
    const uri = `qemu+unix:///system?socket=${join(sockets, 'libvirt-sock')}`;
    const daemon = new PrivateLibvirtd(child, uri);
    try {
      await within(START_DEADLINE_MS, 'libvirtd answers', async () => (await daemon.virsh('uri')).code === 0);
    } catch (error) {
      await daemon.stop();
      throw error;
    }
    return daemon;
  }

  virsh(...words: string[]): Promise<ToolResult> {
    return run('virsh', '-c', this.uri, ...words);
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await ended;
  }
}

function withLine(path: string, line: string): string {
  return `${readFileSync(path, 'utf8').trimEnd()}\n${line}\n`;
}
