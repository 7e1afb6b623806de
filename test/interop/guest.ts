/** Guests that boot from a volume, told by what they say on their serial console. */
import { spawn } from 'node:child_process';
import { ownedProcess, within } from '../helpers/real-cluster.js';

export const BOOT_DEADLINE_MS = 120_000;
// biome-ignore lint/suspicious/noControlCharactersInRegex: terminals are controlled by these
const ESCAPES = /\u001b\[[0-9;?]*[A-Za-z]/g;
/** What GRUB says first, and what stands under its menu: a slow machine may show only one of them. */
export const GRUB_TEXT = /Welcome to GRUB|highlighted entry will be/;

export interface Guest {
  /** As `-drive` takes it. */
  readonly drive: string;
  /** Default: the one on PATH. */
  readonly program?: string;
  readonly options?: readonly string[];
}

/** Runs a guest until its serial console shows the text. */
export async function boots(guest: Guest, text: RegExp): Promise<void> {
  const child = spawn(guest.program ?? 'qemu-system-x86_64', [
    ...['-nographic', '-nodefaults', '-serial', 'stdio', '-m', '128', '-accel', 'kvm', '-accel', 'tcg'],
    ...['-machine', 'graphics=off', ...(guest.options ?? []), '-drive', guest.drive],
  ]);
  ownedProcess(child);
  let console = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (console += chunk));
  try {
    await within(BOOT_DEADLINE_MS, `the guest says ${text}`, () => {
      if (child.exitCode !== null) throw new Error(`the guest ended: ${console}`);
      // The firmware sends what changes on its screen, at times in pieces with cursor movements between them.
      return text.test(console.replace(ESCAPES, ''));
    });
  } catch (error) {
    process.stderr.write(`${console}\n`);
    throw error;
  } finally {
    child.kill('SIGKILL');
  }
}
