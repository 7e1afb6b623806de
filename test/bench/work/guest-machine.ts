/** A guest with the volume as its disk: the kernel and the fio that `scripts/guest.sh` makes, under QEMU itself. */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { GuestConsole } from '../../helpers/guest-console.js';
import type { GuestFiles } from '../../helpers/guest-files.js';
import { ownedProcess } from '../../helpers/real-cluster.js';
import type { Endpoint } from '../targets.js';

export const GUEST_PROGRAM = 'qemu-system-x86_64';
const MEMORY_MIB = 160;
/** Emulated processors are slow, and the machine may be busy. */
const BOOT_DEADLINE_MS = 180_000;
const STOP_DEADLINE_MS = 60_000;
const OUTPUT_CHARACTERS_MAX = 2000;

export interface GuestMachine {
  readonly pid: number;
  readonly console: GuestConsole;
  /** Whatever the guest does. Resolves when QEMU has closed the disk and ended. */
  stop(): Promise<void>;
}

/** Starts it, and waits until it takes commands. Rejects with what QEMU said. `folder` gets its console's socket. */
export async function startGuest(at: Endpoint, files: GuestFiles, folder: string): Promise<GuestMachine> {
  const socket = join(folder, 'guest.sock');
  rmSync(socket, { force: true });
  const stdio: ['ignore', 'ignore', 'pipe'] = ['ignore', 'ignore', 'pipe'];
  const child = spawn(GUEST_PROGRAM, guestWords(at, files, socket), { stdio });
  ownedProcess(child);
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-OUTPUT_CHARACTERS_MAX);
  });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const stop = async () => {
    // It closes its disk: Ceph would wait half a minute for a client that is gone without a word.
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
    await ended;
    clearTimeout(timer);
  };
  try {
    const gone = ended.then(() => Promise.reject(new Error('it has ended')));
    const console = await Promise.race([GuestConsole.open(socket, BOOT_DEADLINE_MS), gone]);
    gone.catch(() => undefined);
    return { pid: child.pid!, console, stop };
  } catch (error) {
    await stop();
    throw new Error(`the guest does not start: ${(error as Error).message} ${said.trim()}`);
  }
}

/**
 * No cache of the host, as under libvirt. The processor is emulated: what a machine offers of hardware virtualisation
 * differs, and a guest in a guest may have none.
 */
export function guestWords(at: Endpoint, { kernel, initrd }: GuestFiles, socket: string): string[] {
  // In a list of options a comma is doubled.
  const place = (at.uri ?? at.file!).replaceAll(',', ',,');
  return [
    ...[
      '-accel',
      'tcg',
      '-m',
      `${MEMORY_MIB}`,
      '-display',
      'none',
      '-nodefaults',
      '-no-user-config',
      '-no-reboot',
    ],
    ...['-kernel', kernel, '-initrd', initrd, '-append', 'console=ttyS0 quiet panic=-1'],
    ...['-serial', 'null', '-serial', `unix:${socket},server=on,wait=off`],
    ...['-drive', `file=${place},format=raw,if=virtio,cache=none,discard=unmap`],
  ];
}
