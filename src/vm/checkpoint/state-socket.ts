import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { AppError } from '../../base/errors.js';
import { type Virsh, virshError } from '../virsh.js';

const GIVE_MS = 30_000;
const COMPLAINT_BYTES_MAX = 64 * 1024;

/**
 * Gives QEMU one end of a socket pair, through libvirt (8.2 or newer, on this machine), and resolves with the other:
 * no path, which an AppArmor profile would have to allow, and which others could connect to first. QEMU knows it by
 * `name` (QMP `getfd`). Rejects with AppError as `Virsh.run` does.
 */
export async function giveSocket(virsh: Virsh, domain: string, name: string): Promise<Duplex> {
  const command = JSON.stringify({ execute: 'getfd', arguments: { fdname: name } });
  const words = ['qemu-monitor-command', '--domain', domain, '--pass-fds', '3', '--cmd', command];
  const [program, ...line] = virsh.commandLine(words);
  // The fourth is a socket, whose other end virsh has as its descriptor 3 and hands on.
  const child = spawn(program, line, {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    timeout: GIVE_MS,
    killSignal: 'SIGKILL',
    env: { ...process.env, LC_ALL: 'C' },
  });
  const socket = child.stdio[3] as Duplex;
  // Whoever reads is told; until somebody does, it must not end the process.
  socket.on('error', () => {});
  try {
    const { code, stdout, stderr } = await ended(child);
    if (code !== 0) throw virshError(stderr);
    const answer = JSON.parse(stdout) as { error?: { desc?: string } };
    if (answer.error !== undefined) {
      throw new AppError('unknown', `QEMU refuses a socket: ${answer.error.desc ?? 'without a reason'}`);
    }
    // Node.js empties what is left of a child's pipes when the child ends: from here on that would be the state.
    socket.pause();
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

async function ended(child: ChildProcess): Promise<{ code: number | null; stdout: string; stderr: string }> {
  let [stdout, stderr] = ['', ''];
  child.stdout!.on('data', (part: Buffer) => (stdout = (stdout + part).slice(0, COMPLAINT_BYTES_MAX)));
  child.stderr!.on('data', (part: Buffer) => (stderr = (stderr + part).slice(0, COMPLAINT_BYTES_MAX)));
  // Not the child's 'close', for which the socket would have to be closed, too.
  const read = [once(child.stdout!, 'close'), once(child.stderr!, 'close')];
  const [code] = (await once(child, 'exit').catch((error: Error) => {
    throw new AppError('system', `virsh cannot be run: ${error.message}`);
  })) as [number | null];
  await Promise.all(read);
  return { code, stdout, stderr };
}
