/**
 * libvirt's own monolithic daemon with everything it writes in a folder of the test: a mount namespace gives it other
 * directories, so the host's daemon and its definitions are out of reach.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { ownedProcess, within } from './real-cluster.js';

const START_DEADLINE_MS = 30_000;
const MOUNTS = [
  ['etc', '/etc/libvirt'],
  ['lib', '/var/lib/libvirt'],
  ['run', '/run/libvirt'],
  ['cache', '/var/cache/libvirt'],
  ['log', '/var/log/libvirt'],
] as const;

export function canMountPrivately(): boolean {
  return spawnSync('unshare', ['--mount', '--uts', 'true'], { stdio: 'ignore' }).status === 0;
}

export interface PrivateLibvirtd {
  readonly socket: string;
  readonly readOnlySocket: string;
  stop(): Promise<void>;
}

export async function startLibvirtd(folder: string): Promise<PrivateLibvirtd> {
  prepare(folder);
  const output = openSync(join(folder, 'out'), 'a');
  const child = ownedProcess(
    spawn('unshare', ['--mount', '--uts', '--propagation', 'private', 'sh', '-ec', script(folder)], {
      stdio: ['ignore', output, output],
    }),
  );
  closeSync(output);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const socket = join(folder, 'sock', 'libvirt-sock');
  await within(START_DEADLINE_MS, 'libvirtd listens', () => {
    if (child.exitCode !== null) throw new Error(readFileSync(join(folder, 'out'), 'utf8'));
    return accepts(socket);
  });
  return {
    socket,
    readOnlySocket: `${socket}-ro`,
    async stop() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

function prepare(folder: string): void {
  for (const [name] of MOUNTS) mkdirSync(join(folder, name), { recursive: true });
  mkdirSync(join(folder, 'sock'), { recursive: true });
  const settings = {
    unix_sock_dir: join(folder, 'sock'),
    auth_unix_rw: 'none',
    auth_unix_ro: 'none',
    host_uuid: '00000000-1111-2222-3333-444444444444',
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = "${value}"\n`);
  writeFileSync(join(folder, 'etc', 'libvirtd.conf'), lines.join(''));
  const qemu = { user: 'root', group: 'root', security_driver: 'none', stdio_handler: 'file' };
  const qemuLines = Object.entries(qemu).map(([name, value]) => `${name} = "${value}"\n`);
  writeFileSync(join(folder, 'etc', 'qemu.conf'), `${qemuLines.join('')}namespaces = []\n`);
  // Its QEMU driver wants this user to exist, whatever the settings say.
  copyFileSync('/etc/passwd', join(folder, 'passwd'));
  copyFileSync('/etc/group', join(folder, 'group'));
  addLine(join(folder, 'passwd'), 'libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin');
  addLine(join(folder, 'group'), 'libvirt-qemu:x:64055:');
  addLine(join(folder, 'group'), 'kvm:x:64056:');
}

function addLine(file: string, line: string): void {
  const name = line.slice(0, line.indexOf(':') + 1);
  if (
    !readFileSync(file, 'utf8')
      .split('\n')
      .some((each) => each.startsWith(name))
  ) {
    appendFileSync(file, `${line}\n`);
  }
}

function script(folder: string): string {
  const mounts = MOUNTS.map(
    ([name, place]) => `mkdir -p ${place}; mount --bind '${folder}/${name}' ${place}`,
  );
  const files = ['passwd', 'group'].map((name) => `mount --bind '${folder}/${name}' /etc/${name}`);
  const command = `exec libvirtd --config /etc/libvirt/libvirtd.conf --pid-file '${folder}/pid'`;
  return [...mounts, ...files, command].join('\n');
}

function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
