// run: all
// deadline: 420 s
/** A guest boots from a volume: without hardware virtualisation, on a busy machine, that takes a minute. */
import { spawn } from 'node:child_process';
import { test } from 'uvu';
import { NbdClient } from '../helpers/nbd-client.js';
import { ownedProcess, withCluster, within } from '../helpers/real-cluster.js';
import { GRUB_ISO, importImage, withImage } from './image-setup.js';

const MIB = 1024 * 1024;
const BOOT_DEADLINE_MS = 120_000;
// biome-ignore lint/suspicious/noControlCharactersInRegex: terminals are controlled by these
const ESCAPES = /\u001b\[[0-9;?]*[A-Za-z]/g;
/** What GRUB says first, and what stands under its menu: a slow machine may show only one of them. */
const GRUB_TEXT = /Welcome to GRUB|highlighted entry will be/;

/** Runs a guest until its serial console shows the text. */
async function boots(drive: string, text: RegExp): Promise<void> {
  const child = spawn('qemu-system-x86_64', [
    ...['-nographic', '-nodefaults', '-serial', 'stdio', '-m', '128', '-accel', 'kvm', '-accel', 'tcg'],
    ...['-machine', 'graphics=off', '-drive', drive],
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

withImage(
  GRUB_ISO,
  'qemu-img',
  'qemu-system-x86_64',
)('a guest boots from a volume, and from a clone of its snapshot', () =>
  withCluster({ deadlineMs: 2 * BOOT_DEADLINE_MS + 60_000 }, async (cluster) => {
    await importImage(cluster, 'boot', GRUB_ISO);
    const drive = (index: number, name: string) => {
      const server = `file.server.host=127.0.0.1,file.server.port=${cluster.sheep[index]!.nbdPort}`;
      return `driver=raw,if=virtio,file.driver=nbd,file.server.type=inet,${server},file.export=${name}`;
    };
    await boots(drive(1, 'boot'), GRUB_TEXT);
    await cluster.call('vdi.snapshot', { name: 'boot', tag: 'golden' });
    await cluster.call('vdi.clone', { source: { name: 'boot', tag: 'golden' }, name: 'vm1' });
    const client = await NbdClient.open(cluster.sheep[0]!.nbd, 'boot');
    await client.zero(0, MIB);
    client.close();
    await boots(drive(2, 'vm1'), GRUB_TEXT);
  }),
);

test.run();
