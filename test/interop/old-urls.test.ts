// run: quick
// deadline: 120 s
/** Every form of a name that the old QEMU takes (reference, section 6.10), by TCP and by the unix socket. */
import { join } from 'node:path';
import { test } from 'uvu';
import { Launcher } from '../helpers/launcher.js';
import { type OldQemu, requiresOldQemu } from '../helpers/old-qemu.js';
import { mustRun } from './nbd-setup.js';

/** Names of the volume `u` as it is, and of its one snapshot, `s1`, whose id is 1. */
function names(port: number, socket: string): { working: string[]; snapshot: string[] } {
  const at = `127.0.0.1:${port}`;
  const inet = { type: 'inet', host: '127.0.0.1', port: `${port}` };
  const json = (more: object) => `json:${JSON.stringify({ driver: 'sheepdog', vdi: 'u', ...more })}`;
  return {
    working: [
      `sheepdog:${at}:u`,
      `sheepdog://${at}/u`,
      `sheepdog+tcp://${at}/u`,
      `sheepdog+unix:///u?socket=${socket}`,
      json({ server: inet }),
      json({ server: { type: 'unix', path: socket } }),
    ],
    snapshot: [
      `sheepdog:${at}:u:s1`,
      `sheepdog:${at}:u:1`,
      `sheepdog://${at}/u#s1`,
      `sheepdog+tcp://${at}/u#1`,
      `sheepdog+unix:///u?socket=${socket}#s1`,
      json({ server: inet, tag: 's1' }),
      json({ server: inet, 'snap-id': 1 }),
    ],
  };
}

async function reads(old: OldQemu, url: string, pattern: number): Promise<void> {
  // A JSON name says the driver itself.
  const format = url.startsWith('json:') ? [] : ['-f', 'raw'];
  await mustRun(old.io, '-r', ...format, '-c', `read -P ${pattern} 0 1M`, '-c', 'read -P 0 1M 1M', url);
}

requiresOldQemu(test)('every form of a name opens the volume or its snapshot', async (old) => {
  const launcher = await Launcher.start({ sheep: 1 });
  let failed = true;
  try {
    const { working, snapshot } = names(launcher.portOf(0), join(launcher.directory, 'sheep0', 'sock'));
    await mustRun(old.img, 'create', '-q', working[3]!, '8M');
    await mustRun(old.io, '-f', 'raw', '-c', 'write -P 1 0 1M', working[0]!);
    await mustRun(old.img, 'snapshot', '-c', 's1', working[3]!);
    await mustRun(old.io, '-f', 'raw', '-c', 'write -P 2 0 1M', working[3]!);
    for (const url of working) await reads(old, url, 2);
    for (const url of snapshot) await reads(old, url, 1);
    failed = false;
  } finally {
    await launcher.stop({ failed });
  }
});

test.run();
