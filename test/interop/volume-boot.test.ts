// run: all
// deadline: 420 s
/** A guest boots from a volume: without hardware virtualisation, on a busy machine, that takes a minute. */
import { test } from 'uvu';
import { NbdClient } from '../helpers/nbd-client.js';
import { withCluster } from '../helpers/real-cluster.js';
import { BOOT_DEADLINE_MS, boots, GRUB_TEXT } from './guest.js';
import { GRUB_ISO, importImage, withImage } from './image-setup.js';

const MIB = 1024 * 1024;

withImage(
  GRUB_ISO,
  'qemu-img',
  'qemu-system-x86_64',
)('a guest boots from a volume, and from a clone of its snapshot', () =>
  withCluster({ deadlineMs: 2 * BOOT_DEADLINE_MS + 60_000 }, async (cluster) => {
    await importImage(cluster, 'boot', GRUB_ISO);
    const drive = (index: number, name: string) => {
      const server = `file.server.host=127.0.0.1,file.server.port=${cluster.sheep[index]!.nbdPort}`;
      return {
        drive: `driver=raw,if=virtio,file.driver=nbd,file.server.type=inet,${server},file.export=${name}`,
      };
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
