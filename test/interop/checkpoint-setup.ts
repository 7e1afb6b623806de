/** A guest with two volumes, whose disks lead to the door that its host's sheep tells. */
import { GuestDomain, NBD_SOCKET, SHEEP_FOLDER } from '../helpers/guest-domain.js';
import type { GuestFiles } from '../helpers/guest-files.js';
import type { Libvirtd } from '../helpers/libvirtd.js';
import type { RealCluster } from '../helpers/real-cluster.js';
import { CountingGuest } from './checkpoint-load.js';
import { doorSocket } from './vm-setup.js';

const BOOT_DEADLINE_MS = 120_000;
const DISK_BYTES = 16 * 1024 * 1024;
export const GUEST = 'counter';
export const VOLUMES = ['one', 'two'] as const;

/** Starts it on the host of that index, and has it count. */
export async function startCounting(
  cluster: RealCluster,
  host: Libvirtd,
  files: GuestFiles,
): Promise<{ guest: GuestDomain; counting: CountingGuest }> {
  for (const name of VOLUMES) await cluster.call('vdi.create', { name, sizeBytes: DISK_BYTES });
  const guest = new GuestDomain({ name: GUEST, volume: VOLUMES[0], files });
  const [disk] = /<disk [\s\S]*?<\/disk>/.exec(guest.xml)!;
  const second = disk.replace(`'${VOLUMES[0]}'`, `'${VOLUMES[1]}'`).replace("'vda'", "'vdb'");
  const xml = guest.xml
    .replace(disk, `${disk}\n    ${second}`)
    .replaceAll(`/run/${SHEEP_FOLDER}/${NBD_SOCKET}`, doorSocket(cluster, 0));
  await host.mustVirsh('create', host.file('guest.xml', xml));
  const counting = new CountingGuest(await guest.console(host, BOOT_DEADLINE_MS));
  await counting.begin();
  return { guest, counting };
}
